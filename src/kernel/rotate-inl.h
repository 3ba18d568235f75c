// RotateHadamard() of codec/hadamard.h for single vectors of an item, eight channels at a time.
// Include after hwy/foreach_target.h.

#if defined(PITH_KERNEL_ROTATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_KERNEL_ROTATE_INL_H_
#undef PITH_KERNEL_ROTATE_INL_H_
#else
#define PITH_KERNEL_ROTATE_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstddef>

#include "codec/hadamard.h"
#include "kernel/octet-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

// The matrix of order 8, row by row, not normalised.
inline constexpr float kSigns[8][8] = {
    {1, 1, 1, 1, 1, 1, 1, 1},     {1, -1, 1, -1, 1, -1, 1, -1}, {1, 1, -1, -1, 1, 1, -1, -1},
    {1, -1, -1, 1, 1, -1, -1, 1}, {1, 1, 1, 1, -1, -1, -1, -1}, {1, -1, 1, -1, -1, 1, -1, 1},
    {1, 1, -1, -1, -1, -1, 1, 1}, {1, -1, -1, 1, -1, 1, 1, -1},
};

// A matrix of order 8 n is the product of the one of order n over octets and the one of order 8
// within them. Differs from RotateHadamard() in the order of additions.
inline void Rotate(float* vector, size_t size) {
  const size_t order = HadamardOrder(size);
  if (order < 8) return RotateHadamard({vector, size});
  const float scale = 1.0f / std::sqrt(static_cast<float>(order));
  Octet rows[8];
  PITH_UNROLL for (size_t r = 0; r < 8; ++r) rows[r] = LoadOctet(kSigns[r]);
  for (size_t at = 0; at < size; at += 8) {
    float* const v = vector + at;
    Octet even = Mul(Broadcast(v[0] * scale), rows[0]), odd = Mul(Broadcast(v[1] * scale), rows[1]);
    PITH_UNROLL for (size_t r = 2; r < 8; r += 2) {
      even = MulAdd(Broadcast(v[r] * scale), rows[r], even);
      odd = MulAdd(Broadcast(v[r + 1] * scale), rows[r + 1], odd);
    }
    StoreOctet(Add(even, odd), v);
  }
  for (size_t half = 8; half < order; half *= 2) {
    for (size_t begin = 0; begin < size; begin += 2 * half) {
      for (float* v = vector + begin; v < vector + begin + half; v += 8) {
        const Octet a = LoadOctet(v), b = LoadOctet(v + half);
        StoreOctet(Add(a, b), v);
        StoreOctet(Sub(a, b), v + half);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#endif  // PITH_KERNEL_ROTATE_INL_H_
