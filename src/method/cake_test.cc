#include <numeric>

#include "base/rng.h"
#include "method/golden_case.h"

namespace pith {
namespace {

using Indices = std::vector<uint32_t>;
using Entries = std::vector<uint64_t>;
using Cake = Golden;

TEST_F(Cake, WorkedExample) {
  const std::array<std::vector<double>, kHeads> expected = {
      {{.3345, .3403, .3450, .2784, .2834, .6742, .9497, .9449, .9160},
       {.2381, .2421, .2439, .1352, .0608, .1286, .3722, .3704, .3670}}};
  const std::array<Indices, kHeads> kept = {{{5, 6, 7, 8, 9, 10, 11}, {2, 6, 7, 8, 9, 10, 11}}};
  for (uint32_t g = 0; g < kHeads; ++g) {
    const auto scores = Scores("cake", g, {Number(3), Number(200), Number(5)});
    ExpectScores(scores, expected[g]);
    ExpectProtected(scores, {9, 10, 11});
    EXPECT_EQ(Kept(scores), kept[g]);
  }
}

TEST_F(Cake, WithoutVariance_IsSnapKv) {
  const auto cake = Scores("cake", 0, {Number(3), Number(0), Number(5)});
  const auto snapkv =
      Scores("snapkv", 0, {Number(3), Number(5), Word("mean"), Word("mean"), Word("pool")});
  for (size_t j = 0; j < 9; ++j) EXPECT_NEAR(cake[j], snapkv[j], 1e-6) << j;
}

// Entries that a layer keeps besides `w` protected ones, for statistics [layer][entropy, variance]
// and a text of `n` tokens.
Entries Share(const std::vector<double>& statistics, size_t n, size_t w, uint64_t budget,
              double tau1 = 1, double tau2 = 1) {
  const auto layers = static_cast<uint32_t>(statistics.size() / 2);
  std::vector<float> scores(n);
  std::fill(scores.end() - static_cast<std::ptrdiff_t>(w), scores.end(), kProtected);
  const std::vector<std::vector<float>> all(layers, scores);
  const std::vector<ParameterValue> parameters = {Number(tau1), Number(tau2), Number(32)};
  Entries entries(layers);
  FindPart(Stage::kAlloc, "cake")
      ->allocate({layers, 1, budget, all, statistics}, parameters, entries);
  for (uint64_t& e : entries) e -= w;
  return entries;
}

TEST_F(Cake, Preference_WorkedExample) {
  const Part& part = *FindPart(Stage::kAlloc, "cake");
  const std::vector<ParameterValue> parameters = {Number(1), Number(1), Number(3)};
  std::vector<double> layer(2);
  for (uint32_t g = 0; g < kHeads; ++g) {
    std::vector<double> head(2);
    part.measure(Head(g), parameters, head);
    for (size_t i = 0; i < 2; ++i) layer[i] += head[i];
  }
  EXPECT_NEAR(layer[0], 17.0317, 5.1e-5);
  EXPECT_NEAR(layer[1], 0.081676, 5.1e-7);
  // A second layer with exactly the figure that is expected of the first gets as much.
  const Entries first = Share({layer[0], layer[1], 1.39108, 1}, 30000, 0, 10000);
  EXPECT_NEAR(static_cast<double>(first[0]), 10000, 1);
  const Entries second =
      Share({layer[0], layer[1], std::pow(0.011214, 1.6), 1}, 30000, 0, 10000, 1.6, 0.4);
  EXPECT_NEAR(static_cast<double>(second[0]), 10000, 1);
}

TEST_F(Cake, Layer_IsTheSumOfItsHeads) {
  const std::vector<std::vector<float>> scores(4, std::vector<float>(100));
  const std::vector<double> statistics = {1, 0.5, 2, 0.5, 4, 2, 5, 0};  // 3 * 1 and 9 * 2
  const std::vector<ParameterValue> parameters = {Number(1), Number(1), Number(32)};
  Entries entries(4);
  FindPart(Stage::kAlloc, "cake")->allocate({2, 2, 14, scores, statistics}, parameters, entries);
  EXPECT_EQ(entries, (Entries{4, 4, 24, 24}));
}

TEST(CakeShares, WorkedExample_CappedAndGivenOn) {
  // 3.75, 7.5 and 18.75 become (3, 7, 18), capped (5, 8, 15), and the lost two (6, 9, 15).
  EXPECT_EQ(Share({1, 1, 2, 1, 5, 1}, 15, 0, 10), (Entries{6, 9, 15}));
  EXPECT_EQ(Share({1, 1, 2, 1, 5, 1}, 18, 3, 13), (Entries{6, 9, 15}));
  EXPECT_EQ(Share({1, 1, 2, 1, 5, 1}, 100, 0, 10), (Entries{4, 8, 18}));
}

TEST(CakeShares, SumIsExact) {
  Rng rng(4);
  for (const uint32_t layers : {1u, 2u, 7u, 80u}) {
    for (const uint64_t budget : {5u, 33u, 100u, 499u}) {
      std::vector<double> statistics(size_t{2} * layers);
      for (double& s : statistics) s = 0.01 + rng.Float();
      const Entries entries = Share(statistics, 500, 4, budget, 0.5, 0.5);
      EXPECT_EQ(std::accumulate(entries.begin(), entries.end(), uint64_t{0}),
                (budget - 4) * layers);
      for (const uint64_t e : entries) EXPECT_LE(e, 496u);
    }
  }
}

TEST(CakeShares, EqualOrUnknownPreferences_EqualBudgets) {
  EXPECT_EQ(Share({3, 0.1, 3, 0.1, 3, 0.1}, 100, 5, 25), (Entries{20, 20, 20}));
  EXPECT_EQ(Share({0, 0, 0, 0}, 100, 5, 25), (Entries{20, 20}));
  const double nan = std::nan("");
  EXPECT_EQ(Share({nan, 1, 1, 1}, 100, 5, 25), (Entries{20, 20}));
}

}  // namespace
}  // namespace pith
