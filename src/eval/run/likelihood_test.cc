#include "eval/run/likelihood.h"

#include <gtest/gtest.h>

#include <cmath>

namespace pith {
namespace {

std::vector<float> LogOf(std::vector<double> probabilities) {
  std::vector<float> logs;
  for (const double p : probabilities) logs.push_back(static_cast<float>(std::log(p)));
  return logs;
}

TEST(LogSoftmax, HandMadeLogits_GiveKnownProbabilities) {
  // e^0 : e^ln2 : e^ln5 = 1 : 2 : 5.
  const std::vector<float> logits = {100.0f, 100.0f + std::log(2.0f), 100.0f + std::log(5.0f)};
  std::vector<float> out(3);
  LogSoftmax(logits, out);
  EXPECT_NEAR(out[0], std::log(1.0 / 8), 1e-5);
  EXPECT_NEAR(out[1], std::log(2.0 / 8), 1e-5);
  EXPECT_NEAR(out[2], std::log(5.0 / 8), 1e-5);
}

TEST(LikelihoodSums, WithoutReference_OnlyLikelihood) {
  LikelihoodSums sums;
  sums.Add(LogOf({0.5, 0.25, 0.25}), 1, {});
  sums.Add(LogOf({0.5, 0.25, 0.25}), 0, {});
  const RecordedLikelihood result = sums.Finish();
  EXPECT_EQ(result.tokens, 2u);
  EXPECT_NEAR(result.nll_sum, std::log(4.0) + std::log(2.0), 1e-6);
  EXPECT_NEAR(result.nll_sum_squares, std::pow(std::log(4.0), 2) + std::pow(std::log(2.0), 2),
              1e-6);
  EXPECT_FALSE(result.divergence);
}

TEST(LikelihoodSums, SameDistributions_NoDivergence) {
  LikelihoodSums sums;
  const auto p = LogOf({0.7, 0.2, 0.1});
  sums.Add(p, 0, p);
  const RecordedLikelihood result = sums.Finish();
  ASSERT_TRUE(result.divergence);
  EXPECT_EQ(result.divergence->mean, 0);
  EXPECT_EQ(result.divergence->max, 0);
  EXPECT_EQ(result.divergence->same_top, 1);
  EXPECT_EQ(result.divergence->p_true_rms, 0);
}

TEST(LikelihoodSums, TwoTokens_MatchesWorkedExample) {
  // KL((1/2, 1/2) || (1/4, 3/4)) = 1/2 ln 2 + 1/2 ln 2/3; KL((3/4, 1/4) || (1/2, 1/2)) likewise.
  LikelihoodSums sums;
  sums.Add(LogOf({0.25, 0.75}), 1, LogOf({0.5, 0.5}));
  sums.Add(LogOf({0.5, 0.5}), 0, LogOf({0.75, 0.25}));
  const double first = 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3);
  const double second = 0.75 * std::log(1.5) + 0.25 * std::log(0.5);
  const RecordedLikelihood result = sums.Finish();
  ASSERT_TRUE(result.divergence);
  EXPECT_NEAR(result.divergence->mean, (first + second) / 2, 1e-6);
  EXPECT_NEAR(result.divergence->max, std::max(first, second), 1e-6);
  EXPECT_NEAR(result.divergence->median, (first + second) / 2, 1e-6);
  EXPECT_NEAR(result.divergence->p90, std::min(first, second) + 0.9 * std::abs(first - second),
              1e-6);
  // The first of equals is the top: (1/2, 1/2) has token 0 at its top, (1/4, 3/4) token 1.
  EXPECT_EQ(result.divergence->same_top, 0.5);
  EXPECT_NEAR(result.divergence->p_true_change, (0.25 - 0.25) / 2, 1e-6);
  EXPECT_NEAR(result.divergence->p_true_rms, 0.25, 1e-6);
  EXPECT_EQ(result.divergence->by_position.size(), 2u);
}

}  // namespace
}  // namespace pith
