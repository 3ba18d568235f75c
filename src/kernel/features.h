// Features of queries and keys by small learned networks, whose products stand for exp(scale * q .
// k), and the partial result of attention to what was folded by them (LESS, arXiv 2402.09398).
//
// A network has two layers without biases and the exact GELU behind both:
//   f(x) = gelu(gelu(x A) B),  A [dim][hidden], B [hidden][rank].
// Features of a query are phi(q) = |f(q)|. Those of a key mix once more:
//   a = |sigma1| * f(k),  psi(k) = |a + (a C) * sigma2|,  C [rank][rank].
// All are 0 or more, so that sums of products are, too.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "simd/types.h"

namespace pith {

inline constexpr uint32_t kMaxFeatures = 64;  // rank of a network
inline constexpr uint32_t kMaxHidden = 4096;

// Weights are kept in f16; sums are f32, in an order that depends on the shape alone.
class FeatureNetwork {
 public:
  FeatureNetwork() = default;
  // `in` [dim][hidden], `out` [hidden][rank].
  FeatureNetwork(uint32_t dim, uint32_t hidden, uint32_t rank, std::span<const float> in,
                 std::span<const float> out);

  uint32_t dim() const { return dim_; }
  uint32_t rank() const { return rank_; }

  // features[rank] = f(x), x [dim].
  void Run(const float* x, float* features) const;

  // For the kernel: hidden numbers lie in blocks of so many, the last one filled up with zeros.
  static constexpr uint32_t kBlock = 64;
  uint32_t num_blocks() const { return num_blocks_; }
  const F16* in_block(uint32_t block) const { return &in_[size_t{block} * dim_ * kBlock]; }
  const F16* out_row(uint32_t r) const { return &out_[size_t{r} * num_blocks_ * kBlock]; }

 private:
  uint32_t dim_ = 0, rank_ = 0, num_blocks_ = 0;
  std::vector<F16> in_;   // [block][dim][kBlock]
  std::vector<F16> out_;  // [rank][block][kBlock]
};

// What features of keys need beside their network.
struct KeyFeatures {
  FeatureNetwork network;
  std::vector<float> sigma1, sigma2;  // [rank]
  std::vector<float> mix;             // [rank][rank], C

  // psi(key), [rank].
  void Run(const float* key, float* psi) const;
};

// What the dropped entries of one head were folded into; for attention.
struct AttendFold {
  // [rank][1 + value_dim]: the sum of psi_r(k), then that of psi_r(k) v. nullptr: nothing was
  // folded.
  const float* state = nullptr;
  const FeatureNetwork* networks = nullptr;  // [group], of the query heads
};

// All that was folded as one entry, which depends on the query: `value` [value_dim] becomes phi(q)
// H / phi(q) . z, and the log2 of phi(q) . z is its score. If that is no more than 0, the lowest
// float is, and the value is not set.
float FoldedEntry(const AttendFold& fold, const FeatureNetwork& network, const float* q,
                  uint32_t value_dim, float* value);

}  // namespace pith
