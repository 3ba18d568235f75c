#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "method/support.h"

namespace pith {
namespace {

using Scores = std::vector<std::vector<float>>;

std::vector<uint64_t> Global(const Scores& scores, uint64_t budget) {
  std::vector<uint64_t> entries(scores.size());
  FindPart(Stage::kAlloc, "global")
      ->allocate({.num_layers = static_cast<uint32_t>(scores.size() / 2),
                  .num_kv_heads = 2,
                  .budget = budget,
                  .scores = scores},
                 {}, entries);
  return entries;
}

TEST(Global, BestOfAllHeads_Stay) {
  // The six best are .9 .8 .7 .6 .5 .4.
  const Scores scores = {{.9f, .1f, .8f}, {.7f, .0f}, {.6f, .5f, .4f}};
  EXPECT_EQ(Global(scores, 2), (std::vector<uint64_t>{2, 1, 3}));
  EXPECT_EQ(Global(scores, 1), (std::vector<uint64_t>{2, 1, 0}));
  EXPECT_EQ(Global(scores, 100), (std::vector<uint64_t>{3, 2, 3}));
}

TEST(Global, EqualScores_TheLowerHeadFirst) {
  const Scores scores = {{.5f, .5f, .5f, .5f}, {.5f, .5f, .5f, .5f}, {.7f, .5f, .5f, .5f}};
  EXPECT_EQ(Global(scores, 2), (std::vector<uint64_t>{4, 1, 1}));
}

TEST(Global, ProtectedEntries_ComeFirst) {
  const Scores scores = {{.1f, kProtected, .2f}, {.9f, .8f, .7f}, {kProtected, kProtected, .3f}};
  EXPECT_EQ(Global(scores, 1), (std::vector<uint64_t>{1, 0, 2}));
  EXPECT_EQ(Global(scores, 2), (std::vector<uint64_t>{1, 3, 2}));
}

TEST(Global, NotANumber_IsTheWorst) {
  const Scores scores = {{NAN, -HUGE_VALF, 0.0f}, {-1.0f, NAN, -2.0f}};
  EXPECT_EQ(Global(scores, 2), (std::vector<uint64_t>{2, 2}));
}

TEST(Global, Total_IsExact) {
  Rng rng(7, 0);
  for (int repeat = 0; repeat < 50; ++repeat) {
    Scores scores(8, std::vector<float>(40));
    for (auto& head : scores) {
      for (float& score : head) score = static_cast<float>(rng.Below(9));  // many are equal
      head[0] = kProtected;
    }
    const uint64_t budget = 1 + rng.Below(40);
    const std::vector<uint64_t> entries = Global(scores, budget);
    EXPECT_EQ(std::accumulate(entries.begin(), entries.end(), uint64_t{0}), budget * 8);
    // No dropped entry is better than a kept one.
    float least_kept = HUGE_VALF, best_dropped = -HUGE_VALF;
    for (size_t h = 0; h < scores.size(); ++h) {
      const auto kept = TopIndices(scores[h], entries[h]);
      for (uint32_t j = 0; j < scores[h].size(); ++j) {
        float& bound = std::ranges::binary_search(kept, j) ? least_kept : best_dropped;
        bound =
            &bound == &least_kept ? std::min(bound, scores[h][j]) : std::max(bound, scores[h][j]);
      }
    }
    EXPECT_GE(least_kept, best_dropped);
  }
}

}  // namespace
}  // namespace pith
