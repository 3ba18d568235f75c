// Storage types of 16-bit floats: bits only. Arithmetic is done in f32 (convert-inl.h).
#pragma once

#include <cstdint>

namespace pith {

struct F16 {
  uint16_t bits;  // IEEE binary16
};

struct BF16 {
  uint16_t bits;  // the upper half of an IEEE binary32
};

static_assert(sizeof(F16) == 2 && sizeof(BF16) == 2);

}  // namespace pith
