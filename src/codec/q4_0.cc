// The form q4_0: ggml's blocks of 32 channels of one entry, 4 bits and a scale.
#include <cmath>

#include "codec/codec.h"
#include "codec/packed.h"
#include "simd/half.h"

namespace pith {
namespace {

// As ggml's reference has it: the number with the largest magnitude (the first of several) becomes
// code 0, which stands for -8; what lies on the other side is cut at 15.
F16 Encode(const float* x, uint8_t* codes) {
  float extreme = 0.0f;
  for (uint32_t i = 0; i < 32; ++i) {
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  }
  const float scale = extreme / -8.0f;
  // A scale so small that its reciprocal overflows is zero in F16.
  const float inverse = std::isfinite(1.0f / scale) ? 1.0f / scale : 0.0f;
  for (uint32_t i = 0; i < 32; ++i) {
    const int code = static_cast<int>(x[i] * inverse + 8.5f);
    codes[i] = static_cast<uint8_t>(code < 15 ? code : 15);
  }
  return F16FromF32(scale);
}

constexpr Packing kPacking{.bits = 4, .channel_group = 32, .affine = false, .encode = Encode};

}  // namespace

extern const Form kFormQ4_0;
constinit const Form kFormQ4_0 = [] {
  Form form = MakePackedForm<kPacking>();
  form.name = "q4_0";
  form.id = FormId::kQ4_0;
  form.summary = "4 bits and a scale per 32 channels, as ggml has it";
  form.bits_per_value = 4.5;
  form.dim_multiple = 32;
  return form;
}();

}  // namespace pith
