#include "engine/compress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "engine/output_norms.h"

namespace pith {
namespace {

// What is known about one head, and where it is kept while methods look at it.
class HeadEvidence {
 public:
  HeadEvidence(const CompressTools& tools, Sequence& sequence, const MeanRotation& rotation,
               std::span<const std::vector<float>> replay, uint32_t layer, uint32_t kv_head,
               uint64_t budget);
  HeadEvidence(const HeadEvidence&) = delete;
  HeadEvidence& operator=(const HeadEvidence&) = delete;

  const HeadInput& input() const { return input_; }

 private:
  void ReadEntries(const SequenceCache& cache, const Needs& needs);
  void ReadObservations(const Observations& seen, const Needs& needs);

  std::vector<float> keys_, values_, queries_, mean_, covariance_, output_norms_;
  std::vector<int32_t> positions_, query_positions_;
  std::vector<TokenKind> kinds_;
  HeadInput input_;
};

HeadEvidence::HeadEvidence(const CompressTools& tools, Sequence& sequence,
                           const MeanRotation& rotation, std::span<const std::vector<float>> replay,
                           uint32_t layer, uint32_t kv_head, uint64_t budget) {
  const CacheSpec& spec = sequence.cache.spec();
  const HyperParams& p = tools.model.params();
  input_ = {.layer = layer,
            .kv_head = kv_head,
            .group = p.num_query_heads / p.num_kv_heads,
            .budget = budget,
            .length = static_cast<int32_t>(sequence.tokens.size()),
            .key_dim = spec.keys.dim,
            .value_dim = spec.values.dim,
            .scale = 1.0f / std::sqrt(static_cast<float>(spec.keys.dim)),
            .memory = &sequence.head_memory[size_t{layer} * spec.num_kv_heads + kv_head],
            .mean_cosine = rotation.cosine,
            .mean_sine = rotation.sine,
            .interleaved = p.rope.interleaved};
  const Needs needs = sequence.kv.plan.needs();
  ReadEntries(sequence.cache, needs);
  if (needs.output_norms) {
    output_norms_ = OutputNorms(tools.model, layer, kv_head, values_);
    input_.output_norms = output_norms_;
  }
  ReadObservations(sequence.observations, needs);
  if (needs.replay > 0) input_.replay = replay[size_t{layer} * spec.num_kv_heads + kv_head];
  if (needs.token_kinds) {
    for (const int32_t position : positions_) {
      const int32_t token = sequence.tokens[static_cast<size_t>(position)];
      kinds_.push_back(tools.token_kinds[static_cast<size_t>(token)]);
    }
    input_.token_kinds = kinds_;
  }
}

void HeadEvidence::ReadEntries(const SequenceCache& cache, const Needs& needs) {
  const auto n = static_cast<uint32_t>(cache.num_entries(input_.layer, input_.kv_head));
  positions_.resize(n);
  cache.Positions(input_.layer, input_.kv_head, positions_);
  input_.positions = positions_;
  if (needs.keys || needs.window > 0) {
    keys_.resize(size_t{n} * input_.key_dim);
    cache.ReadKeys(input_.layer, input_.kv_head, 0, n, keys_.data());
    input_.keys = keys_;
  }
  if (needs.values || needs.output_norms) {
    values_.resize(size_t{n} * input_.value_dim);
    cache.ReadValues(input_.layer, input_.kv_head, 0, n, values_.data());
    input_.values = values_;
  }
}

void HeadEvidence::ReadObservations(const Observations& seen, const Needs& needs) {
  if (needs.window > 0) {
    seen.Window(input_.layer, input_.kv_head, &queries_, &query_positions_);
    input_.queries = queries_;
    input_.query_positions = query_positions_;
  }
  if (needs.query_moments) {
    seen.Moments(input_.layer, input_.kv_head, &mean_, &covariance_);
    input_.query_mean = mean_;
    input_.query_covariance = covariance_;
  }
  input_.column_sums = seen.ColumnSums(input_.layer, input_.kv_head);
  input_.band_sums = seen.BandSums(input_.layer, input_.kv_head);
  input_.band_width = seen.band_width();
}

class Compression {
 public:
  Compression(const CompressTools& tools, Sequence& sequence, const CompressTarget& target)
      : tools_(tools),
        sequence_(sequence),
        cache_(sequence.cache),
        plan_(sequence.kv.plan),
        target_(target),
        entries_(target.entries),
        num_layers_(cache_.spec().num_layers),
        num_heads_(cache_.spec().num_kv_heads) {}

