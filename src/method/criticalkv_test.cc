#include "method/golden_case.h"

namespace pith {
namespace {

using Indices = std::vector<uint32_t>;

Indices Choose(const std::vector<float>& scores, const std::vector<float>& weights,
               uint64_t entries, double share, double eps) {
  const std::vector<std::vector<float>> all_scores = {scores}, all_weights = {weights};
  const std::vector<uint64_t> all_entries = {entries};
  std::vector<Indices> kept(1);
  const std::vector<ParameterValue> parameters = {Number(share), Number(eps)};
  FindPart(Stage::kSelect, "critical")
      ->select({all_scores, all_weights, all_entries}, parameters, kept);
  return kept[0];
}

using Critical = Golden;

// With the identity as output matrix, so that a value's weight is its L1 norm.
TEST_F(Critical, WorkedExample) {
  const std::array<Indices, kHeads> kept = {{{1, 2, 7, 8, 9, 10, 11}, {0, 1, 2, 8, 9, 10, 11}}};
  for (uint32_t g = 0; g < kHeads; ++g) {
    const auto scores =
        Scores("snapkv", g, {Number(3), Number(3), Word("mean"), Word("mean"), Word("pool")});
    std::vector<float> norms(kTokens);
    for (uint32_t j = 0; j < kTokens; ++j) {
      for (uint32_t c = 0; c < kDim; ++c) norms[j] += std::abs(values_[g][j * kDim + c]);
    }
    HeadInput head = Head(g);
    head.output_norms = norms;
    std::vector<float> weights(kTokens);
    FindPart(Stage::kSelect, "critical")->weigh(head, {}, weights);
    EXPECT_EQ(Choose(scores, weights, 7, 0.5, 1e-4), kept[g]);
  }
}

TEST(SelectCritical, EqualWeights_IsTheScoreAlone) {
  const std::vector<float> scores = {3, 9, 1, 7, 5, 8, 2, kProtected};
  EXPECT_EQ(Choose(scores, std::vector<float>(8, 2.5f), 5, 0.5, 1e-4), TopIndices(scores, 5));
}

TEST(SelectCritical, BestByScore_StayWhateverTheirWeights) {
  const std::vector<float> scores = {3, 9, 1, 7, 5, 8, 2, kProtected};
  const std::vector<float> weights = {1, 0, 9, 1, 1, 0, 1, 0};
  EXPECT_EQ(Choose(scores, weights, 5, 0.5, 0), (Indices{1, 2, 3, 5, 7}));
  EXPECT_EQ(Choose(scores, weights, 5, 0, 0), (Indices{0, 2, 3, 4, 7}));
  EXPECT_EQ(Choose(scores, weights, 5, 1, 0), TopIndices(scores, 5));
  // An entry without attention counts by its weight if eps is given.
  EXPECT_EQ(Choose({0, 0, 0}, {1, 3, 2}, 1, 0, 0.1), Indices{1});
  EXPECT_EQ(Choose({0, 0, 0}, {1, 3, 2}, 1, 0, 0), Indices{0});
}

TEST(SelectCritical, ScaledWeights_SameChoiceWithoutEps) {
  const std::vector<float> scores = {.3f, .9f, .1f, .7f, .5f, .8f, .2f, .4f};
  const std::vector<float> weights = {4, 1, 7, 2, 3, 1, 9, 5};
  std::vector<float> scaled(weights);
  for (float& w : scaled) w *= 64;
  for (uint64_t entries = 0; entries <= 9; ++entries) {
    EXPECT_EQ(Choose(scores, weights, entries, 0.5, 0), Choose(scores, scaled, entries, 0.5, 0));
  }
}

}  // namespace
}  // namespace pith
