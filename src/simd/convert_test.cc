// Conversions against plain scalar arithmetic, on every SIMD target of this machine.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/convert_test.cc"  // NOLINT
#include <hwy/foreach_target.h>                    // NOLINT, must come before highway.h
#include <hwy/highway.h>

#include <vector>

#include "simd/convert-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

template <class T>
void LoadAll(const T* in, size_t count, float* out) {
  const hn::CappedTag<float, 8> d;
  for (size_t i = 0; i < count; i += hn::Lanes(d)) {
    const size_t n = HWY_MIN(hn::Lanes(d), count - i);
    if (n == hn::Lanes(d)) {
      hn::StoreU(LoadF32(d, in + i), d, out + i);
    } else {
      StoreF32N(d, LoadF32N(d, in + i, n), out + i, n);
    }
  }
}

template <class T>
void StoreAll(const float* in, size_t count, T* out) {
  const hn::CappedTag<float, 8> d;
  for (size_t i = 0; i < count; i += hn::Lanes(d)) {
    const size_t n = HWY_MIN(hn::Lanes(d), count - i);
    if (n == hn::Lanes(d)) {
      StoreF32(d, hn::LoadU(d, in + i), out + i);
    } else {
      StoreF32N(d, LoadF32N(d, in + i, n), out + i, n);
    }
  }
}

void LoadF16s(const F16* in, size_t count, float* out) { LoadAll(in, count, out); }
void LoadBF16s(const BF16* in, size_t count, float* out) { LoadAll(in, count, out); }
void StoreF16s(const float* in, size_t count, F16* out) { StoreAll(in, count, out); }
void StoreBF16s(const float* in, size_t count, BF16* out) { StoreAll(in, count, out); }
int64_t Target() { return HWY_TARGET; }

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <gtest/gtest.h>
#include <hwy/tests/hwy_gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/rng.h"

namespace pith {
HWY_EXPORT(LoadF16s);
HWY_EXPORT(LoadBF16s);
HWY_EXPORT(StoreF16s);
HWY_EXPORT(StoreBF16s);
HWY_EXPORT(Target);

namespace {

// The value of a binary16, from its definition.
double F16Value(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

double BF16Value(uint16_t bits) {
  return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16));
}

// The stored number nearest to x, ties to the even one: searched for among all `infinity` + 1
// magnitudes, where the one behind the largest finite number stands for infinity.
template <class Value>
uint16_t Nearest(float x, uint16_t infinity, Value value) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const double magnitude = std::fabs(static_cast<double>(x));
  if (std::isinf(x)) return sign | infinity;
  uint16_t low = 0, high = infinity;  // value(low) <= magnitude < value(high)
  while (high - low > 1) {
    const auto middle = static_cast<uint16_t>((low + high) / 2);
    (value(middle) <= magnitude ? low : high) = middle;
  }
  // The number that infinity's place would hold if the exponents went on.
  const double above = high == infinity
                           ? value(low) + (value(low) - value(static_cast<uint16_t>(low - 1)))
                           : value(high);
  const double to_low = magnitude - value(low), to_high = above - magnitude;
  if (to_low != to_high) return sign | (to_low < to_high ? low : high);
  return sign | ((low & 1) == 0 ? low : high);
}

std::vector<float> HardFloats() {
  std::vector<float> values;
  // Around every f16 and bf16 number and every midpoint between neighbours.
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const auto here = static_cast<float>(F16Value(static_cast<uint16_t>(bits)));
    const auto next = bits + 1 == 0x7C00
                          ? 65536.0f
                          : static_cast<float>(F16Value(static_cast<uint16_t>(bits + 1)));
    const float middle = here + (next - here) / 2;
    for (const float x :
         {here, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e9f)}) {
      values.push_back(x);
      values.push_back(-x);
    }
  }
  for (uint32_t bits = 0; bits < 0x7F80; ++bits) {
    for (const uint32_t low : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      values.push_back(std::bit_cast<float>((bits << 16) | low));
      values.push_back(std::bit_cast<float>((bits << 16) | low | 0x80000000u));
    }
  }
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float x : {65504.0f, 65519.996f, 65520.0f, 1e30f, 3.4028235e38f, infinity}) {
    values.push_back(x);
    values.push_back(-x);
  }
  Rng rng(1);
  while (values.size() % 8 != 3) values.push_back(0.0f);  // a partial vector at the end
  for (int i = 0; i < 80000; ++i) {
    const float x = std::bit_cast<float>(rng.Next());
    values.push_back(std::isnan(x) ? 0.5f : x);
  }
  return values;
}

class ConvertTest : public hwy::TestWithParamTarget {
 protected:
  void SetUp() override {
    TestWithParamTarget::SetUp();
    ASSERT_EQ(HWY_DYNAMIC_DISPATCH(Target)(), GetParam());
  }
};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(ConvertTest);

