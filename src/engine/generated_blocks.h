// Generated entries that are thinned out block by block while more are generated (PyramidInfer,
// arXiv 2405.12532): once a block of them is older than the last tokens that judge, the best of it
// stay.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "cache/cache.h"
#include "engine/observer.h"
#include "method/stage.h"
#include "model/model.h"

namespace pith {

// What the tokens at the end of a text say about those just before them, for the blocks to come.
// The first block begins with the oldest judge of the prompt.
class GeneratedBlocks : public StepObserver {
 public:
  GeneratedBlocks() = default;  // drops nothing
  GeneratedBlocks(const ModelShape& shape, const AdmitJudges& judges, uint32_t block_size,
                  int32_t prompt_end);

  bool active() const { return size_ > 0; }

  // The attention that the token at `position` gives, under one query head, to the entries of a
  // layer, itself the last: what of it falls on the blocks, is added to sums [columns()].
  void AddAttention(int32_t position, std::span<const float> probabilities,
                    std::span<float> sums) const;
  size_t columns() const { return static_cast<size_t>(end_ - first_); }
  // The mean over heads of such sums is the score of each entry; called once after a prompt.
  void AddScores(uint32_t layer, std::span<const std::vector<float>> sums_of_heads);

  // A generated token: its entries are there, its queries are coming.
  void Begin();
  void Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
               const QueryRows& before_rope, int thread, int num_threads) override;

  // After a step: drops what the oldest block loses, `blocks` says how much in each layer.
  Status Age(std::span<const AdmitBlock> blocks, const RunParallel& run, SequenceCache& cache);

  // Goes back to `end_position`. If that is before the last token that was counted, the text up to
  // there is dropped no more.
  void Truncate(int32_t end_position);

  uint64_t bytes() const;

 private:
  void CountPending(const RunParallel& run, const SequenceCache& cache);

  uint32_t num_query_heads_ = 0, head_size_ = 0;
  AdmitJudges judges_;
  int32_t size_ = 0;             // of a block
  int32_t first_ = 0, end_ = 0;  // positions of the oldest block's first entry, of the next token
  int32_t num_pending_ = 0;      // the last tokens, whose attention is not counted yet
  std::vector<std::vector<float>> scores_;   // [layer][columns() at least]
  std::vector<std::vector<float>> queries_;  // [layer][size_][query head][head_size]
};

}  // namespace pith
