// The attention of one tile: scores of lines against keys, weights of the
// online softmax, weighted sums of values. Written once for all forms: a *keys*
// type gives the eight keys of a block in one channel, a *values* type gives
// eight channels of one entry. A new form adds one such pair. Include after
// hwy/foreach_target.h.

#if defined(PITH_KERNEL_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_KERNEL_TILE_INL_H_
#undef PITH_KERNEL_TILE_INL_H_
#else
#define PITH_KERNEL_TILE_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernel/attend_layout.h"
#include "kernel/octet-inl.h"
#include "kernel/tile_walk.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

// ---- What forms supply. Blocks and slots are those of the tile. Block() and
// Row() point at what inner loops read; Prefetch() asks for what the next page
// has in the same place, so that it arrives while this page is worked on.

constexpr size_t kPrefetchBytes = 64;
constexpr size_t kUnroll = 4;  // channels of a block between prefetches

template <class T>
struct PlainKeys {
  struct BlockKeys {
    HWY_INLINE Octet Load(size_t channel) const {
      return LoadOctet(data + channel * kBlockEntries);
    }
    // kUnroll channels.
    HWY_INLINE void Prefetch(size_t channel) const {
      constexpr size_t kStep = kPrefetchBytes / sizeof(T);
      PITH_UNROLL for (size_t i = 0; i < kUnroll * kBlockEntries; i += kStep) {
        hwy::Prefetch(next + channel * kBlockEntries + i);
      }
    }
    const T* data;  // [dim][8]
    const T* next;
  };

  PlainKeys(const Tile& tile, size_t key_dim) : dim(key_dim) {
    const size_t first = tile.key_first / kBlockEntries * dim * kBlockEntries;
    data = reinterpret_cast<const T*>(tile.key_page->data) + first;
    next = reinterpret_cast<const T*>(tile.next_keys) + first;
  }
  BlockKeys Block(size_t block) const {
    const size_t at = block * dim * kBlockEntries;
    return {data + at, next + at};
  }

  size_t dim;
  const T* data;  // [block][dim][8]
  const T* next;
};

template <class T>
struct PlainValues {
  struct RowValues {
    HWY_INLINE Octet Load(size_t octet) const { return LoadOctet(data + octet * 8); }
    HWY_INLINE Octet LoadN(size_t n) const { return LoadOctetN(data, n); }
    HWY_INLINE void Prefetch() const { hwy::Prefetch(next); }
    HWY_INLINE void Advance(size_t dim) {
      data += dim;
      next += dim;
    }
    const T* data;  // from the asked-for octet on
    const T* next;
  };
  static constexpr size_t kWidest = kMaxDim;  // octets that one row reaches

  PlainValues(const Tile& tile, size_t value_dim)
      : dim(value_dim),
        lead(tile.lead),
        data(reinterpret_cast<const T*>(tile.value_page->data) + tile.value_first * dim),
        next(reinterpret_cast<const T*>(tile.next_values) + tile.value_first * dim) {}
  // slot >= lead
  RowValues Row(size_t slot, size_t octet) const {
    const size_t at = (slot - lead) * dim + octet * 8;
    return {data + at, next + at};
  }
  size_t stride() const { return dim; }

  size_t dim;
  size_t lead;
  const T* data;  // [entry][dim] from the tile's first entry on
  const T* next;
};

// Tiles decoded into scratch.
struct DecodedKeys {
  struct BlockKeys {
    HWY_INLINE Octet Load(size_t channel) const {
      return LoadOctet(data + channel * kBlockEntries);
    }
    HWY_INLINE void Prefetch(size_t /*channel*/) const {}
    const float* data;
  };
  BlockKeys Block(size_t block) const { return {data + block * dim * kBlockEntries}; }

  size_t dim;
  const float* data;  // [block][dim][8]
};

struct DecodedValues {
  struct RowValues {
    HWY_INLINE Octet Load(size_t octet) const { return LoadOctet(data + octet * 8); }
    HWY_INLINE void Prefetch() const {}
    HWY_INLINE void Advance(size_t stride) { data += stride; }
    const float* data;
  };
  static constexpr size_t kWidest = kValueColumns / 8;

  static size_t At(size_t slot, size_t octet) {
    constexpr size_t kOctets = kValueColumns / 8;
    return (octet / kOctets * kTileEntries + slot) * kValueColumns + octet % kOctets * 8;
  }
  RowValues Row(size_t slot, size_t octet) const { return {data + At(slot, octet)}; }
  size_t stride() const { return kValueColumns; }

  const float* data;  // [column][kTileEntries][kValueColumns], zeros behind the dimension
};

template <class Keys>
HWY_NOINLINE void DecodeKeys(const Keys& keys, size_t block, size_t block_end, size_t dim,
                             float* out) {
  for (; block < block_end; ++block) {
    const auto from = keys.Block(block);
    float* to = out + block * dim * kBlockEntries;
    for (size_t c = 0; c < dim; ++c) {
      if (c % kUnroll == 0) from.Prefetch(c);
      StoreOctet(from.Load(c), to + c * kBlockEntries);
    }
  }
}

