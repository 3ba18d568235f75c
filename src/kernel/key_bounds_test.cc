#include "kernel/key_bounds.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "kernel/ref/select_ref.h"

namespace pith {
namespace {

std::vector<float> RandomValues(Rng& rng, size_t count) {
  std::vector<float> values(count);
  for (float& v : values) v = 4 * rng.Float() - 2;
  return values;
}

double Dot(const float* a, const float* b, uint32_t dim) {
  double sum = 0;
  for (uint32_t c = 0; c < dim; ++c) sum += double{a[c]} * b[c];
  return sum;
}

// What sums of f32 may be off, of products whose magnitudes add up to `sum`.
double Rounding(double sum, uint32_t dim) { return (2 * dim + 2) * 0x1p-24 * sum; }

TEST(KeyBounds, GoldenPage_BoundsItsBestProduct) {
  KeyBounds bounds(2, 16);
  const float keys[] = {1, -2, 3, 0, -1, 4};
  bounds.Append(keys, 3);
  EXPECT_EQ(bounds.Greatest(0, 0), 3);
  EXPECT_EQ(bounds.Greatest(0, 1), 4);
  EXPECT_EQ(bounds.Least(0, 0), -1);
  EXPECT_EQ(bounds.Least(0, 1), -2);
  const float query[] = {1, -1};
  const float* const queries[] = {query};
  float scores[8];
  bounds.Score(queries, scores, 8);
  EXPECT_EQ(scores[0], 5);
  for (int i = 1; i < 8; ++i) EXPECT_EQ(scores[i], -HUGE_VALF);
}

TEST(KeyBounds, EveryTarget_NoProductIsAboveItsPage) {
  Rng rng(11);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const uint32_t dim : {1u, 5u, 64u, 128u}) {
      for (const uint32_t page : {8u, 16u, 32u}) {
        const size_t count = 1 + rng.Below(400);
        const size_t num_queries = 1 + rng.Below(7);
        const auto keys = RandomValues(rng, count * dim);
        const auto query_values = RandomValues(rng, num_queries * dim);
        KeyBounds bounds(dim, page);
        for (size_t done = 0; done < count;) {
          const size_t part = std::min<size_t>(count - done, 1 + rng.Below(50));
          bounds.Append(keys.data() + done * dim, part);
          done += part;
        }
        ASSERT_EQ(bounds.num_pages(), (count + page - 1) / page);
        std::vector<const float*> queries;
        for (size_t r = 0; r < num_queries; ++r) queries.push_back(&query_values[r * dim]);
        const size_t stride = bounds.padded_pages();
        std::vector<float> scores(num_queries * stride);
        bounds.Score(queries, scores.data(), stride);
        for (size_t p = 0; p < bounds.num_pages(); ++p) {
          std::vector<float> least, greatest;
          for (uint32_t c = 0; c < dim; ++c) {
            least.push_back(bounds.Least(p, c));
            greatest.push_back(bounds.Greatest(p, c));
          }
          for (size_t r = 0; r < num_queries; ++r) {
            const double bound = BoundReference({queries[r], dim}, least, greatest);
            const double rounding = Rounding(16.0 * dim, dim);
            EXPECT_NEAR(scores[r * stride + p], bound, rounding);
            const size_t end = std::min<size_t>(count, (p + 1) * page);
            for (size_t i = p * page; i < end; ++i) {
              EXPECT_GE(bound, Dot(queries[r], &keys[i * dim], dim));
            }
            // One entry, and the roundings outward: at most an f16 step of every key.
            if (end == p * page + 1) {
              const double exact = Dot(queries[r], &keys[p * page * dim], dim);
              EXPECT_NEAR(bound, exact, dim * 2 * 2 * 0x1p-10);
            }
          }
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(KeyBounds, OneKeyOfF16_IsItsOwnBound) {
  Rng rng(3);
  std::vector<float> key = RandomValues(rng, 64), query = RandomValues(rng, 64);
  for (float& k : key) k = std::round(k * 256) / 256;
  for (float& q : query) q = std::round(q * 256) / 256;
  KeyBounds bounds(64, 16);
  bounds.Append(key.data(), 1);
  const float* const queries[] = {query.data()};
  float scores[8];
  bounds.Score(queries, scores, 8);
  EXPECT_EQ(scores[0], Dot(query.data(), key.data(), 64));  // exact in f32
}

TEST(KeyBounds, AppendedAfterTruncation_TheSameAsFromTheStart) {
  Rng rng(17);
  constexpr uint32_t kDim = 12, kPage = 16;
  std::vector<float> keys = RandomValues(rng, 300 * kDim);
  KeyBounds bounds(kDim, kPage);
  bounds.Append(keys.data(), 300);
  for (const uint64_t size : {290u, 256u, 255u, 17u, 16u, 1u, 0u}) {
    bounds.Truncate(size);
    const uint64_t from = bounds.num_entries();
    EXPECT_LE(from, size);
    EXPECT_EQ(from % kPage, 0u);
    for (size_t i = size * kDim; i < keys.size(); ++i) keys[i] = 4 * rng.Float() - 2;
    bounds.Append(keys.data() + from * kDim, 300 - from);
    KeyBounds fresh(kDim, kPage);
    fresh.Append(keys.data(), 300);
    for (uint64_t page = 0; page < fresh.num_pages(); ++page) {
      for (uint32_t c = 0; c < kDim; ++c) {
        EXPECT_EQ(bounds.Least(page, c), fresh.Least(page, c));
        EXPECT_EQ(bounds.Greatest(page, c), fresh.Greatest(page, c));
      }
    }
  }
}

TEST(KeyBounds, BeyondF16_StillABound) {
  const float keys[] = {70000, -70000, 1e-9f, -1e-9f};
  KeyBounds bounds(4, 16);
  bounds.Append(keys, 1);
  for (uint32_t c = 0; c < 4; ++c) {
    EXPECT_LE(bounds.Least(0, c), keys[c]);
    EXPECT_GE(bounds.Greatest(0, c), keys[c]);
  }
  const float some[] = {0, 1, 0, 0};
  const float* const queries[] = {some};
  float scores[8];
  bounds.Score(queries, scores, 8);
  EXPECT_GE(scores[0], -70000);
}

}  // namespace
}  // namespace pith
