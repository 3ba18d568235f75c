#include "eval/hot_keys.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernel/ref/hot_entries.h"

namespace pith {

// Writes the keys of each layer in the step that reads the tokens, once their queries are known.
class HotKeys::Maker : public StepObserver {
 public:
  Maker(HotKeys* keys, Sequence* sequence, uint32_t count, uint32_t num_query_heads)
      : keys_(*keys), cache_(sequence->cache), count_(count), num_query_heads_(num_query_heads) {}

  void Observe(uint32_t layer, const SequenceCache&, const QueryRows& queries, const QueryRows&,
               int thread, int num_threads) override {
    for (auto head = static_cast<uint32_t>(thread); head < keys_.num_kv_heads_;
         head += static_cast<uint32_t>(num_threads)) {
      MakeHead(layer, head, queries);
    }
  }

 private:
  // Queries of all rows and of the query heads that share a KV head, [dim][rows * group].
  std::vector<float> Transposed(uint32_t kv_head, const QueryRows& queries) const {
    const uint32_t dim = cache_.spec().keys.dim, group = num_query_heads_ / keys_.num_kv_heads_;
    const size_t n = queries.count * group;
    std::vector<float> transposed(dim * n);
    for (size_t i = 0; i < n; ++i) {
      const float* query =
          queries.Row(kv_head * group + static_cast<uint32_t>(i % group), i / group);
      for (uint32_t c = 0; c < dim; ++c) transposed[c * n + i] = query[c];
    }
    return transposed;
  }

  // The share of its attention that each query gives to the hot entries while they are noise: it
  // sees these alone, since the rows of the step itself count for next to nothing.
  std::vector<double> SharesOf(const Head& head, std::span<const float> keys,
                               std::span<const float> queries, size_t n, double scale) const {
    const size_t dim = queries.size() / n;
    std::vector<float> scores(n);
    std::vector<double> hot(n), all(n);
    for (size_t i = 0; i < count_; ++i) {
      std::ranges::fill(scores, 0.0f);
      for (size_t c = 0; c < dim; ++c) {
        const float x = keys[i * dim + c];
        for (size_t q = 0; q < n; ++q) scores[q] += x * queries[c * n + q];
      }
      for (size_t q = 0; q < n; ++q) {
        const double e = std::exp(scale * scores[q]);
        all[q] += e;
        if (head.hot[i]) hot[q] += e;
      }
    }
    for (size_t q = 0; q < n; ++q) hot[q] /= all[q];
    return hot;
  }

  void MakeHead(uint32_t layer, uint32_t kv_head, const QueryRows& queries) {
    const uint32_t dim = cache_.spec().keys.dim, num_kv_heads = keys_.num_kv_heads_;
    const size_t n = queries.count * (num_query_heads_ / num_kv_heads);
    const double scale = 1 / std::sqrt(static_cast<double>(dim));
    Head& head = keys_.heads_[size_t{layer} * num_kv_heads + kv_head];
    std::vector<float> keys(size_t{count_} * dim);
    cache_.ReadKeys(layer, kv_head, 0, count_, keys.data());
    const std::vector<float> transposed = Transposed(kv_head, queries);
    const std::vector<double> shares = SharesOf(head, keys, transposed, n, scale);
    std::vector<double> slopes(n);
    for (uint32_t c = 0; c < dim; ++c) {
      double mean = 0;
      for (size_t q = 0; q < n; ++q) mean += transposed[c * n + q] / static_cast<double>(n);
      head.lean[c] = static_cast<float>(mean);
      for (size_t q = 0; q < n; ++q) slopes[q] += scale * mean * transposed[c * n + q];
    }
    const double lean = LeanOf(shares, slopes);
    for (float& x : head.lean) x *= static_cast<float>(lean);
    for (size_t q = 0; q < n; ++q) {
      const double mass = HotMassOf(shares[q], lean * slopes[q]);
      head.mean_mass += mass / static_cast<double>(n);
      head.least_mass = std::min(head.least_mass, mass);
    }
    for (uint32_t i = 0; i < count_; ++i) {
      for (uint32_t c = 0; head.hot[i] && c < dim; ++c) keys[size_t{i} * dim + c] += head.lean[c];
    }
    // Nobody has read them yet, and the sequence is nobody else's: they may be written again.
    cache_.WriteKeys(layer, kv_head, 0, count_, keys.data(), dim);
  }

  HotKeys& keys_;
  SequenceCache& cache_;
  uint32_t count_, num_query_heads_;
};

Result<HotKeys> HotKeys::Make(Engine& engine, uint32_t count, std::span<const int32_t> tokens,
                              uint32_t run) {
  PITH_CHECK(tokens.size() <= engine.options().chunk);  // keys lean once
  const CacheSpec spec = engine.cache_spec();
  HotKeys keys;
  keys.run_ = run;
  keys.num_kv_heads_ = spec.num_kv_heads;
  for (uint32_t i = 0; i < spec.num_layers * spec.num_kv_heads; ++i) {
    Rng rng(i);
    keys.heads_.push_back(
        {.hot = HotEntries(count, run, rng), .lean = std::vector<float>(spec.keys.dim)});
  }
  Sequence sequence = engine.NewSequence();
  PITH_TRY(FillSequence(&sequence, count, SyntheticEntries()));
  Maker maker(&keys, &sequence, count, engine.model().shape().num_query_heads);
  sequence.watcher = &maker;
  PITH_TRY(engine.Feed(sequence, tokens));
  engine.Pause();
  keys.least_mass_ = 1;
  for (const Head& head : keys.heads_) {
    keys.mean_mass_ += head.mean_mass / static_cast<double>(keys.heads_.size());
    keys.least_mass_ = std::min(keys.least_mass_, head.least_mass);
  }
  return keys;
}

void HotKeys::Row(Side side, uint32_t layer, uint32_t position, std::span<float> row) const {
  SyntheticRow(side, layer, position, row);
  if (side != Side::kKeys) return;
  for (uint32_t h = 0; h < num_kv_heads_; ++h) {
    const Head& head = heads_[size_t{layer} * num_kv_heads_ + h];
    if (position >= head.hot.size() || !head.hot[position]) continue;
    for (size_t c = 0; c < head.lean.size(); ++c) row[h * head.lean.size() + c] += head.lean[c];
  }
}

}  // namespace pith