TEST_P(ConvertTest, LoadF16AllPatterns_AreExact) {
  std::vector<F16> in(65536);
  std::vector<float> out(in.size());
  for (uint32_t i = 0; i < in.size(); ++i) in[i].bits = static_cast<uint16_t>(i);
  HWY_DYNAMIC_DISPATCH(LoadF16s)(in.data(), in.size(), out.data());
  for (uint32_t i = 0; i < in.size(); ++i) {
    const double expected = F16Value(static_cast<uint16_t>(i));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(out[i])) << i;
    } else {
      ASSERT_EQ(out[i], expected) << i;
    }
    ASSERT_EQ(std::signbit(out[i]), (i & 0x8000) != 0) << i;
  }
}

TEST_P(ConvertTest, LoadBF16AllPatterns_AreTheUpperHalf) {
  std::vector<BF16> in(65536);
  std::vector<float> out(in.size());
  for (uint32_t i = 0; i < in.size(); ++i) in[i].bits = static_cast<uint16_t>(i);
  HWY_DYNAMIC_DISPATCH(LoadBF16s)(in.data(), in.size(), out.data());
  for (uint32_t i = 0; i < in.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(out[i]), i << 16);
  }
}

TEST_P(ConvertTest, StoreF16_RoundsToNearestEven) {
  const std::vector<float> in = HardFloats();
  std::vector<F16> out(in.size());
  HWY_DYNAMIC_DISPATCH(StoreF16s)(in.data(), in.size(), out.data());
  for (size_t i = 0; i < in.size(); ++i) {
    ASSERT_EQ(out[i].bits, Nearest(in[i], 0x7C00, F16Value)) << in[i];
  }
}

TEST_P(ConvertTest, StoreBF16_RoundsToNearestEven) {
  const std::vector<float> in = HardFloats();
  std::vector<BF16> out(in.size());
  HWY_DYNAMIC_DISPATCH(StoreBF16s)(in.data(), in.size(), out.data());
  for (size_t i = 0; i < in.size(); ++i) {
    ASSERT_EQ(out[i].bits, Nearest(in[i], 0x7F80, BF16Value)) << in[i];
  }
}

TEST_P(ConvertTest, StoreNaN_StaysQuietNaNWithPayload) {
  std::vector<float> in;
  for (uint32_t payload = 1; payload < (1u << 23); payload = payload * 2 + 1) {
    in.push_back(std::bit_cast<float>(0x7F800000u | payload));
    in.push_back(std::bit_cast<float>(0xFF800000u | payload));
  }
  std::vector<F16> half(in.size());
  std::vector<BF16> brain(in.size());
  HWY_DYNAMIC_DISPATCH(StoreF16s)(in.data(), in.size(), half.data());
  HWY_DYNAMIC_DISPATCH(StoreBF16s)(in.data(), in.size(), brain.data());
  for (size_t i = 0; i < in.size(); ++i) {
    const auto bits = std::bit_cast<uint32_t>(in[i]);
    const uint32_t sign = bits >> 31 << 15;
    ASSERT_EQ(half[i].bits, sign | 0x7E00 | ((bits >> 13) & 0x3FF)) << std::hex << bits;
    ASSERT_EQ(brain[i].bits, sign | 0x7FC0 | ((bits >> 16) & 0x7F)) << std::hex << bits;
  }
}

TEST_P(ConvertTest, RoundTripOfAllPatterns_IsExact) {
  std::vector<F16> half(65536), half_back(65536);
  std::vector<BF16> brain(65536), brain_back(65536);
  std::vector<float> values(65536);
  for (uint32_t i = 0; i < 65536; ++i) half[i].bits = brain[i].bits = static_cast<uint16_t>(i);
  HWY_DYNAMIC_DISPATCH(LoadF16s)(half.data(), half.size(), values.data());
  HWY_DYNAMIC_DISPATCH(StoreF16s)(values.data(), values.size(), half_back.data());
  HWY_DYNAMIC_DISPATCH(LoadBF16s)(brain.data(), brain.size(), values.data());
  HWY_DYNAMIC_DISPATCH(StoreBF16s)(values.data(), values.size(), brain_back.data());
  for (uint32_t i = 0; i < 65536; ++i) {
    const uint32_t quiet_half = (i & 0x7FFF) > 0x7C00 ? i | 0x0200 : i;
    const uint32_t quiet_brain = (i & 0x7FFF) > 0x7F80 ? i | 0x0040 : i;
    ASSERT_EQ(half_back[i].bits, quiet_half);
    ASSERT_EQ(brain_back[i].bits, quiet_brain);
  }
}

}  // namespace
}  // namespace pith
#endif  // HWY_ONCE
