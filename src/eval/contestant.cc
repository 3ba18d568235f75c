#include "eval/contestant.h"

#include "eval/synthetic_fill.h"

namespace pith {

Result<std::span<const float>> PithContestant::Feed(std::span<const int32_t> tokens) {
  if (tokens.size() > 1) return engine_->Feed(sequence_, tokens);
  Sequence* const only = &sequence_;
  return engine_->Step({&only, 1}, tokens);
}

Status PithContestant::Rewind(uint32_t position) {
  sequence_.cache.Truncate(static_cast<int32_t>(position));
  sequence_.tokens.resize(position);
  return {};
}

Status PithContestant::Fill(uint32_t count) {
  sequence_ = engine_->NewSequence();
  return FillSequence(&sequence_, count);
}

}  // namespace pith
