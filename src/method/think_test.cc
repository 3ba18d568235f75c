#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"
#include "method/method.h"

namespace pith {
namespace {

std::vector<float> Scores(std::span<const float> queries, std::span<const double> key_squares) {
  std::vector<float> scores(key_squares.size());
  FindPart(Stage::kChannels, "think")->score_channels({queries, key_squares}, scores);
  return scores;
}

// Mean squares of the queries 4 and 1, of the keys 1 and 9.
TEST(Think, WorkedExample) {
  const std::vector<float> queries = {2, -1, -2, 1};
  const std::vector<double> key_squares = {1, 9};
  EXPECT_EQ(Scores(queries, key_squares), (std::vector<float>{4, 9}));
}

// What a channel adds to Q K^T is a matrix of its own; its squares, summed up one by one.
TEST(Think, Score_IsTheMeanSquareOfWhatTheChannelAddsToProducts) {
  constexpr size_t kDim = 12, kRows = 20, kEntries = 45;
  Rng rng(3);
  std::vector<float> queries(kRows * kDim), keys(kEntries * kDim);
  for (float& x : queries) x = rng.Normal();
  for (float& x : keys) x = 1 + rng.Normal();
  std::vector<double> squares(kDim), naive(kDim);
  for (size_t c = 0; c < kDim; ++c) {
    for (size_t e = 0; e < kEntries; ++e) {
      squares[c] += double{keys[e * kDim + c]} * keys[e * kDim + c] / kEntries;
      for (size_t r = 0; r < kRows; ++r) {
        const double product = double{queries[r * kDim + c]} * keys[e * kDim + c];
        naive[c] += product * product / (kRows * kEntries);
      }
    }
  }
  const std::vector<float> scores = Scores(queries, squares);
  for (size_t c = 0; c < kDim; ++c) EXPECT_NEAR(scores[c], naive[c], 1e-5 * naive[c]) << c;
}

TEST(Think, WithoutQueries_KeysAloneDecide) {
  EXPECT_EQ(Scores({}, std::vector<double>{1, 9, 4}), (std::vector<float>{1, 9, 4}));
}

}  // namespace
}  // namespace pith
