// Store and load of the plain forms, written once for all element types T (float, F16, BF16) and
// SIMD targets. Include after hwy/foreach_target.h.

#if defined(PITH_CODEC_PLAIN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_CODEC_PLAIN_INL_H_
#undef PITH_CODEC_PLAIN_INL_H_
#else
#define PITH_CODEC_PLAIN_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "codec/codec.h"
#include "simd/convert-inl.h"

// Whether one vector holds a whole row of a key block (8 lanes). HWY_SCALAR has one lane and cannot
// transpose.
#undef PITH_CODEC_WIDE
#if HWY_TARGET != HWY_SCALAR && !HWY_HAVE_SCALABLE && HWY_MAX_BYTES >= 32
#define PITH_CODEC_WIDE 1
#else
#define PITH_CODEC_WIDE 0
#endif

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

template <class In, class Out>
HWY_INLINE void ConvertRow(const In* HWY_RESTRICT in, uint32_t count, Out* HWY_RESTRICT out) {
  const hn::CappedTag<float, 8> d;
  const auto lanes = static_cast<uint32_t>(hn::Lanes(d));
  uint32_t i = 0;
  for (; i + lanes <= count; i += lanes) StoreF32(d, LoadF32(d, in + i), out + i);
  if (i < count) StoreF32N(d, LoadF32N(d, in + i, count - i), out + i, count - i);
}

#if HWY_TARGET != HWY_SCALAR
// Transposes 4x4 numbers in every 128-bit block of v[0..3].
template <class D, class V>
HWY_INLINE void Transpose4x4(D d, V (&v)[4]) {
  const hn::Repartition<uint64_t, D> d64;
  const auto a = hn::BitCast(d64, hn::InterleaveLower(d, v[0], v[1]));
  const auto b = hn::BitCast(d64, hn::InterleaveUpper(d, v[0], v[1]));
  const auto e = hn::BitCast(d64, hn::InterleaveLower(d, v[2], v[3]));
  const auto f = hn::BitCast(d64, hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(d64, a, e));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(d64, a, e));
  v[2] = hn::BitCast(d, hn::InterleaveLower(d64, b, f));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(d64, b, f));
}

// Four channels of eight rows to [4][8], and back.
template <class T>
HWY_INLINE void StoreKeyTile(const float* HWY_RESTRICT rows, size_t stride, T* HWY_RESTRICT tile) {
  const hn::FixedTag<float, 4> d4;
#if PITH_CODEC_WIDE
  const hn::FixedTag<float, 8> d8;
  hn::Vec<decltype(d8)> v[4];
  for (size_t r = 0; r < 4; ++r) {
    v[r] =
        hn::Combine(d8, hn::LoadU(d4, rows + (r + 4) * stride), hn::LoadU(d4, rows + r * stride));
  }
  Transpose4x4(d8, v);
  for (size_t c = 0; c < 4; ++c) StoreF32(d8, v[c], tile + c * kBlockEntries);
#else
  for (size_t half = 0; half < kBlockEntries; half += 4) {
    hn::Vec<decltype(d4)> v[4];
    for (size_t r = 0; r < 4; ++r) v[r] = hn::LoadU(d4, rows + (half + r) * stride);
    Transpose4x4(d4, v);
    for (size_t c = 0; c < 4; ++c) StoreF32(d4, v[c], tile + c * kBlockEntries + half);
  }
#endif
}

template <class T>
HWY_INLINE void LoadKeyTile(const T* HWY_RESTRICT tile, float* HWY_RESTRICT rows, size_t stride) {
  const hn::FixedTag<float, 4> d4;
#if PITH_CODEC_WIDE
  const hn::FixedTag<float, 8> d8;
  hn::Vec<decltype(d8)> v[4];
  for (size_t c = 0; c < 4; ++c) v[c] = LoadF32(d8, tile + c * kBlockEntries);
  Transpose4x4(d8, v);
  for (size_t r = 0; r < 4; ++r) {
    hn::StoreU(hn::LowerHalf(d4, v[r]), d4, rows + r * stride);
    hn::StoreU(hn::UpperHalf(d4, v[r]), d4, rows + (r + 4) * stride);
  }
#else
  for (size_t half = 0; half < kBlockEntries; half += 4) {
    hn::Vec<decltype(d4)> v[4];
    for (size_t c = 0; c < 4; ++c) v[c] = LoadF32(d4, tile + c * kBlockEntries + half);
    Transpose4x4(d4, v);
    for (size_t r = 0; r < 4; ++r) hn::StoreU(v[r], d4, rows + (half + r) * stride);
  }
#endif
}
#endif  // HWY_TARGET != HWY_SCALAR