  Status Run() {
    if (IsWithinTarget()) return {};
    if (plan_.takes_budget()) PITH_TRY(CheckProtected(plan_, entries_, Where()));
    PITH_TRY(Score());
    PITH_TRY(Allocate());
    if (tools_.report != nullptr) Describe(tools_.report);
    return KeepSelected();
  }

 private:
  Status Score();
  void ScoreHead(uint32_t layer, uint32_t kv_head);
  Status CheckPinned() const;
  Status Allocate();
  void AllocateEntries();
  bool LeavesRoom() const;
  void Describe(CompressionReport* report) const;
  Status KeepSelected();

  bool IsWithinTarget() const {
    if (!plan_.takes_budget() || IsOverBudget(cache_, entries_)) return false;
    return target_.bytes == nullptr || target_.bytes->Holds(cache_, target_.room);
  }
  std::string Where() const {
    return sequence_.kv.budget ? fmt::format("budget \"{}\"", sequence_.kv.budget->text) : "budget";
  }

  std::vector<float>& ScoresOf(uint32_t layer, uint32_t kv_head) {
    return scores_[size_t{layer} * num_heads_ + kv_head];
  }

  const CompressTools& tools_;
  Sequence& sequence_;
  SequenceCache& cache_;
  const Plan& plan_;
  const CompressTarget& target_;
  uint64_t entries_;  // per head on average
  uint32_t num_layers_, num_heads_;
  MeanRotation rotation_;
  std::vector<std::vector<float>> replay_;   // [layer][kv_head][n], if needed
  std::vector<std::vector<float>> scores_;   // [layer][kv_head][n]
  std::vector<std::vector<float>> weights_;  // [layer][kv_head][n], if the selection weighs
  std::vector<double> statistics_;           // [layer][kv_head][of the allocation]
  std::vector<uint64_t> allocated_;          // [layer][kv_head]
};

Status Compression::Score() {
  const uint32_t total = num_layers_ * num_heads_;
  scores_.resize(total);
  weights_.resize(total);
  statistics_.resize(total * plan_.alloc.part->num_statistics);
  sequence_.head_memory.resize(total);
  const Needs needs = plan_.needs();
  if (needs.future > 0) {
    rotation_ =
        tools_.runner.RotationOf(static_cast<int32_t>(sequence_.tokens.size()), needs.future);
  }
  if (needs.replay > 0) {
    PITH_ASSIGN(replay_, Replay({tools_.runner, tools_.model.shape(), *tools_.replay_text,
                                 tools_.context, tools_.chunk, tools_.progress},
                                sequence_, needs.replay, needs.replay_sinks));
  }
  tools_.runner.Parallel([&](int thread, int num_threads) {
    for (auto i = static_cast<uint32_t>(thread); i < total;
         i += static_cast<uint32_t>(num_threads)) {
      ScoreHead(i / num_heads_, i % num_heads_);
    }
  });
  return {};
}

void Compression::ScoreHead(uint32_t layer, uint32_t kv_head) {
  const HeadEvidence evidence(tools_, sequence_, rotation_, replay_, layer, kv_head, entries_);
  const HeadInput& head = evidence.input();
  const size_t number = size_t{layer} * num_heads_ + kv_head;
  std::vector<float>& scores = scores_[number];
  scores.resize(head.num_entries());
  plan_.score.part->score(head, plan_.score.values, scores);
  for (const auto& [begin, end] : sequence_.pinned) {
    for (size_t j = 0; j < scores.size(); ++j) {
      if (head.positions[j] >= begin && head.positions[j] < end) scores[j] = kProtected;
    }
  }
  if (const Part& alloc = *plan_.alloc.part; alloc.measure != nullptr) {
    alloc.measure(
        head, plan_.alloc.values,
        std::span(statistics_).subspan(number * alloc.num_statistics, alloc.num_statistics));
  }
  if (const Part& select = *plan_.select.part; select.weigh != nullptr) {
    weights_[number].resize(scores.size());
    select.weigh(head, plan_.select.values, weights_[number]);
  }
}

Status Compression::CheckPinned() const {
  for (const std::vector<float>& scores : scores_) {
    const auto needed = static_cast<uint64_t>(std::ranges::count(scores, kProtected));
    if (needed <= entries_) continue;
    return InputError(fmt::format("{} entries of a head are protected or pinned, and the budget "
                                  "has room for {}",
                                  needed, entries_),
                      Where(), "Give a larger budget, or protect less.");
  }
  return {};
}

Status Compression::Allocate() {
  PITH_TRY(CheckPinned());
  AllocateEntries();
  while (!LeavesRoom()) {
    const uint64_t before = entries_;
    entries_ -= 1 + entries_ / 64;
    PITH_TRY(CheckProtected(plan_, entries_, Where()));
    if (plan_.num_protected(entries_) != plan_.num_protected(before)) Score();
    PITH_TRY(CheckPinned());
    AllocateEntries();
  }
  return {};
}

// Heads of different lengths round their pages up differently, so that only the allocation tells.
bool Compression::LeavesRoom() const {
  if (target_.bytes == nullptr || entries_ == 0) return true;
  std::vector<uint64_t> held(allocated_.size());
  for (size_t i = 0; i < held.size(); ++i) {
    held[i] = std::min<uint64_t>(allocated_[i], scores_[i].size());
  }
  return target_.bytes->Holds(held, target_.room);
}

void Compression::AllocateEntries() {
  allocated_.resize(scores_.size());
  plan_.alloc.part->allocate(
      {num_layers_, num_heads_, entries_, scores_, statistics_, tools_.profile}, plan_.alloc.values,
      allocated_);
  if (plan_.takes_budget()) return;
  // Nobody has compared its numbers with what is protected.
  for (size_t i = 0; i < allocated_.size(); ++i) {
    const auto needed = static_cast<uint64_t>(std::ranges::count(scores_[i], kProtected));
    allocated_[i] = std::max(allocated_[i], needed);
  }
}

void Compression::Describe(CompressionReport* report) const {
  report->scores = scores_;
  report->allocated = allocated_;
  report->positions.resize(scores_.size());
  for (uint32_t i = 0; i < scores_.size(); ++i) {
    report->positions[i].resize(scores_[i].size());
    cache_.Positions(i / num_heads_, i % num_heads_, report->positions[i]);
  }
}

Status Compression::KeepSelected() {
  std::vector<std::vector<uint32_t>> kept(num_heads_);
  for (uint32_t layer = 0; layer < num_layers_; ++layer) {
    const size_t first = size_t{layer} * num_heads_;
    plan_.select.part->select({std::span(scores_).subspan(first, num_heads_),
                               std::span(weights_).subspan(first, num_heads_),
                               std::span(allocated_).subspan(first, num_heads_)},
                              plan_.select.values, kept);
    std::vector<Result<FoldedEntries::Folded>> folded(plan_.folds() ? num_heads_ : 0);
    if (plan_.folds()) {
      tools_.runner.Parallel([&](int thread, int num_threads) {
        for (auto head = static_cast<uint32_t>(thread); head < num_heads_;
             head += static_cast<uint32_t>(num_threads)) {
          if (kept[head].size() == ScoresOf(layer, head).size()) continue;
          folded[head] = sequence_.folded.Fold(cache_, layer, head, kept[head]);
        }
      });
    }
    for (uint32_t head = 0; head < num_heads_; ++head) {
      if (kept[head].size() == ScoresOf(layer, head).size()) continue;
      DroppedEntries dropped;
      if (plan_.compensates()) dropped = SumDropped(cache_, layer, head, kept[head]);
      if (plan_.folds()) PITH_TRY(folded[head]);
      PITH_TRY(cache_.Keep(layer, head, kept[head]));
      if (plan_.folds()) sequence_.folded.Set(layer, head, std::move(*folded[head]));
      sequence_.compensation.Add(cache_.spec(), layer, head, dropped);
      sequence_.observations.Keep(layer, head, kept[head]);
    }
  }
  return {};
}

}  // namespace

bool IsOverBudget(const SequenceCache& cache, uint64_t entries) {
  const uint32_t num_heads = cache.spec().num_kv_heads;
  const uint32_t total = cache.spec().num_layers * num_heads;
  uint64_t held = 0;
  for (uint32_t i = 0; i < total; ++i) held += cache.num_entries(i / num_heads, i % num_heads);
  return held > entries * total;
}

Status CompressCache(const CompressTools& tools, Sequence& sequence, const CompressTarget& target) {
  return Compression(tools, sequence, target).Run();
}

}  // namespace pith
