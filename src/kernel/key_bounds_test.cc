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

// By how much a bound may exceed the exact one over what Least() and Greatest() say: the query was
// rounded upward by less than a step in each channel, and met codes up to 127; and what sums of f32
// may be off.
double Slack(const KeyBounds& bounds, uint64_t page, const float* query, uint32_t dim) {
  double most = 0, largest = 0;
  for (uint32_t c = 0; c < dim; ++c) {
    most = std::max(most, std::abs(double{query[c]}));
    largest = std::max({largest, std::abs(double{bounds.Least(page, c)}),
                        std::abs(double{bounds.Greatest(page, c)})});
  }
  return dim * most * (double{bounds.Scale(page)} + 4 * 0x1p-24 * largest);
}

TEST(KeyBounds, GoldenPage_BoundsItsBestProduct) {
  KeyBounds bounds(2, 16);
  // The spread is 127 steps of 1/16, and all numbers are whole steps.
  const float keys[] = {1, -2, 3, 0, -1, 5.9375f};
  bounds.Append(keys, 3);
  EXPECT_EQ(bounds.Scale(0), 0.0625f);
  EXPECT_EQ(bounds.Greatest(0, 0), 3);
  EXPECT_EQ(bounds.Greatest(0, 1), 5.9375f);
  EXPECT_EQ(bounds.Least(0, 0), -1);
  EXPECT_EQ(bounds.Least(0, 1), -2);
  const float query[] = {1, -1};
  const float* const queries[] = {query};
  float scores[8];
  bounds.Score(queries, 1, scores, 8);
  EXPECT_EQ(scores[0], 5);
  for (int i = 1; i < 8; ++i) EXPECT_EQ(scores[i], -HUGE_VALF);
  bounds.Score(queries, 0.5f, scores, 8);
  EXPECT_EQ(scores[0], 2.5f);
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
        bounds.Score(queries, 1, scores.data(), stride);
        for (size_t p = 0; p < bounds.num_pages(); ++p) {
          std::vector<float> least, greatest;
          for (uint32_t c = 0; c < dim; ++c) {
            least.push_back(bounds.Least(p, c));
            greatest.push_back(bounds.Greatest(p, c));
          }
          for (size_t r = 0; r < num_queries; ++r) {
            const double bound = BoundReference({queries[r], dim}, least, greatest);
            const double score = scores[r * stride + p];
            const double slack = Slack(bounds, p, queries[r], dim);
            EXPECT_GE(score, bound - dim * 16 * 0x1p-24);
            EXPECT_LE(score, bound + slack);
            const size_t end = std::min<size_t>(count, (p + 1) * page);
            double best = -HUGE_VAL, magnitude = 0;
            for (size_t i = p * page; i < end; ++i) {
              best = std::max(best, Dot(queries[r], &keys[i * dim], dim));
            }
            for (uint32_t c = 0; c < dim; ++c) magnitude += std::abs(double{queries[r][c]});
            EXPECT_GE(bound, best);
            // One entry, and the roundings outward: at most a step of every channel.
            if (end == p * page + 1) {
              EXPECT_LE(bound, best + magnitude * bounds.Scale(p));
            }
          }
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
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

TEST(KeyBounds, StoredNumbers_LieOutsideByLessThanAStep) {
  Rng rng(5);
  for (const float size : {1e-6f, 1.0f, 300.0f}) {
    constexpr uint32_t kDim = 37;
    std::vector<float> keys = RandomValues(rng, 16 * kDim);
    for (float& k : keys) k = size * (k + 7);
    KeyBounds bounds(kDim, 16);
    bounds.Append(keys.data(), 16);
    for (uint32_t c = 0; c < kDim; ++c) {
      float least = HUGE_VALF, greatest = -HUGE_VALF;
      for (uint32_t i = 0; i < 16; ++i) {
        least = std::min(least, keys[i * kDim + c]);
        greatest = std::max(greatest, keys[i * kDim + c]);
      }
      EXPECT_LE(bounds.Least(0, c), least);
      EXPECT_GE(bounds.Greatest(0, c), greatest);
      EXPECT_LT(least - bounds.Least(0, c), bounds.Scale(0) * 1.001f);
      EXPECT_LT(bounds.Greatest(0, c) - greatest, bounds.Scale(0) * 1.001f);
    }
  }
}

TEST(KeyBounds, AllChannelsAlike_ExactIfTheyFitF16) {
  const std::vector<float> keys(16, 0.75f);
  KeyBounds bounds(16, 16);
  bounds.Append(keys.data(), 1);
  const std::vector<float> query = {1, -2, 3, 4, 5, -6, 7, 8, 9, 10, 11, -12, 13, 14, 15, 16};
  const float* const queries[] = {query.data()};
  float scores[8];
  bounds.Score(queries, 1, scores, 8);
  EXPECT_EQ(scores[0], Dot(query.data(), keys.data(), 16));
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
  bounds.Score(queries, 1, scores, 8);
  EXPECT_EQ(scores[0], HUGE_VALF);
  const float not_a_number[] = {0, NAN, 0, 0, 1, 1, 1, 1};
  KeyBounds unknown(4, 16);
  unknown.Append(not_a_number, 2);
  unknown.Score(queries, 1, scores, 8);
  EXPECT_EQ(scores[0], HUGE_VALF);
}

}  // namespace
}  // namespace pith
