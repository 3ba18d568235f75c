#include "simd/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>

namespace pith {
namespace {

TEST(Half, EveryPattern_ConvertsAsTheCompilerDoesAndBack) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const F16 half{static_cast<uint16_t>(bits)};
    const auto truth = static_cast<float>(std::bit_cast<_Float16>(half.bits));
    if (std::isnan(truth)) {
      ASSERT_TRUE(std::isnan(F32FromF16(half))) << bits;
      ASSERT_EQ(F16FromF32(F32FromF16(half)).bits, bits | 0x0200) << bits;
      continue;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(F32FromF16(half)), std::bit_cast<uint32_t>(truth)) << bits;
    ASSERT_EQ(F16FromF32(truth).bits, bits);
  }
}

TEST(Half, AroundEveryMidpoint_RoundsAsTheCompilerDoes) {
  for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const float low = F32FromF16({static_cast<uint16_t>(bits)});
    const float high = bits == 0x7BFF ? 65536.0f : F32FromF16({static_cast<uint16_t>(bits + 1)});
    const float middle = low + (high - low) / 2;
    for (const float x : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e9f)}) {
      for (const float signed_x : {x, -x}) {
        ASSERT_EQ(F16FromF32(signed_x).bits,
                  std::bit_cast<uint16_t>(static_cast<_Float16>(signed_x)))
            << signed_x;
      }
    }
  }
}

}  // namespace
}  // namespace pith
