// The form q8_0: ggml's blocks of 32 channels of one entry, 8 bits and a scale.
#include <algorithm>
#include <cmath>

#include "codec/codec.h"
#include "codec/packed.h"
#include "simd/half.h"

namespace pith {
namespace {

// As ggml's reference has it: the codes come from the scale before it is rounded to F16, ties go
// away from zero.
F16 Encode(const float* x, uint8_t* codes) {
  float largest = 0.0f;
  for (uint32_t i = 0; i < 32; ++i) largest = std::max(largest, std::abs(x[i]));
  const float scale = largest / 127.0f;
  // A scale so small that its reciprocal overflows is zero in F16.
  const float inverse = std::isfinite(1.0f / scale) ? 1.0f / scale : 0.0f;
  for (uint32_t i = 0; i < 32; ++i) {
    codes[i] = static_cast<uint8_t>(static_cast<int>(std::round(x[i] * inverse)) + 128);
  }
  return F16FromF32(scale);
}

constexpr Packing kPacking{.bits = 8, .channel_group = 32, .affine = false, .encode = Encode};

}  // namespace

extern const Form kFormQ8_0;
constinit const Form kFormQ8_0 = [] {
  Form form = MakePackedForm<kPacking>();
  form.name = "q8_0";
  form.id = FormId::kQ8_0;
  form.summary = "8 bits and a scale per 32 channels, as ggml has it";
  form.bits_per_value = 8.5;
  form.dim_multiple = 32;
  return form;
}();

}  // namespace pith
