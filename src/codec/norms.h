// Entries as directions and lengths: what is stored are unit vectors, which several layers may
// share, and of each layer the lengths in F16 (MiniCache, arXiv 2405.14366).
#pragma once

#include <cstddef>
#include <span>

#include "codec/packed.h"
#include "simd/half.h"

namespace pith {

// The number that is stored for this length: a NaN is 0, others lie within the range of F16.
inline F16 StoredNorm(float length) { return F16FromF32(Contained(length)); }

// Rows [norms.size()][dim] of directions become entries, in place.
inline void MultiplyRows(std::span<const F16> norms, size_t dim, float* rows) {
  for (const F16 norm : norms) {
    const float length = F32FromF16(norm);
    for (size_t c = 0; c < dim; ++c) *rows++ *= length;
  }
}

}  // namespace pith
