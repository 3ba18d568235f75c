#include "codec/hadamard.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "base/rng.h"

namespace pith {
namespace {

constexpr size_t kSizes[] = {1, 2, 4, 20, 64, 80, 96, 128, 256};

std::vector<float> RandomVector(size_t size, Rng* rng) {
  std::vector<float> v(size);
  for (float& x : v) x = rng->Normal();
  return v;
}

double Product(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
  return sum;
}

TEST(Hadamard, FourNumbers_AreAsComputedByHand) {
  std::vector<float> v = {1, 2, 3, 4};
  RotateHadamard(v);
  EXPECT_EQ(v, (std::vector<float>{5, -1, -2, 0}));
}

TEST(Hadamard, AnySize_IsItsOwnInverseAndKeepsProducts) {
  Rng rng(1);
  for (const size_t size : kSizes) {
    const std::vector<float> a = RandomVector(size, &rng), b = RandomVector(size, &rng);
    std::vector<float> ra = a, rb = b;
    RotateHadamard(ra);
    RotateHadamard(rb);
    EXPECT_NEAR(Product(ra, rb), Product(a, b), 1e-5 * static_cast<double>(size)) << size;
    RotateHadamard(ra);
    for (size_t i = 0; i < size; ++i) ASSERT_NEAR(ra[i], a[i], 1e-6 * std::sqrt(size)) << size;
  }
}

// Column i of the matrix is (-1)^(bits that i and the row have in common) / sqrt(order), in one
// block.
TEST(Hadamard, OneNumber_SpreadsEvenlyOverItsBlock) {
  for (const size_t size : kSizes) {
    const size_t order = HadamardOrder(size);
    EXPECT_EQ(size % order, 0u);
    EXPECT_EQ(size / order % 2, 1u);
    for (size_t at = 0; at < size; ++at) {
      std::vector<float> v(size, 0.0f);
      v[at] = 1;
      RotateHadamard(v);
      for (size_t i = 0; i < size; ++i) {
        const bool negative = std::popcount(i % order & at % order) % 2 == 1;
        const float entry = (negative ? -1.0f : 1.0f) / std::sqrt(static_cast<float>(order));
        ASSERT_EQ(v[i], i / order == at / order ? entry : 0.0f) << size << " " << at << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace pith
