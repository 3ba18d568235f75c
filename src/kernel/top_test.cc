#include "kernel/top.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "kernel/ref/select_ref.h"

namespace pith {
namespace {

std::vector<uint32_t> Indices(std::span<const uint8_t> bits) {
  std::vector<uint32_t> indices;
  for (uint32_t i = 0; i < bits.size() * 8; ++i) {
    if ((bits[i / 8] >> i % 8 & 1) != 0) indices.push_back(i);
  }
  return indices;
}

std::vector<uint32_t> Largest(std::span<const float> values, size_t count) {
  TopScratch scratch;
  std::vector<uint8_t> bits(values.size() / 8);
  ChooseLargest(values, count, &scratch, bits);
  return Indices(bits);
}

struct Share {
  std::vector<uint32_t> indices;
  TopShare top;
  std::vector<double> weights;
};
Share ShareOf(std::vector<float> scores, double share) {
  TopScratch scratch;
  std::vector<uint8_t> bits(scores.size() / 8);
  Share result;
  result.top = ChooseShare(scores, share, &scratch, bits);
  result.indices = Indices(bits);
  result.weights.assign(scores.begin(), scores.end());
  return result;
}

TEST(ChooseLargest, EveryTarget_AsSortedByValueThenIndex) {
  Rng rng(1);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (int round = 0; round < 60; ++round) {
      std::vector<float> values(8 * (1 + rng.Below(40)));
      const uint32_t levels = 1 + rng.Below(round % 2 == 0 ? 5 : 100000);
      for (float& v : values) v = static_cast<float>(rng.Below(levels)) - float(levels) / 3;
      if (round % 3 == 0) values[rng.Below(static_cast<uint32_t>(values.size()))] = -HUGE_VALF;
      if (round % 5 == 0) values[0] = -0.0f, values[1] = 0.0f;
      const size_t count = rng.Below(static_cast<uint32_t>(values.size() + 1));
      EXPECT_EQ(Largest(values, count), LargestReference(values, count)) << round;
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(ChooseShare, GoldenWeights) {
  std::vector<float> scores;
  for (const float w : {0.5f, 0.2f, 0.15f, 0.1f, 0.05f}) scores.push_back(std::log2(w));
  scores.resize(8, -HUGE_VALF);
  using Indices = std::vector<uint32_t>;
  EXPECT_EQ(ShareOf(scores, 0.6).indices, (Indices{0, 1}));
  EXPECT_EQ(ShareOf(scores, 0.8).indices, (Indices{0, 1, 2}));
  EXPECT_EQ(ShareOf(scores, 0.86).indices, (Indices{0, 1, 2, 3}));
  EXPECT_EQ(ShareOf(scores, 1).indices, (Indices{0, 1, 2, 3, 4}));
}

TEST(ChooseShare, EveryTarget_TheFewestThatComeToTheShare) {
  Rng rng(2);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (int round = 0; round < 80; ++round) {
      std::vector<float> scores(8 * (1 + rng.Below(round % 2 == 0 ? 4 : 300)));
      const float spread = round % 4 == 0 ? 0.01f : static_cast<float>(rng.Below(40));
      for (float& s : scores) s = spread * rng.Float() - 100;
      for (int i = 0; i < 5; ++i) {
        scores[rng.Below(static_cast<uint32_t>(scores.size()))] = scores[0];
      }
      if (round % 3 == 0) scores.back() = -HUGE_VALF;
      std::vector<uint32_t> before;
      for (const double share : {0.05, 0.3, 0.6, 0.85, 0.95, 0.999, 1.0}) {
        const Share found = ShareOf(scores, share);
        if (share < 1) {
          EXPECT_EQ(found.indices, ShareReference(found.weights, share)) << round << " " << share;
        }
        const double all = std::accumulate(found.weights.begin(), found.weights.end(), 0.0);
        double kept = 0, least = HUGE_VAL;
        for (const uint32_t i : found.indices) {
          kept += found.weights[i];
          least = std::min(least, found.weights[i]);
        }
        EXPECT_GE(kept, share * all * (1 - 1e-6));
        EXPECT_NEAR(found.top.kept, kept / all, 1e-6);
        const auto ties = static_cast<double>(std::ranges::count(found.weights, least));
        if (share < 1) {
          EXPECT_LT(kept - ties * least, share * all * (1 + 1e-6));
        }
        EXPECT_TRUE(std::ranges::includes(found.indices, before));
        before = found.indices;
      }
      EXPECT_EQ(before.size(), scores.size() - (round % 3 == 0 ? 1 : 0));
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(ChooseShare, Equals_AreKeptTogether) {
  const std::vector<float> scores(16, 3.0f);
  EXPECT_EQ(ShareOf(scores, 0.1).indices.size(), 16u);
}

TEST(JoinAsSoftmax, EveryTarget_GreatestSoftmaxWeightOfAnyRow_InfiniteOnesAside) {
  Rng rng(4);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const size_t rows : {2u, 3u, 5u}) {
      constexpr size_t kColumns = 24, kPadding = 3;
      std::vector<float> scores(rows * kColumns);
      for (size_t i = 0; i < scores.size(); ++i) {
        const size_t column = i % kColumns;
        scores[i] = 30 * rng.Float() * static_cast<float>(1 + i / kColumns);
        if (column == 7) scores[i] = HUGE_VALF;  // nothing is known of it
        if (column >= kColumns - kPadding) scores[i] = -HUGE_VALF;
      }
      std::vector<double> expected(kColumns, -HUGE_VAL);
      for (size_t row = 0; row < rows; ++row) {
        double sum = 0;
        for (size_t c = 0; c < kColumns; ++c) {
          if (c != 7) sum += std::exp2(double{scores[row * kColumns + c]});
        }
        for (size_t c = 0; c < kColumns; ++c) {
          expected[c] = std::max(expected[c], scores[row * kColumns + c] - std::log2(sum));
        }
      }
      JoinAsSoftmax(scores, rows);
      for (size_t c = 0; c < kColumns; ++c) {
        if (std::isinf(expected[c])) {
          EXPECT_EQ(scores[c], expected[c]);
        } else {
          EXPECT_NEAR(scores[c], expected[c], 1e-4);
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(ChooseShare, NothingToChooseFrom_ChoosesNothing) {
  const std::vector<float> scores(8, -HUGE_VALF);
  for (const double share : {0.5, 1.0}) EXPECT_TRUE(ShareOf(scores, share).indices.empty());
}

}  // namespace
}  // namespace pith
