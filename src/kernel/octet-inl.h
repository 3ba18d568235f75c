// Octet: eight f32 lanes, whatever the vector size of the target. Kernels are written in octets,
// because keys are stored in blocks of eight entries. Include after hwy/foreach_target.h.

#if defined(PITH_KERNEL_OCTET_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_KERNEL_OCTET_INL_H_
#undef PITH_KERNEL_OCTET_INL_H_
#else
#define PITH_KERNEL_OCTET_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "simd/convert-inl.h"

// Register blocks live in arrays: only complete unrolling keeps them in registers. Scalar code has
// no use for it.
#undef PITH_UNROLL
#if HWY_TARGET == HWY_SCALAR
#define PITH_UNROLL
#else
#define PITH_UNROLL _Pragma("GCC unroll 16")
#endif

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using OctetTag = hn::CappedTag<float, 8>;
inline constexpr size_t kOctetLanes = hn::MaxLanes(OctetTag());
inline constexpr size_t kOctetParts = 8 / kOctetLanes;

struct Octet {
  hn::Vec<OctetTag> part[kOctetParts];
};

HWY_INLINE Octet Broadcast(float value) {
  Octet r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) r.part[i] = hn::Set(OctetTag(), value);
  return r;
}

template <class T>
HWY_INLINE Octet LoadOctet(const T* p) {
  Octet r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    r.part[i] = LoadF32(OctetTag(), p + i * kOctetLanes);
  }
  return r;
}

// The first n < 8 values, then zeros; nothing behind them is read.
template <class T>
HWY_INLINE Octet LoadOctetN(const T* p, size_t n) {
  T buffer[8] = {};
  std::memcpy(buffer, p, n * sizeof(T));
  return LoadOctet(buffer);
}

HWY_INLINE void StoreOctet(const Octet& v, float* p) {
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    hn::StoreU(v.part[i], OctetTag(), p + i * kOctetLanes);
  }
}

HWY_INLINE void StoreOctetN(const Octet& v, float* p, size_t n) {
  float buffer[8];
  StoreOctet(v, buffer);
  std::memcpy(p, buffer, n * sizeof(float));
}

// a * b + c
HWY_INLINE Octet MulAdd(const Octet& a, const Octet& b, const Octet& c) {
  Octet r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    r.part[i] = hn::MulAdd(a.part[i], b.part[i], c.part[i]);
  }
  return r;
}

#define PITH_OCTET_BINARY(Name)                            \
  HWY_INLINE Octet Name(const Octet& a, const Octet& b) {  \
    Octet r;                                               \
    PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) { \
      r.part[i] = hn::Name(a.part[i], b.part[i]);          \
    }                                                      \
    return r;                                              \
  }
PITH_OCTET_BINARY(Add)
PITH_OCTET_BINARY(Sub)
PITH_OCTET_BINARY(Mul)
PITH_OCTET_BINARY(Div)
PITH_OCTET_BINARY(Max)
#undef PITH_OCTET_BINARY

// Lanes [begin, end) of v, minus infinity elsewhere; begin and end may lie outside 0..8.
HWY_INLINE Octet KeepLanes(const Octet& v, int begin, int end) {
  const OctetTag d;
  const auto lowest = hn::Set(d, -HUGE_VALF);
  Octet r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    const auto lane = hn::Iota(d, static_cast<float>(i * kOctetLanes));
    const auto keep = hn::And(hn::Ge(lane, hn::Set(d, static_cast<float>(begin))),
                              hn::Lt(lane, hn::Set(d, static_cast<float>(end))));
    r.part[i] = hn::IfThenElse(keep, v.part[i], lowest);
  }
  return r;
}

HWY_INLINE float MaxLane(const Octet& v) {
  auto m = v.part[0];
  PITH_UNROLL for (size_t i = 1; i < kOctetParts; ++i) m = hn::Max(m, v.part[i]);
  return hn::GetLane(hn::MaxOfLanes(OctetTag(), m));
}

// The same order on every target.
HWY_INLINE float SumLanes(const Octet& v) {
  float lanes[8];
  StoreOctet(v, lanes);
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

// 2^x for x <= 0. Results below 2^-125 are zero, 2^0 is exactly 1.
// Adding 1.5 * 2^23 leaves n = round(x) in the lowest bits of the sum. f = x - n is exact and lies
// in [-0.5, 0.5]; 2^f = 1 + f * g(f) with g of degree 5, whose relative error is 2e-8; with the
// roundings of Horner's rule the result is within 1.5 ulp. Minus infinity makes NaNs on the way,
// which the last line drops.
HWY_INLINE Octet Exp2(const Octet& x) {
  const OctetTag d;
  const hn::RebindToUnsigned<OctetTag> du;
  const auto magic = hn::Set(d, 12582912.0f);
  Octet r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    const auto v = x.part[i];
    const auto shifted = hn::Add(v, magic);
    const auto f = hn::Sub(v, hn::Sub(shifted, magic));
    auto p = hn::Set(d, 0.00015353357593994588f);
    p = hn::MulAdd(p, f, hn::Set(d, 0.0013398878509178758f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.009618437848985195f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.055503323674201965f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.24022647738456726f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.6931471824645996f));
    p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
    const auto exponent = hn::ShiftLeft<23>(hn::BitCast(du, shifted));
    const auto power = hn::BitCast(d, hn::Add(hn::BitCast(du, p), exponent));
    r.part[i] = hn::IfThenElseZero(hn::Ge(v, hn::Set(d, -125.0f)), power);
  }
  return r;
}

// Calls run with `count`, 1 to kMost, as a constant.
template <size_t kMost, class Run>
HWY_INLINE void WithRows(size_t count, const Run& run) {
  if constexpr (kMost > 0) {
    if (count == kMost) {
      run(std::integral_constant<size_t, kMost>());
    } else {
      WithRows<kMost - 1>(count, run);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#endif  // PITH_KERNEL_OCTET_INL_H_
