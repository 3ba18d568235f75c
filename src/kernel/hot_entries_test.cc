#include "kernel/ref/hot_entries.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace pith {
namespace {

TEST(HotEntries, RunsAndSingles_AreTwoPercent) {
  for (const uint32_t run : {16u, 1u}) {
    Rng rng(1);
    const auto hot = HotEntries(3200, run, rng);
    EXPECT_EQ(std::ranges::count(hot, true), 64);
    for (size_t i = 0; i < hot.size(); ++i) EXPECT_EQ(hot[i], hot[i / run * run]);
  }
  Rng rng(1);
  const auto few = HotEntries(20, 16, rng);
  EXPECT_EQ(std::ranges::count(few, true), 16) << "one run at least";
}

// Against softmax itself: three noise scores and one hot one that grows.
TEST(HotMassOf, GrownScore_HasTheShareThatSoftmaxSays) {
  const double noise = std::exp(0.5) + std::exp(-1.0) + std::exp(0.25), hot = std::exp(0.125);
  EXPECT_NEAR(HotMassOf(hot / (hot + noise), 3),
              hot * std::exp(3.0) / (hot * std::exp(3.0) + noise), 1e-12);
}

TEST(LeanOf, OneQuery_IsTheClosedForm) {
  const double share = 0.02, slope = 0.7;
  EXPECT_NEAR(LeanOf({&share, 1}, {&slope, 1}), std::log(9 * 0.98 / 0.02) / slope, 1e-9);
}

TEST(LeanOf, UnequalQueries_HaveTheMassAsTheirMean) {
  const double shares[] = {0.02, 0.05, 0.01}, slopes[] = {1, 2, 0.5};
  const double lean = LeanOf(shares, slopes);
  double sum = 0;
  for (int i = 0; i < 3; ++i) sum += HotMassOf(shares[i], lean * slopes[i]);
  EXPECT_NEAR(sum / 3, 0.9, 1e-9);
}

}  // namespace
}  // namespace pith
