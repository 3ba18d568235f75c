#include "engine/compress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/log.h"

namespace pith {
namespace {

class Compression {
 public:
  Compression(const Model& model, StepRunner& runner, Sequence& sequence, uint64_t entries)
      : model_(model),
        runner_(runner),
        sequence_(sequence),
        cache_(sequence.cache),
        plan_(sequence.kv.plan),
        entries_(entries),
        num_layers_(cache_.spec().num_layers),
        num_heads_(cache_.spec().num_kv_heads) {}

  Status Run() {
    uint64_t held = 0;
    for (uint32_t i = 0; i < num_layers_ * num_heads_; ++i) {
      held += cache_.num_entries(i / num_heads_, i % num_heads_);
    }
    if (held <= entries_ * num_layers_ * num_heads_) return {};
    const std::string where =
        sequence_.kv.budget ? fmt::format("budget \"{}\"", sequence_.kv.budget->text) : "budget";
    PITH_TRY(CheckProtected(plan_, entries_, where));
    Score();
    PITH_TRY(CheckPinned(where));
    Allocate();
    return KeepSelected();
  }

 private:
  void Score();
  void ScoreHead(uint32_t layer, uint32_t kv_head);
  Status CheckPinned(const std::string& where) const;
  void Allocate();
  Status KeepSelected();

  std::vector<float>& ScoresOf(uint32_t layer, uint32_t kv_head) {
    return scores_[size_t{layer} * num_heads_ + kv_head];
  }

  const Model& model_;
  StepRunner& runner_;
  Sequence& sequence_;
  SequenceCache& cache_;
  const Plan& plan_;
  uint64_t entries_;
  uint32_t num_layers_, num_heads_;
  MeanRotation rotation_;
  std::vector<std::vector<float>> scores_;  // [layer][kv_head][n]
  std::vector<uint64_t> allocated_;         // [layer][kv_head]
};

void Compression::Score() {
  const uint32_t total = num_layers_ * num_heads_;
  scores_.resize(total);
  if (const uint32_t future = plan_.needs().future; future > 0) {
    rotation_ = runner_.RotationOf(static_cast<int32_t>(sequence_.tokens.size()), future);
  }
  runner_.Parallel([&](int thread, int num_threads) {
    for (auto i = static_cast<uint32_t>(thread); i < total;
         i += static_cast<uint32_t>(num_threads)) {
      ScoreHead(i / num_heads_, i % num_heads_);
    }
  });
}

void Compression::ScoreHead(uint32_t layer, uint32_t kv_head) {
  const CacheSpec& spec = cache_.spec();
  const Needs needs = plan_.needs();
  const auto n = static_cast<uint32_t>(cache_.num_entries(layer, kv_head));
  std::vector<float> keys, values, queries, mean, covariance;
  std::vector<int32_t> positions(n), query_positions;
  cache_.Positions(layer, kv_head, positions);
  if (needs.keys || needs.window > 0) {
    keys.resize(size_t{n} * spec.keys.dim);
    cache_.ReadKeys(layer, kv_head, 0, n, keys.data());
  }
  if (needs.values) {
    values.resize(size_t{n} * spec.values.dim);
    cache_.ReadValues(layer, kv_head, 0, n, values.data());
  }
  const Observations& seen = sequence_.observations;
  if (needs.window > 0) seen.Window(layer, kv_head, &queries, &query_positions);
  if (needs.query_moments) seen.Moments(layer, kv_head, &mean, &covariance);
  const HyperParams& p = model_.params();
  const HeadInput head{.layer = layer,
                       .kv_head = kv_head,
                       .group = p.num_query_heads / p.num_kv_heads,
                       .budget = entries_,
                       .length = static_cast<int32_t>(sequence_.tokens.size()),
                       .key_dim = spec.keys.dim,
                       .value_dim = spec.values.dim,
                       .scale = 1.0f / std::sqrt(static_cast<float>(spec.keys.dim)),
                       .positions = positions,
                       .keys = keys,
                       .values = values,
                       .queries = queries,
                       .query_positions = query_positions,
                       .column_sums = seen.ColumnSums(layer, kv_head),
                       .query_mean = mean,
                       .query_covariance = covariance,
                       .mean_cosine = rotation_.cosine,
                       .mean_sine = rotation_.sine,
                       .interleaved = p.rope.interleaved};
  std::vector<float>& scores = ScoresOf(layer, kv_head);
  scores.resize(n);
  plan_.score.part->score(head, plan_.score.values, scores);
  for (const auto& [begin, end] : sequence_.pinned) {
    for (uint32_t j = 0; j < n; ++j) {
      if (positions[j] >= begin && positions[j] < end) scores[j] = kProtected;
    }
  }
}

Status Compression::CheckPinned(const std::string& where) const {
  for (const std::vector<float>& scores : scores_) {
    const auto needed = static_cast<uint64_t>(std::ranges::count(scores, kProtected));
    if (needed <= entries_) continue;
    return InputError(fmt::format("{} entries of a head are protected or pinned, and the budget "
                                  "has room for {}",
                                  needed, entries_),
                      where, "Give a larger budget, or protect less.");
  }
  return {};
}

void Compression::Allocate() {
  allocated_.resize(scores_.size());
  plan_.alloc.part->allocate({num_layers_, num_heads_, entries_, scores_}, plan_.alloc.values,
                             allocated_);
}

Status Compression::KeepSelected() {
  std::vector<std::vector<uint32_t>> kept(num_heads_);
  for (uint32_t layer = 0; layer < num_layers_; ++layer) {
    const size_t first = size_t{layer} * num_heads_;
    plan_.select.part->select({std::span(scores_).subspan(first, num_heads_),
                               std::span(allocated_).subspan(first, num_heads_)},
                              plan_.select.values, kept);
    for (uint32_t head = 0; head < num_heads_; ++head) {
      if (kept[head].size() == ScoresOf(layer, head).size()) continue;
      PITH_TRY(cache_.Keep(layer, head, kept[head]));
      sequence_.observations.Keep(layer, head, kept[head]);
    }
  }
  return {};
}

}  // namespace

uint64_t BudgetEntries(const PlannedRun& kv, uint64_t num_tokens) {
  const Budget& budget = *kv.budget;
  if (budget.kind == Budget::Kind::kEntries) return budget.amount;
  // A share such as 0.1 of 10 must not lose an entry to rounding.
  const double entries = std::floor(static_cast<double>(num_tokens) * budget.share + 1e-6);
  return std::max<uint64_t>(1, static_cast<uint64_t>(entries));
}

Status CompressCache(const Model& model, StepRunner& runner, Sequence& sequence, uint64_t entries) {
  return Compression(model, runner, sequence, entries).Run();
}

}  // namespace pith
