#include "eval/metric/divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace pith {
namespace {

TEST(LogSum, LargeLogits_DoNotOverflow) {
  EXPECT_NEAR(LogSum(std::vector<float>{1000, 1000}), 1000 + std::log(2.0), 1e-9);
}

TEST(Divergence, OfLogits_IsThatOfTheirDistributions) {
  // (1/4, 3/4) against (1/2, 1/2), whatever is added to all logits.
  const std::vector<float> p = {7, 7 + std::log(3.0f)}, q = {-2, -2};
  EXPECT_NEAR(Divergence(p, q), 0.25 * std::log(0.5) + 0.75 * std::log(1.5), 1e-6);
  EXPECT_EQ(Divergence(p, p), 0);
}

}  // namespace
}  // namespace pith
