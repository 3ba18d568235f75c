#include "engine/generated_blocks.h"

#include <algorithm>
#include <numeric>

#include "engine/attention_rows.h"
#include "method/support.h"

namespace pith {

GeneratedBlocks::GeneratedBlocks(const ModelShape& shape, const AdmitJudges& judges,
                                 uint32_t block_size, int32_t prompt_end)
    : num_query_heads_(shape.num_query_heads),
      head_size_(shape.key_dim),
      judges_(judges),
      size_(static_cast<int32_t>(block_size)),
      first_(prompt_end - static_cast<int32_t>(judges.rows)),
      end_(prompt_end),
      scores_(shape.num_layers, std::vector<float>(judges.rows)),
      queries_(shape.num_layers,
               std::vector<float>(size_t{block_size} * shape.num_query_heads * shape.key_dim)) {}

// A block is judged by the tokens behind it, as many as judged the prompt; all of them follow it
// directly.
void GeneratedBlocks::AddAttention(int32_t position, std::span<const float> probabilities,
                                   std::span<float> sums) const {
  const double step = judges_.rows > 1 ? (judges_.newest_weight - judges_.oldest_weight) /
                                             static_cast<double>(judges_.rows - 1)
                                       : 0;
  // Tokens since the oldest block's first have an entry each, this one the last.
  const auto behind = static_cast<size_t>(position - first_) + 1;
  const float* const seen = probabilities.data() + (probabilities.size() - behind);
  for (int32_t begin = first_; begin + size_ <= position; begin += size_) {
    const double weight = judges_.oldest_weight + step * (position - begin - size_);
    const auto column = static_cast<size_t>(begin - first_);
    for (size_t i = column; i < column + static_cast<size_t>(size_); ++i) {
      sums[i] += static_cast<float>(weight) * seen[i];
    }
  }
}

void GeneratedBlocks::AddScores(uint32_t layer, std::span<const std::vector<float>> sums_of_heads) {
  auto& scores = scores_[layer];
  scores.resize(columns());
  for (const auto& sums : sums_of_heads) {
    for (size_t i = 0; i < scores.size(); ++i) {
      scores[i] += sums[i] / static_cast<float>(num_query_heads_);
    }
  }
}

void GeneratedBlocks::Begin() {
  ++end_;
  ++num_pending_;
}

void GeneratedBlocks::Observe(uint32_t layer, const SequenceCache&, const QueryRows& queries,
                              const QueryRows&, int thread, int num_threads) {
  const size_t row = size_t{num_query_heads_} * head_size_;
  float* const out = queries_[layer].data() + static_cast<size_t>(num_pending_ - 1) * row;
  for (auto head = static_cast<uint32_t>(thread); head < num_query_heads_;
       head += static_cast<uint32_t>(num_threads)) {
    std::copy_n(queries.Row(head, 0), head_size_, out + size_t{head} * head_size_);
  }
}

// All at once, so that the keys are read once for a whole block. Nothing was dropped meanwhile, so
// that each token sees what it saw.
void GeneratedBlocks::CountPending(const RunParallel& run, const SequenceCache& cache) {
  for (uint32_t layer = 0; layer < scores_.size(); ++layer) {
    std::vector<std::vector<float>> sums(num_query_heads_, std::vector<float>(columns()));
    const QueryRows rows{queries_[layer].data(), size_t{num_query_heads_} * head_size_, head_size_,
                         static_cast<size_t>(num_pending_)};
    run([&](int thread, int num_threads) {
      VisitAttentionRows(cache, layer, num_query_heads_, rows, thread, num_threads,
                         [&](uint32_t head, size_t row, std::span<const float> probabilities) {
                           AddAttention(end_ - num_pending_ + static_cast<int32_t>(row),
                                        probabilities, sums[head]);
                         });
    });
    AddScores(layer, sums);
  }
  num_pending_ = 0;
}

Status GeneratedBlocks::Age(std::span<const AdmitBlock> blocks, const RunParallel& run,
                            SequenceCache& cache) {
  if (num_pending_ < size_) return {};
  CountPending(run, cache);
  const auto size = static_cast<uint32_t>(size_);
  const auto behind = static_cast<uint32_t>(end_ - first_);  // entries from the block on
  first_ += size_;
  for (uint32_t layer = 0; layer < scores_.size(); ++layer) {
    std::vector<float>& scores = scores_[layer];
    const auto best = TopIndices(std::span(scores).first(size), blocks[layer].kept);
    scores.erase(scores.begin(), scores.begin() + size_);
    for (uint32_t head = 0; head < cache.spec().num_kv_heads; ++head) {
      const auto entries = static_cast<uint32_t>(cache.num_entries(layer, head));
      std::vector<uint32_t> kept(entries - behind);
      std::iota(kept.begin(), kept.end(), 0);
      for (const uint32_t i : best) kept.push_back(entries - behind + i);
      for (uint32_t i = entries - behind + size; i < entries; ++i) kept.push_back(i);
      PITH_TRY(cache.Keep(layer, head, kept));
    }
  }
  return {};
}

void GeneratedBlocks::Truncate(int32_t end_position) {
  if (end_position >= end_) return;
  if (end_position < end_ - num_pending_) {
    *this = {};
    return;
  }
  num_pending_ -= end_ - end_position;
  end_ = end_position;
}

uint64_t GeneratedBlocks::bytes() const {
  uint64_t floats = 0;
  for (const auto* all : {&scores_, &queries_}) {
    for (const auto& layer : *all) floats += layer.size();
  }
  return floats * sizeof(float);
}

}  // namespace pith