// Channels from octet `octet` on; the last octet may be part of one.
template <class Values>
HWY_NOINLINE void DecodeValues(const Values& values, SlotRange slots, size_t octet, size_t dim,
                               float* out) {
  for (size_t s = slots.begin; s < slots.end; ++s) {
    for (size_t o = octet; o * 8 < dim; ++o) {
      const auto row = values.Row(s, o);
      const size_t left = dim - o * 8;
      row.Prefetch();
      StoreOctet(left < 8 ? row.LoadN(left) : row.Load(0), out + DecodedValues::At(s, o));
    }
  }
}

// ---- Lines. A sub-tile of at most kSubLines lines shares every load of a key
// or value.

// Blocks or octets side by side: as many as leave 16 registers room for the
// sums of all lines.
constexpr size_t Width(size_t lines) { return lines <= 3 ? 4 : 2; }
static_assert(Width(kSubLines) * 8 == kValueColumns);

// sum[line][i] += factors[line * stride] * octet[i]
template <size_t kLines, size_t kWidth>
HWY_INLINE void AddOuter(const float* factors, size_t stride, const Octet (&octet)[kWidth],
                         Octet (&sum)[kLines][kWidth]) {
  PITH_UNROLL for (size_t l = 0; l < kLines; ++l) {
    const Octet factor = Broadcast(factors[l * stride]);
    PITH_UNROLL for (size_t i = 0; i < kWidth; ++i) sum[l][i] = MulAdd(factor, octet[i], sum[l][i]);
  }
}

// scores[line][slot] = sum over channels of queries[channel][line] * keys
template <size_t kLines, size_t kWidth, class Keys>
HWY_INLINE void ScoreBlocks(const Keys& keys, size_t block, size_t dim, const float* queries,
                            float* scores) {
  typename Keys::BlockKeys from[kWidth];
  Octet sum[kLines][kWidth];
  PITH_UNROLL for (size_t b = 0; b < kWidth; ++b) from[b] = keys.Block(block + b);
  PITH_UNROLL for (size_t l = 0; l < kLines; ++l) {
    PITH_UNROLL for (size_t b = 0; b < kWidth; ++b) sum[l][b] = Broadcast(0.0f);
  }
  Octet key[kWidth];
  size_t c = 0;
  for (; c + kUnroll <= dim; c += kUnroll) {
    PITH_UNROLL for (size_t b = 0; b < kWidth; ++b) from[b].Prefetch(c);
    PITH_UNROLL for (size_t i = 0; i < kUnroll; ++i) {
      PITH_UNROLL for (size_t b = 0; b < kWidth; ++b) key[b] = from[b].Load(c + i);
      AddOuter(queries + (c + i) * kLines, 1, key, sum);
    }
  }
  for (; c < dim; ++c) {
    PITH_UNROLL for (size_t b = 0; b < kWidth; ++b) key[b] = from[b].Load(c);
    AddOuter(queries + c * kLines, 1, key, sum);
  }
  scores += block * kBlockEntries;
  PITH_UNROLL for (size_t l = 0; l < kLines; ++l) {
    PITH_UNROLL for (size_t b = 0; b < kWidth; ++b) {
      StoreOctet(sum[l][b], scores + l * kTileEntries + b * kBlockEntries);
    }
  }
}

template <size_t kLines, class Keys>
HWY_NOINLINE void ScoreRange(const Keys& keys, size_t block, size_t block_end, size_t dim,
                             const float* queries, float* scores) {
  constexpr size_t kWidth = Width(kLines);
  for (; block + kWidth <= block_end; block += kWidth) {
    ScoreBlocks<kLines, kWidth>(keys, block, dim, queries, scores);
  }
  for (; block < block_end; ++block) ScoreBlocks<kLines, 1>(keys, block, dim, queries, scores);
}

// out[line][channel] = factors[line] * out + sum over slots of
// weights[line][slot] * values
template <size_t kLines, size_t kWidth, class Values>
HWY_INLINE void AddOctets(const Values& values, SlotRange slots, size_t octet, const float* weights,
                          const float* factors, float* out, size_t out_stride) {
  Octet sum[kLines][kWidth];
  out += octet * 8;
  PITH_UNROLL for (size_t l = 0; l < kLines; ++l) {
    const Octet factor = Broadcast(factors[l]);
    PITH_UNROLL for (size_t o = 0; o < kWidth; ++o) {
      sum[l][o] = Mul(factor, LoadOctet(out + l * out_stride + o * 8));
    }
  }
  auto row = values.Row(slots.begin, octet);
  const size_t stride = values.stride();
  for (size_t s = slots.begin; s < slots.end; ++s) {
    Octet value[kWidth];
    PITH_UNROLL for (size_t o = 0; o < kWidth; ++o) value[o] = row.Load(o);
    row.Prefetch();
    row.Advance(stride);
    AddOuter(weights + s, kTileEntries, value, sum);
  }
  PITH_UNROLL for (size_t l = 0; l < kLines; ++l) {
    PITH_UNROLL for (size_t o = 0; o < kWidth; ++o) {
      StoreOctet(sum[l][o], out + l * out_stride + o * 8);
    }
  }
}

