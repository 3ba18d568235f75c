// One F16 from and to f32, without vectors, for side data such as scales. The same promises as
// convert-inl.h: nearest even, overflow to infinity, subnormals exact, a NaN stays a quiet one.
#pragma once

#include <bit>
#include <cstdint>

#include "simd/types.h"

namespace pith {

inline float F32FromF16(F16 half) {
  const uint32_t sign = (half.bits & 0x8000u) << 16;
  const uint32_t magnitude = half.bits & 0x7FFFu;
  uint32_t bits = (magnitude << 13) + (112u << 23);  // the exponent's bias from 15 to 127
  if (magnitude >= 0x7C00) {
    bits = (magnitude << 13) | 0x7F800000u | (magnitude > 0x7C00 ? 0x00400000u : 0);
  } else if (magnitude < 0x0400) {
    bits = std::bit_cast<uint32_t>(static_cast<float>(magnitude) / 16777216.0f);
  }
  return std::bit_cast<float>(bits | sign);
}

inline F16 F16FromF32(float value) {
  const auto all = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (all >> 16) & 0x8000u;
  const uint32_t magnitude = all & 0x7FFFFFFFu;
  uint32_t bits = 0;
  if (magnitude > 0x7F800000u) {
    bits = ((magnitude >> 13) & 0x03FFu) | 0x7E00u;
  } else if (magnitude >= (127u + 16) << 23) {
    bits = 0x7C00;
  } else if (magnitude < (127u - 14) << 23) {
    // Adding 0.5 leaves the subnormal number in the lowest bits, rounded by the adder.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    bits = std::bit_cast<uint32_t>(sum) - std::bit_cast<uint32_t>(0.5f);
  } else {
    bits = (magnitude - (112u << 23) + 0xFFF + ((magnitude >> 13) & 1)) >> 13;
  }
  return {static_cast<uint16_t>(bits | sign)};
}

}  // namespace pith