// Channels that a whole block moves in tiles; the rest goes entry by entry.
HWY_INLINE uint32_t TiledChannels(uint32_t dim) {
#if HWY_TARGET == HWY_SCALAR
  (void)dim;
  return 0;
#else
  return dim / 4 * 4;
#endif
}

// Channels [begin, dim) of one entry; `block` is at channel `begin` of the entry's place in its
// block.
template <class T>
HWY_INLINE void StoreKeyEntry(const float* HWY_RESTRICT row, uint32_t begin, uint32_t dim,
                              T* HWY_RESTRICT block) {
  T buffer[kBlockEntries];
  for (uint32_t c = begin; c < dim; c += kBlockEntries) {
    const uint32_t count = HWY_MIN(kBlockEntries, dim - c);
    ConvertRow(row + c, count, buffer);
    for (uint32_t i = 0; i < count; ++i, block += kBlockEntries) *block = buffer[i];
  }
}

template <class T>
HWY_INLINE void LoadKeyEntry(const T* HWY_RESTRICT block, uint32_t begin, uint32_t dim,
                             float* HWY_RESTRICT row) {
  T buffer[kBlockEntries];
  for (uint32_t c = begin; c < dim; c += kBlockEntries) {
    const uint32_t count = HWY_MIN(kBlockEntries, dim - c);
    for (uint32_t i = 0; i < count; ++i, block += kBlockEntries) buffer[i] = *block;
    ConvertRow(buffer, count, row + c);
  }
}

template <class T>
HWY_INLINE void StorePlainKeys(T* HWY_RESTRICT page, PageShape shape, uint32_t first,
                               uint32_t count, const float* HWY_RESTRICT rows, size_t stride) {
  const uint32_t end = first + count;
  for (uint32_t entry = first; entry < end;) {
    const bool whole_block = entry % kBlockEntries == 0 && end - entry >= kBlockEntries;
    const uint32_t tiled = whole_block ? TiledChannels(shape.dim) : 0;
    const uint32_t entries = whole_block ? kBlockEntries : 1;
#if HWY_TARGET != HWY_SCALAR
    for (uint32_t c = 0; c < tiled; c += 4) {
      StoreKeyTile(rows + c, stride, page + PlainKeyOffset(shape, entry, c));
    }
#endif
    if (tiled < shape.dim) {
      for (uint32_t i = 0; i < entries; ++i) {
        StoreKeyEntry(rows + i * stride, tiled, shape.dim,
                      page + PlainKeyOffset(shape, entry + i, tiled));
      }
    }
    entry += entries;
    rows += entries * stride;
  }
}

template <class T>
HWY_INLINE void LoadPlainKeys(const T* HWY_RESTRICT page, PageShape shape, uint32_t first,
                              uint32_t count, float* HWY_RESTRICT rows, size_t stride) {
  const uint32_t end = first + count;
  for (uint32_t entry = first; entry < end;) {
    const bool whole_block = entry % kBlockEntries == 0 && end - entry >= kBlockEntries;
    const uint32_t tiled = whole_block ? TiledChannels(shape.dim) : 0;
    const uint32_t entries = whole_block ? kBlockEntries : 1;
#if HWY_TARGET != HWY_SCALAR
    for (uint32_t c = 0; c < tiled; c += 4) {
      LoadKeyTile(page + PlainKeyOffset(shape, entry, c), rows + c, stride);
    }
#endif
    if (tiled < shape.dim) {
      for (uint32_t i = 0; i < entries; ++i) {
        LoadKeyEntry(page + PlainKeyOffset(shape, entry + i, tiled), tiled, shape.dim,
                     rows + i * stride);
      }
    }
    entry += entries;
    rows += entries * stride;
  }
}

template <class T>
HWY_INLINE void StorePlain(Side side, std::byte* bytes, PageShape shape, uint32_t first,
                           uint32_t count, const float* rows, size_t stride) {
  T* page = reinterpret_cast<T*>(bytes);
  if (side == Side::kKeys) return StorePlainKeys(page, shape, first, count, rows, stride);
  for (uint32_t i = 0; i < count; ++i) {
    ConvertRow(rows + i * stride, shape.dim, page + PlainValueOffset(shape, first + i, 0));
  }
}

template <class T>
HWY_INLINE void LoadPlain(Side side, const std::byte* bytes, PageShape shape, uint32_t first,
                          uint32_t count, float* rows, size_t stride) {
  const T* page = reinterpret_cast<const T*>(bytes);
  if (side == Side::kKeys) return LoadPlainKeys(page, shape, first, count, rows, stride);
  for (uint32_t i = 0; i < count; ++i) {
    ConvertRow(page + PlainValueOffset(shape, first + i, 0), shape.dim, rows + i * stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#endif  // PITH_CODEC_PLAIN_INL_H_