template <size_t kLines, class Values>
HWY_NOINLINE void AddRange(const Values& values, SlotRange slots, size_t octet, size_t octet_end,
                           const float* weights, const float* factors, float* out,
                           size_t out_stride) {
  constexpr size_t kWidth = std::min(Width(kLines), Values::kWidest);
  for (; octet + kWidth <= octet_end; octet += kWidth) {
    AddOctets<kLines, kWidth>(values, slots, octet, weights, factors, out, out_stride);
  }
  for (; octet < octet_end; ++octet) {
    AddOctets<kLines, 1>(values, slots, octet, weights, factors, out, out_stride);
  }
}

// The number of lines becomes a template argument here.
template <class Keys>
void Score(uint32_t num_lines, const Keys& keys, uint32_t block, uint32_t block_end, uint32_t dim,
           const float* queries, float* scores) {
  static_assert(kSubLines == 6);
  switch (num_lines) {
    case 1:
      return ScoreRange<1>(keys, block, block_end, dim, queries, scores);
    case 2:
      return ScoreRange<2>(keys, block, block_end, dim, queries, scores);
    case 3:
      return ScoreRange<3>(keys, block, block_end, dim, queries, scores);
    case 4:
      return ScoreRange<4>(keys, block, block_end, dim, queries, scores);
    case 5:
      return ScoreRange<5>(keys, block, block_end, dim, queries, scores);
    default:
      return ScoreRange<6>(keys, block, block_end, dim, queries, scores);
  }
}

template <class Values>
void AddValues(uint32_t num_lines, const Values& values, SlotRange slots, uint32_t octet,
               uint32_t octet_end, const float* weights, const float* factors, float* out,
               size_t out_stride) {
  switch (num_lines) {
    case 1:
      return AddRange<1>(values, slots, octet, octet_end, weights, factors, out, out_stride);
    case 2:
      return AddRange<2>(values, slots, octet, octet_end, weights, factors, out, out_stride);
    case 3:
      return AddRange<3>(values, slots, octet, octet_end, weights, factors, out, out_stride);
    case 4:
      return AddRange<4>(values, slots, octet, octet_end, weights, factors, out, out_stride);
    case 5:
      return AddRange<5>(values, slots, octet, octet_end, weights, factors, out, out_stride);
    default:
      return AddRange<6>(values, slots, octet, octet_end, weights, factors, out, out_stride);
  }
}

// ---- Online softmax of one line.

// Turns the scores in `visible` into weights 2^(score - maximum) and sets the
// other slots of `blocks` to zero. Updates the line's maximum and its eight
// partial sums; returns what earlier results must be multiplied with.
HWY_INLINE float WeighLine(SlotRange visible, uint32_t block_begin, uint32_t block_end,
                           float* scores, float* maximum, float* sums) {
  const Octet zero = Broadcast(0.0f);
  if (visible.empty()) {
    for (uint32_t b = block_begin; b < block_end; ++b) StoreOctet(zero, scores + b * 8);
    return 1.0f;
  }
  const uint32_t first = visible.begin / 8;
  const uint32_t last = (visible.end - 1) / 8;
  for (const uint32_t b : {first, last}) {
    const int base = static_cast<int>(b * 8);
    StoreOctet(KeepLanes(LoadOctet(scores + b * 8), static_cast<int>(visible.begin) - base,
                         static_cast<int>(visible.end) - base),
               scores + b * 8);
  }
  Octet highest = LoadOctet(scores + first * 8);
  for (uint32_t b = first + 1; b <= last; ++b) {
    highest = Max(highest, LoadOctet(scores + b * 8));
  }
  const float old_maximum = *maximum;
  *maximum = std::max(old_maximum, MaxLane(highest));

  const Octet top = Broadcast(*maximum);
  Octet sum = zero;
  for (uint32_t b = first; b <= last; ++b) {
    const Octet weight = Exp2(Sub(LoadOctet(scores + b * 8), top));
    StoreOctet(weight, scores + b * 8);
    sum = Add(sum, weight);
  }
  for (uint32_t b = block_begin; b < first; ++b) StoreOctet(zero, scores + b * 8);
  for (uint32_t b = last + 1; b < block_end; ++b) StoreOctet(zero, scores + b * 8);
  const Octet factor = Exp2(Broadcast(old_maximum - *maximum));
  StoreOctet(MulAdd(LoadOctet(sums), factor, sum), sums);
  return hn::GetLane(factor.part[0]);
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#endif  // PITH_KERNEL_TILE_INL_H_
