// Octets, on every SIMD target of the machine.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/octet_test.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernel/octet-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

void Exp2Of8(const float* x, float* y) { StoreOctet(Exp2(LoadOctet(x)), y); }
void Keep(const float* x, int begin, int end, float* y) {
  StoreOctet(KeepLanes(LoadOctet(x), begin, end), y);
}
float MaxOf8(const float* x) { return MaxLane(LoadOctet(x)); }
float SumOf8(const float* x) { return SumLanes(LoadOctet(x)); }

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace pith {
namespace {

HWY_EXPORT(Exp2Of8);
HWY_EXPORT(Keep);
HWY_EXPORT(MaxOf8);
HWY_EXPORT(SumOf8);

class Octets : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

INSTANTIATE_TEST_SUITE_P(All, Octets, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const testing::TestParamInfo<int64_t>& info) {
                           return std::string(hwy::TargetName(info.param));
                         });

TEST_P(Octets, Exp2_IsWithinTwoUlp) {
  double worst = 0;
  for (int step = 0; step < 125 * 8192; step += 8) {
    float x[8], y[8];
    for (int i = 0; i < 8; ++i) x[i] = -static_cast<float>(step + i) / 8192.0f * 0.99999f;
    HWY_DYNAMIC_DISPATCH(Exp2Of8)(x, y);
    for (int i = 0; i < 8; ++i) {
      const double truth = std::exp2(double{x[i]});
      const float near = static_cast<float>(truth);
      const double ulp = double{near} - std::nextafter(near, 0.0f);
      worst = std::max(worst, std::abs(y[i] - truth) / ulp);
    }
  }
  EXPECT_LE(worst, 2.0);
  EXPECT_GT(worst, 0.1);  // it was measured at all
}

TEST_P(Octets, Exp2_IsOneAtZeroAndZeroFarBelow) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float x[8] = {0.0f,    -0.0f,  -1.0f,     -125.0f,
                      -125.1f, -1e10f, -infinity, -std::numeric_limits<float>::max()};
  float y[8];
  HWY_DYNAMIC_DISPATCH(Exp2Of8)(x, y);
  const float truth[8] = {1, 1, 0.5f, std::ldexp(1.0f, -125), 0, 0, 0, 0};
  for (int i = 0; i < 8; ++i) EXPECT_EQ(y[i], truth[i]) << x[i];
}

TEST_P(Octets, KeepLanes_MakesOthersMinusInfinity) {
  const float nan = std::nanf("");
  for (int begin = -3; begin < 8; ++begin) {
    for (int end = begin; end < 12; ++end) {
      float x[8], y[8];
      for (int i = 0; i < 8; ++i) x[i] = i >= begin && i < end ? static_cast<float>(i) : nan;
      HWY_DYNAMIC_DISPATCH(Keep)(x, begin, end, y);
      for (int i = 0; i < 8; ++i) {
        EXPECT_EQ(y[i], i >= begin && i < end ? static_cast<float>(i) : -HUGE_VALF);
      }
    }
  }
}

TEST_P(Octets, Reductions_TakeEveryLane) {
  for (int lane = 0; lane < 8; ++lane) {
    float x[8] = {-9, -9, -9, -9, -9, -9, -9, -9};
    x[lane] = 5;
    EXPECT_EQ(HWY_DYNAMIC_DISPATCH(MaxOf8)(x), 5);
    EXPECT_EQ(HWY_DYNAMIC_DISPATCH(SumOf8)(x), 5 - 7 * 9);
  }
}

}  // namespace
}  // namespace pith
#endif  // HWY_ONCE
