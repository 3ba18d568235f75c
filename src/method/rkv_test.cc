#include "method/rkv.h"

#include <numeric>

#include "method/golden_case.h"

namespace pith {
namespace {

using Indices = std::vector<uint32_t>;
using Rkv = Golden;

TEST_F(Rkv, WorkedExample) {
  const std::array<std::vector<double>, kHeads> importance = {
      {{.2151, .2151, .2096, .1059, .0347, .0767, .1387, .1699, .1699},
       {.3107, .3107, .2838, .1158, .0276, .0214, .0629, .1597, .1597}}};
  const std::array<std::vector<double>, kHeads> redundancy = {
      {{.1000, .1044, .1006, .0895, .0745, .0636, .0631, .0681, .0810},
       {.1005, .1044, .1004, .0863, .0729, .0631, .0629, .0697, .0844}}};
  const std::array<Indices, kHeads> kept = {{{5, 6, 7, 8, 9, 10, 11}, {0, 5, 6, 7, 9, 10, 11}}};
  for (uint32_t g = 0; g < kHeads; ++g) {
    ExpectScores(Scores("rkv", g, {Number(1), Number(3), Number(3)}), importance[g]);
    std::vector<double> negative(redundancy[g]);
    for (double& r : negative) r = -r;
    ExpectScores(Scores("rkv", g, {Number(0), Number(3), Number(3)}), negative);
    const auto both = Scores("rkv", g, {Number(0.1), Number(3), Number(3)});
    ExpectProtected(both, {9, 10, 11});
    EXPECT_EQ(Kept(both), kept[g]);
  }
}

TEST(MeanSimilarity, LikeKeys_TheLatestIsNoRepetition) {
  const std::vector<float> keys = {1, 0, 2, 0, 3, 0, 0, 1};  // three alike, and one across
  const auto similarity = MeanSimilarity(keys, 2);
  const std::vector<double> expected = {0.5, 0.25, 0, 0};
  for (size_t j = 0; j < 4; ++j) EXPECT_NEAR(similarity[j], expected[j], 1e-6) << j;
}

TEST(MeanSimilarity, KeysAcrossEachOther_NoneRepeats) {
  std::vector<float> keys(20 * 20);
  for (size_t i = 0; i < 20; ++i) keys[i * 20 + i] = 1 + static_cast<float>(i);
  for (const double similarity : MeanSimilarity(keys, 20)) EXPECT_EQ(similarity, 0);
}

// The plain n x n way, on more keys than fit one block.
TEST(MeanSimilarity, ManyKeys_AsFromTheWholeMatrix) {
  constexpr size_t kCount = 43, kDim = 5;
  std::vector<float> keys(kCount * kDim);
  for (size_t i = 0; i < keys.size(); ++i) {
    keys[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i * i)));
  }
  std::vector<double> expected(kCount);
  for (size_t i = 0; i < kCount; ++i) {
    std::vector<double> row(kCount);
    for (size_t j = 0; j < kCount; ++j) {
      double dot = 0, own = 0, other = 0;
      for (size_t c = 0; c < kDim; ++c) {
        const double a = keys[i * kDim + c], b = keys[j * kDim + c];
        dot += a * b;
        own += a * a;
        other += b * b;
      }
      row[j] = i == j ? 0 : dot / std::sqrt(own * other);
    }
    size_t cleared = 0;
    for (size_t j = 0; j < kCount; ++j) {
      if (row[j] > 0.5) cleared = j;
    }
    row[cleared] = 0;
    for (size_t j = 0; j < kCount; ++j) expected[j] += row[j] / kCount;
  }
  const auto similarity = MeanSimilarity(keys, kDim);
  for (size_t j = 0; j < kCount; ++j) EXPECT_NEAR(similarity[j], expected[j], 1e-6) << j;
}

}  // namespace
}  // namespace pith
