// Pairs: eight 32-bit lanes, each two 16-bit numbers, and the integer products that codes of low
// precision are multiplied with. Include after hwy/foreach_target.h.

#if defined(PITH_KERNEL_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_KERNEL_PAIRS_INL_H_
#undef PITH_KERNEL_PAIRS_INL_H_
#else
#define PITH_KERNEL_PAIRS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernel/octet-inl.h"

#undef PITH_INLINE_LAMBDA
#define PITH_INLINE_LAMBDA __attribute__((always_inline))

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

// body(0), body(1), ... with constants: loops inside loops that the compiler unrolls late would
// leave sums in memory.
template <size_t kCount, class Body>
HWY_INLINE void Unrolled(const Body& body) {
  [&]<size_t... kIndex>(std::index_sequence<kIndex...>) PITH_INLINE_LAMBDA {
    (body(std::integral_constant<size_t, kIndex>()), ...);
  }(std::make_index_sequence<kCount>());
}

using PairTag = hn::RebindToSigned<OctetTag>;

struct Pairs {
  hn::Vec<PairTag> part[kOctetParts];
};

HWY_INLINE Pairs BroadcastInt(int32_t value) {
  Pairs r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) r.part[i] = hn::Set(PairTag(), value);
  return r;
}

// Both lanes of every pair.
HWY_INLINE Pairs BroadcastPair(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof(pair));
  return BroadcastInt(pair);
}

HWY_INLINE Pairs LoadPairs(const std::byte* p) {
  Pairs r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    r.part[i] = hn::LoadU(PairTag(), reinterpret_cast<const int32_t*>(p) + i * kOctetLanes);
  }
  return r;
}

// The lowest field of `kBits` bits of both halves; then the next one takes its place.
template <uint32_t kBits>
HWY_INLINE Pairs TakeField(Pairs& words) {
  constexpr int32_t kMask = (1 << kBits) - 1;
  Pairs r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    r.part[i] = hn::And(words.part[i], hn::Set(PairTag(), kMask | kMask << 16));
    words.part[i] = hn::ShiftRight<kBits>(words.part[i]);
  }
  return r;
}

template <int kShift>
HWY_INLINE Pairs ShiftWords(const Pairs& words) {
  Pairs r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    r.part[i] = hn::ShiftRight<kShift>(words.part[i]);
  }
  return r;
}

// Halves of pairs that are not negative.
HWY_INLINE Octet LowHalf(const Pairs& v) {
  Octet r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    r.part[i] = hn::ConvertTo(OctetTag(), hn::And(v.part[i], hn::Set(PairTag(), int32_t{0xFFFF})));
  }
  return r;
}

HWY_INLINE Octet HighHalf(const Pairs& v) {
  Octet r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    r.part[i] = hn::ConvertTo(OctetTag(), hn::ShiftRight<16>(v.part[i]));
  }
  return r;
}

// Lanes as 32-bit numbers.
HWY_INLINE Octet ToFloat(const Pairs& v) {
  Octet r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    r.part[i] = hn::ConvertTo(OctetTag(), v.part[i]);
  }
  return r;
}

// a.low * b.low + a.high * b.high + c in every lane.
HWY_INLINE Pairs MulPairsAdd(const Pairs& a, const Pairs& b, const Pairs& c) {
  Pairs r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
    // Highway leaves open where products go; on x86 it is the lane of the pair.
    const hn::Repartition<int16_t, PairTag> d16;
    auto unused = hn::Zero(PairTag());
    r.part[i] = hn::ReorderWidenMulAccumulate(PairTag(), hn::BitCast(d16, a.part[i]),
                                              hn::BitCast(d16, b.part[i]), c.part[i], unused);
#if HWY_COMPILER_GCC_ACTUAL
    // GCC would put off these sums and run out of registers for the products.
    __asm__ volatile("" : "+x"(r.part[i].raw));
#endif
#else
    const auto low = [](auto v) { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
    const auto high = [](auto v) { return hn::ShiftRight<16>(v); };
    r.part[i] = hn::Add(
        hn::Add(hn::Mul(low(a.part[i]), low(b.part[i])), hn::Mul(high(a.part[i]), high(b.part[i]))),
        c.part[i]);
#endif
  }
  return r;
}

// Eight numbers within the range of 16 bits, rounded to nearest, to p; adds them to `sum`. Adding
// 1.5 * 2^23 leaves the rounded number in the lowest bits; a conversion would look for numbers that
// do not fit.
HWY_INLINE void StoreRounded(const Octet& v, int16_t* p, Pairs& sum) {
  const auto magic = hn::Set(OctetTag(), 12582912.0f);
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    const auto rounded =
        hn::Sub(hn::BitCast(PairTag(), hn::Add(v.part[i], magic)), hn::BitCast(PairTag(), magic));
    sum.part[i] = hn::Add(sum.part[i], rounded);
    const hn::Rebind<int16_t, PairTag> d16;
    hn::StoreU(hn::DemoteTo(d16, rounded), d16, p + i * kOctetLanes);
  }
}

HWY_INLINE int32_t SumLanes(const Pairs& v) {
  int32_t lanes[8];
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    hn::StoreU(v.part[i], PairTag(), lanes + i * kOctetLanes);
  }
  int32_t sum = 0;
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}

// Of the four bytes of every lane, those of `a` not negative, the products with those of `b`, added
// up in pairs, to the lane's two halves of 16 bits in `c`.
HWY_INLINE Pairs MulBytesAdd(const Pairs& a, const Pairs& b, const Pairs& c) {
  Pairs r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
#if HWY_TARGET == HWY_AVX2
    // Highway has this only as of 1.1.
    const hn::Repartition<int16_t, PairTag> d16;
    const decltype(hn::Zero(d16)) products{_mm256_maddubs_epi16(a.part[i].raw, b.part[i].raw)};
    r.part[i] = hn::BitCast(PairTag(), hn::Add(products, hn::BitCast(d16, c.part[i])));
#else
    const auto product = [&]<int kByte>(std::integral_constant<int, kByte>) {
      constexpr int kShift = 8 * kByte;
      const auto a_byte = hn::And(hn::ShiftRight<kShift>(a.part[i]), hn::Set(PairTag(), 0xFF));
      const auto b_byte = hn::ShiftRight<24>(hn::ShiftLeft<24 - kShift>(b.part[i]));
      return hn::Mul(a_byte, b_byte);
    };
    const auto low = hn::Add(product(std::integral_constant<int, 0>()),
                             product(std::integral_constant<int, 1>()));
    const auto high = hn::Add(product(std::integral_constant<int, 2>()),
                              product(std::integral_constant<int, 3>()));
    const auto lower = hn::Set(PairTag(), 0xFFFF);
    r.part[i] = hn::Or(hn::And(hn::Add(c.part[i], low), lower),
                       hn::AndNot(lower, hn::Add(c.part[i], hn::ShiftLeft<16>(high))));
#endif
  }
  return r;
}

HWY_INLINE Pairs BroadcastBytes(const int8_t* p) {
  int32_t bytes;
  std::memcpy(&bytes, p, sizeof(bytes));
  return BroadcastInt(bytes);
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#endif  // PITH_KERNEL_PAIRS_INL_H_
