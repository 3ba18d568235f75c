// How alike the keys, and the values, of different layers are: what merging layers goes by.
#pragma once

#include <cstdint>
#include <vector>

#include "calibrate/texts.h"
#include "engine/profile.h"

namespace pith {

// The mean cosine of what two layers hold for the same token and KV head (post-rope keys), over
// tokens and heads (MiniCache, arXiv 2405.14366, merges layers by that angle). The first tokens,
// which are unlike all others, are left out.
class LayerSimilarity {
 public:
  explicit LayerSimilarity(const ModelShape& shape);

  // The entries of a sequence that holds all of its tokens.
  void Add(const SequenceCache& cache);
  // [layer][layer], symmetric, 1 on the diagonal; zeros before the first Add.
  std::vector<float> Mean(Side side) const;

 private:
  void AddSide(const SequenceCache& cache, Side side, uint32_t kv_head);

  uint32_t num_layers_, num_kv_heads_;
  uint64_t count_ = 0;           // tokens x KV heads
  std::vector<double> sums_[2];  // [side][layer][layer], below the diagonal
};

// The section "similarity" of the model's profile.
Result<Profile> CalibrateSimilarity(Engine& engine, const TextRequest& request,
                                    const FeedProgress& progress = {});

}  // namespace pith
