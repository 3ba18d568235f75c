// Probabilities of single queries, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/probability.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernel/octet-inl.h"
#include "kernel/probability.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

constexpr size_t kBlock = PackedKeys::kBlock;

// Scores of kRows queries with the 16 keys of a block.
template <size_t kRows>
HWY_INLINE void BlockScores(const float* keys, uint32_t dim, const float* const* queries,
                            float scale, float* const* out) {
  Octet sums[kRows][2];
  PITH_UNROLL for (size_t r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = Broadcast(0.0f);
  for (uint32_t c = 0; c < dim; ++c) {
    const Octet first = LoadOctet(keys + c * kBlock);
    const Octet second = LoadOctet(keys + c * kBlock + 8);
    PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
      const Octet q = Broadcast(queries[r][c]);
      sums[r][0] = MulAdd(q, first, sums[r][0]);
      sums[r][1] = MulAdd(q, second, sums[r][1]);
    }
  }
  PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
    StoreOctet(Mul(sums[r][0], Broadcast(scale)), out[r]);
    StoreOctet(Mul(sums[r][1], Broadcast(scale)), out[r] + 8);
  }
}

// In place: scores in units of log 2 become probabilities; [visible, count) becomes 0.
void Normalise(float* row, size_t visible, size_t count) {
  float highest = -HUGE_VALF;
  size_t j = 0;
  Octet highest_lanes = Broadcast(-HUGE_VALF);
  for (; j + 8 <= visible; j += 8) highest_lanes = Max(highest_lanes, LoadOctet(row + j));
  highest = MaxLane(highest_lanes);
  for (; j < visible; ++j) highest = std::max(highest, row[j]);
  std::fill(row + visible, row + (count + 7) / 8 * 8, -HUGE_VALF);

  Octet sum = Broadcast(0.0f);
  const Octet offset = Broadcast(highest);
  for (j = 0; j < visible; j += 8) {
    const Octet p = Exp2(Sub(LoadOctet(row + j), offset));
    StoreOctet(p, row + j);
    sum = Add(sum, p);
  }
  const Octet factor = Broadcast(visible > 0 ? 1.0f / SumLanes(sum) : 0.0f);
  for (j = 0; j < visible; j += 8) StoreOctet(Mul(LoadOctet(row + j), factor), row + j);
  std::fill(row + visible, row + count, 0.0f);
}

// Queries whose sums fit the registers.
constexpr size_t kTileRows = 6;

// With the blocks that hold the keys [0, visible). All queries take their turn with a block while
// it is in the cache of the processor.
void ScaledProducts(const PackedKeys& keys, std::span<const float* const> queries, size_t visible,
                    float scale, float* out, size_t stride) {
  for (size_t block = 0; block * kBlock < visible; ++block) {
    for (size_t first = 0; first < queries.size(); first += kTileRows) {
      float* rows[kTileRows];
      const size_t count = std::min(kTileRows, queries.size() - first);
      for (size_t r = 0; r < count; ++r) rows[r] = out + (first + r) * stride + block * kBlock;
      WithRows<kTileRows>(count, [&](auto tile_rows) {
        BlockScores<tile_rows>(keys.block(block), keys.dim(), &queries[first], scale, rows);
      });
    }
  }
}

void RunProbabilities(const PackedKeys& keys, std::span<const ProbabilityQuery> queries,
                      float scale, float* out, size_t stride) {
  const float* values[kProbabilityRows];
  size_t visible = 0;
  for (size_t r = 0; r < queries.size(); ++r) {
    values[r] = queries[r].values;
    visible = std::max(visible, queries[r].visible);
  }
  constexpr float kLog2E = 1.44269504f;
  ScaledProducts(keys, {values, queries.size()}, visible, scale * kLog2E, out, stride);
  for (size_t r = 0; r < queries.size(); ++r) {
    Normalise(out + r * stride, queries[r].visible, keys.count());
  }
}

void RunProducts(const PackedKeys& keys, std::span<const float* const> queries, float* out,
                 size_t stride) {
  ScaledProducts(keys, queries, keys.count(), 1.0f, out, stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "base/check.h"

namespace pith {

HWY_EXPORT(RunProbabilities);
HWY_EXPORT(RunProducts);

PackedKeys::PackedKeys(std::span<const float> rows, uint32_t dim)
    : dim_(dim), count_(rows.size() / dim), blocks_((count_ + kBlock - 1) / kBlock * kBlock * dim) {
  for (size_t i = 0; i < count_; ++i) {
    float* const block = blocks_.data() + i / kBlock * kBlock * dim + i % kBlock;
    for (uint32_t c = 0; c < dim; ++c) block[c * kBlock] = rows[i * dim + c];
  }
}

void Probabilities(const PackedKeys& keys, std::span<const ProbabilityQuery> queries, float scale,
                   float* out, size_t stride) {
  PITH_CHECK(queries.size() <= kProbabilityRows);
  for (const ProbabilityQuery& query : queries) PITH_CHECK(query.visible <= keys.count());
  HWY_DYNAMIC_DISPATCH(RunProbabilities)(keys, queries, scale, out, stride);
}

void Products(const PackedKeys& keys, std::span<const float* const> queries, float* out,
              size_t stride) {
  PITH_CHECK(queries.size() <= kProbabilityRows);
  HWY_DYNAMIC_DISPATCH(RunProducts)(keys, queries, out, stride);
}

}  // namespace pith
#endif  // HWY_ONCE
