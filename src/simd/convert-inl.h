// Vectors of f32 from and to stored f32, F16 and BF16. Include after hwy/foreach_target.h; every
// function exists once per SIMD target and gives the same bits on all of them.
//
// `d` is any tag of float lanes; pointers need no alignment. Stores round to nearest even; overflow
// gives infinity, subnormals are exact, a NaN stays one (quiet, upper bits of its payload kept).

#if defined(PITH_SIMD_CONVERT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_SIMD_CONVERT_INL_H_
#undef PITH_SIMD_CONVERT_INL_H_
#else
#define PITH_SIMD_CONVERT_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "simd/types.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Targets whose own F16 conversion keeps the promises above; Highway emulates the others without
// infinities and NaNs.
#undef PITH_SIMD_NATIVE_F16
#if (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)) || HWY_ARCH_ARM_A64
#define PITH_SIMD_NATIVE_F16 1
#else
#define PITH_SIMD_NATIVE_F16 0
#endif

template <class D>
HWY_INLINE hn::Vec<D> LoadF32(D d, const float* HWY_RESTRICT p) {
  return hn::LoadU(d, p);
}

template <class D>
HWY_INLINE hn::Vec<D> LoadF32(D d, const BF16* HWY_RESTRICT p) {
  const hn::Rebind<uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(p));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}

template <class D>
HWY_INLINE hn::Vec<D> LoadF32(D d, const F16* HWY_RESTRICT p) {
#if PITH_SIMD_NATIVE_F16
  const hn::Rebind<hwy::float16_t, D> d16;
  return hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(p)));
#else
  const hn::Rebind<uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const hn::RebindToSigned<D> di;
  const auto half = hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(p)));
  const auto sign = hn::ShiftLeft<16>(hn::And(half, hn::Set(d32, 0x8000u)));
  const auto magnitude = hn::BitCast(di, hn::And(half, hn::Set(d32, 0x7FFFu)));
  // Normal numbers: the exponent moves from bias 15 to bias 127. Infinities and NaNs: to all ones,
  // quiet if a NaN.
  const auto shifted = hn::ShiftLeft<13>(magnitude);
  const auto normal = hn::Add(shifted, hn::Set(di, (127 - 15) << 23));
  const auto special = hn::Or(shifted, hn::Set(di, 0x7F800000));
  const auto quiet = hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x7C00)),
                                    hn::Or(special, hn::Set(di, 0x00400000)), special);
  // Subnormal numbers are multiples of 2^-24, exact in f32.
  const auto subnormal =
      hn::BitCast(di, hn::Mul(hn::ConvertTo(d, magnitude), hn::Set(d, 1.0f / 16777216.0f)));
  const auto finite = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x0400)), subnormal, normal);
  const auto result = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x7C00)), finite, quiet);
  return hn::BitCast(d, hn::Or(hn::BitCast(d32, result), sign));
#endif
}

template <class D>
HWY_INLINE void StoreF32(D d, hn::Vec<D> v, float* HWY_RESTRICT p) {
  hn::StoreU(v, d, p);
}

template <class D>
HWY_INLINE void StoreF32(D /*d*/, hn::Vec<D> v, BF16* HWY_RESTRICT p) {
  const hn::Rebind<uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(d32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7FFFu))));
  const auto nan = hn::Or(hn::ShiftRight<16>(bits), hn::Set(d32, 0x0040u));
  const auto magnitude = hn::BitCast(di, hn::And(bits, hn::Set(d32, 0x7FFFFFFFu)));
  const auto is_nan = hn::Gt(magnitude, hn::Set(di, 0x7F800000));
  const auto result = hn::IfThenElse(is_nan, hn::BitCast(di, nan), hn::BitCast(di, rounded));
  hn::StoreU(hn::DemoteTo(d16, result), d16, reinterpret_cast<uint16_t*>(p));
}

template <class D>
HWY_INLINE void StoreF32(D d, hn::Vec<D> v, F16* HWY_RESTRICT p) {
#if PITH_SIMD_NATIVE_F16
  (void)d;
  const hn::Rebind<hwy::float16_t, D> d16;
  hn::StoreU(hn::DemoteTo(d16, v), d16, reinterpret_cast<hwy::float16_t*>(p));
#else
  const hn::Rebind<uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(d32, v);
  const auto sign = hn::BitCast(di, hn::ShiftRight<16>(hn::And(bits, hn::Set(d32, 0x80000000u))));
  const auto magnitude = hn::BitCast(di, hn::And(bits, hn::Set(d32, 0x7FFFFFFFu)));
  // Normal results: re-bias the exponent and round half to even on bit 13; a carry may give
  // infinity, as it should.
  const auto odd = hn::And(hn::BitCast(di, hn::ShiftRight<13>(bits)), hn::Set(di, 1));
  const auto biased =
      hn::Add(hn::Sub(magnitude, hn::Set(di, (127 - 15) << 23)), hn::Set(di, 0xFFF));
  const auto normal = hn::ShiftRight<13>(hn::Add(biased, odd));
  // Subnormal results: adding 0.5 leaves the number in the lowest bits of the sum, rounded half to
  // even by the adder.
  const auto half = hn::Set(d, 0.5f);
  const auto sum = hn::BitCast(di, hn::Add(hn::BitCast(d, magnitude), half));
  const auto subnormal = hn::Sub(sum, hn::BitCast(di, half));
  const auto nan =
      hn::Or(hn::And(hn::ShiftRight<13>(magnitude), hn::Set(di, 0x03FF)), hn::Set(di, 0x7E00));
  const auto special =
      hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x7F800000)), nan, hn::Set(di, 0x7C00));
  const auto finite =
      hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, (127 - 14) << 23)), subnormal, normal);
  const auto is_finite = hn::Lt(magnitude, hn::Set(di, (127 + 16) << 23));
  const auto result = hn::Or(hn::IfThenElse(is_finite, finite, special), sign);
  hn::StoreU(hn::DemoteTo(d16, result), d16, reinterpret_cast<uint16_t*>(p));
#endif
}

// The first n <= Lanes(d) values; the other lanes are zero, nothing behind them is read.
template <class D, class T>
HWY_INLINE hn::Vec<D> LoadF32N(D d, const T* HWY_RESTRICT p, size_t n) {
  T buffer[hn::MaxLanes(D())] = {};
  std::memcpy(buffer, p, n * sizeof(T));
  return LoadF32(d, buffer);
}

// The first n <= Lanes(d) values; nothing behind them is written.
template <class D, class T>
HWY_INLINE void StoreF32N(D d, hn::Vec<D> v, T* HWY_RESTRICT p, size_t n) {
  T buffer[hn::MaxLanes(D())];
  StoreF32(d, v, buffer);
  std::memcpy(p, buffer, n * sizeof(T));
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#endif  // PITH_SIMD_CONVERT_INL_H_
