#include "eval/contestant.h"

#include <algorithm>

#include "eval/speed.h"
#include "model/weights.h"

namespace pith {

Result<std::unique_ptr<PithContestant>> PithContestant::Create(Engine* engine, const PlannedRun& kv,
                                                               std::string_view name) {
  PITH_ASSIGN(Sequence sequence, engine->NewSequence(kv));
  return std::unique_ptr<PithContestant>(new PithContestant(engine, std::move(sequence), name));
}

Result<std::span<const float>> PithContestant::Feed(std::span<const int32_t> tokens) {
  if (tokens.size() > 1) return engine_->Feed(sequence_, tokens);
  Sequence* const only = &sequence_;
  return engine_->Step({&only, 1}, tokens);
}

Status PithContestant::Restart() {
  PITH_ASSIGN(sequence_, engine_->NewSequence(PlannedRun(sequence_.kv)));
  prompt_ended_ = false;
  return {};
}

Status PithContestant::Rewind(uint32_t position) {
  if (position == 0) return Restart();
  const Plan& plan = sequence_.kv.plan;
  if (prompt_ended_ && (plan.decode_interval() > 0 || plan.decode_drop() > 0)) {
    // What was dropped while generating does not come back.
    PITH_TRY(Fill(position));
    return EndPrompt();
  }
  sequence_.Truncate(position);
  return {};
}

Status PithContestant::Fill(uint32_t count) {
  PITH_TRY(Restart());
  const Needs needs = sequence_.kv.plan.needs();
  const uint32_t num_read = needs.queries() ? std::min(count, std::max(1u, needs.window)) : 0;
  PITH_TRY(FillSequence(&sequence_, count - num_read, *entries_));
  if (num_read == 0) return {};
  PITH_TRY(engine_->Feed(sequence_, BenchTokens(num_read, engine_->model().shape().vocabulary)));
  engine_->Pause();
  return {};
}

Status PithContestant::EndPrompt() {
  PITH_TRY(engine_->Compress(sequence_));
  engine_->Pause();
  prompt_ended_ = true;
  return {};
}

}  // namespace pith
