// How far the forms with codes may be from the numbers that they store, for tests and fuzzing.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace pith {

// What rounding a scale to F16 may change in `codes` times the scale; subnormal ones have an
// absolute error.
inline double ScaleRounding(double scale, double codes) {
  return codes * std::max(std::ldexp(scale, -11), std::ldexp(1.0, -25));
}

// Of one number in a group with this range that is stored as minimum + scale * code: half a step,
// and what rounding scale and minimum to F16 does.
inline double AffineBound(double lowest, double highest, uint32_t bits) {
  const double steps = std::ldexp(1.0, static_cast<int>(bits)) - 1;
  const double scale = (highest - lowest) / steps;
  const double u = std::ldexp(1.0, -11), tiny = std::ldexp(1.0, -25);
  return scale / 2 * (1 + u) + tiny / 2 + std::max(u * std::abs(lowest), tiny) +
         ScaleRounding(scale, steps) + 1e-6 * (std::abs(lowest) + std::abs(highest));
}

// Of one number in a block of ggml's with this largest magnitude: q8_0 rounds to half a step; on
// the side away from the largest number q4_0 lacks the last step and may be off by a whole one.
inline double GgmlBound(double largest, uint32_t bits) {
  const double codes = bits == 8 ? 127 : 8;
  const double scale = largest / codes;
  return scale * (bits == 8 ? 0.5 : 1.0) + ScaleRounding(scale, codes) + 1e-6 * largest;
}

}  // namespace pith
