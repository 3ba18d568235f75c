// The attention of one tile: scores of lines against keys, weights of the online softmax, weighted
// sums of values. Written once for all forms: a *keys* type gives the eight keys of a block in one
// channel, a *values* type gives eight channels of one entry. A new form adds one such pair.
// Include after hwy/foreach_target.h.

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

// ---- What forms supply. Blocks and slots are those of the tile.

template <class T>
struct PlainKeys {
  PlainKeys(const Tile& tile, uint32_t key_dim)
      : dim(key_dim), first(size_t{tile.key_first / kBlockEntries} * key_dim * kBlockEntries) {
    data = reinterpret_cast<const T*>(tile.key_page->data) + first;
    next = reinterpret_cast<const T*>(tile.next_keys) + first;
  }
  size_t At(uint32_t block, uint32_t channel) const {
    return (size_t{block} * dim + channel) * kBlockEntries;
  }
  HWY_INLINE Octet Load(uint32_t block, uint32_t channel) const {
    return LoadOctet(data + At(block, channel));
  }
  HWY_INLINE void Prefetch(uint32_t block, uint32_t channel) const {
    hwy::Prefetch(next + At(block, channel));
  }

  uint32_t dim;
  size_t first;
  const T* data;  // [block][dim][8]
  const T* next;
};

template <class T>
struct PlainValues {
  PlainValues(const Tile& tile, uint32_t value_dim)
      : dim(value_dim), shift(int64_t{tile.value_first} - tile.lead) {
    data = reinterpret_cast<const T*>(tile.value_page->data);
    next = reinterpret_cast<const T*>(tile.next_values);
  }
  size_t At(uint32_t slot, uint32_t octet) const {
    return static_cast<size_t>(slot + shift) * dim + octet * 8;
  }
  HWY_INLINE Octet Load(uint32_t slot, uint32_t octet) const {
    return LoadOctet(data + At(slot, octet));
  }
  HWY_INLINE void Prefetch(uint32_t slot, uint32_t octet) const {
    hwy::Prefetch(next + At(slot, octet));
  }

  uint32_t dim;
  int64_t shift;
  const T* data;  // [entry][dim]
  const T* next;
};

// The octet of values that the dimension ends in.
template <class T>
struct LastValues : PlainValues<T> {
  using PlainValues<T>::PlainValues;
  HWY_INLINE Octet Load(uint32_t slot, uint32_t octet) const {
    return LoadOctetN(this->data + this->At(slot, octet), this->dim % 8);
  }
};

// Tiles decoded into scratch.
struct DecodedKeys {
  HWY_INLINE Octet Load(uint32_t block, uint32_t channel) const {
    return LoadOctet(data + (size_t{block} * dim + channel) * kBlockEntries);
  }
  HWY_INLINE void Prefetch(uint32_t, uint32_t) const {}

  uint32_t dim;
  const float* data;  // [block][dim][8]
};

struct DecodedValues {
  static constexpr uint32_t kOctets = kValueColumns / 8;
  static size_t At(uint32_t slot, uint32_t octet) {
    return (size_t{octet / kOctets} * kTileEntries + slot) * kValueColumns + octet % kOctets * 8;
  }
  HWY_INLINE Octet Load(uint32_t slot, uint32_t octet) const {
    return LoadOctet(data + At(slot, octet));
  }
  HWY_INLINE void Prefetch(uint32_t, uint32_t) const {}

  const float* data;  // [column][kTileEntries][kValueColumns], zeros behind the dimension
};

template <class Keys>
HWY_NOINLINE void DecodeKeys(const Keys& keys, uint32_t block_begin, uint32_t block_end,
                             uint32_t dim, float* out) {
  for (uint32_t b = block_begin; b < block_end; ++b) {
    float* block = out + size_t{b} * dim * kBlockEntries;
    for (uint32_t c = 0; c < dim; ++c) {
      keys.Prefetch(b, c);
      StoreOctet(keys.Load(b, c), block + size_t{c} * kBlockEntries);
    }
  }
}

template <class Values>
HWY_NOINLINE void DecodeValues(const Values& values, SlotRange slots, uint32_t octet_begin,
                               uint32_t octet_end, float* out) {
  for (uint32_t s = slots.begin; s < slots.end; ++s) {
    for (uint32_t o = octet_begin; o < octet_end; ++o) {
      values.Prefetch(s, o);
      StoreOctet(values.Load(s, o), out + DecodedValues::At(s, o));
    }
  }
}

// ---- Lines. A sub-tile of at most kSubLines lines shares every load of a key or value.

// Blocks (octets) side by side: as many as leave 16 registers room for the accumulators of all
// lines.
constexpr int Width(int lines) { return lines <= 3 ? 4 : 2; }

// scores[line][slot] = sum over channels of queries[channel][line] * keys
template <int kLines, int kBlocks, class Keys>
HWY_INLINE void ScoreBlocks(const Keys& keys, uint32_t block, uint32_t dim, const float* queries,
                            float* scores) {
  Octet sum[kLines][kBlocks];
  PITH_UNROLL for (int l = 0; l < kLines; ++l) {
    PITH_UNROLL for (int b = 0; b < kBlocks; ++b) sum[l][b] = Broadcast(0.0f);
  }
  for (uint32_t c = 0; c < dim; ++c) {
    Octet key[kBlocks];
    PITH_UNROLL for (int b = 0; b < kBlocks; ++b) {
      key[b] = keys.Load(block + static_cast<uint32_t>(b), c);
    }
    for (int b = 0; b < kBlocks; b += 2) {
      // Lines of memory hold 2 to 4 channels, so that half of the blocks' prefetches would do; they
      // are cheap.
      keys.Prefetch(block + static_cast<uint32_t>(b), c);
    }
    PITH_UNROLL for (int l = 0; l < kLines; ++l) {
      const Octet query = Broadcast(queries[c * kLines + static_cast<uint32_t>(l)]);
      PITH_UNROLL for (int b = 0; b < kBlocks; ++b) sum[l][b] = MulAdd(query, key[b], sum[l][b]);
    }
  }
  PITH_UNROLL for (int l = 0; l < kLines; ++l) {
    PITH_UNROLL for (int b = 0; b < kBlocks; ++b) {
      StoreOctet(sum[l][b], scores + static_cast<size_t>(l) * kTileEntries +
                                (block + static_cast<uint32_t>(b)) * kBlockEntries);
    }
  }
}

template <int kLines, class Keys>
HWY_NOINLINE void ScoreRange(const Keys& keys, uint32_t block, uint32_t block_end, uint32_t dim,
                             const float* queries, float* scores) {
  constexpr uint32_t kWidth = Width(kLines);
  for (; block + kWidth <= block_end; block += kWidth) {
    ScoreBlocks<kLines, kWidth>(keys, block, dim, queries, scores);
  }
  for (; block < block_end; ++block) ScoreBlocks<kLines, 1>(keys, block, dim, queries, scores);
}

// out[line][channel] = factors[line] * out + sum over slots of weights[line][slot] * values
template <int kLines, int kOctets, class Values>
HWY_INLINE void AddOctets(const Values& values, SlotRange slots, uint32_t octet,
                          const float* weights, const float* factors, float* out,
                          size_t out_stride) {
  Octet sum[kLines][kOctets];
  out += octet * 8;
  PITH_UNROLL for (int l = 0; l < kLines; ++l) {
    const Octet factor = Broadcast(factors[l]);
    PITH_UNROLL for (int o = 0; o < kOctets; ++o) {
      sum[l][o] = Mul(factor, LoadOctet(out + static_cast<size_t>(l) * out_stride + o * 8));
    }
  }
  for (uint32_t s = slots.begin; s < slots.end; ++s) {
    Octet value[kOctets];
    PITH_UNROLL for (int o = 0; o < kOctets; ++o) {
      value[o] = values.Load(s, octet + static_cast<uint32_t>(o));
    }
    values.Prefetch(s, octet);
    PITH_UNROLL for (int l = 0; l < kLines; ++l) {
      const Octet weight = Broadcast(weights[static_cast<size_t>(l) * kTileEntries + s]);
      PITH_UNROLL for (int o = 0; o < kOctets; ++o) {
        sum[l][o] = MulAdd(weight, value[o], sum[l][o]);
      }
    }
  }
  PITH_UNROLL for (int l = 0; l < kLines; ++l) {
    PITH_UNROLL for (int o = 0; o < kOctets; ++o) {
      StoreOctet(sum[l][o], out + static_cast<size_t>(l) * out_stride + o * 8);
    }
  }
}

template <int kLines, class Values>
HWY_NOINLINE void AddRange(const Values& values, SlotRange slots, uint32_t octet,
                           uint32_t octet_end, const float* weights, const float* factors,
                           float* out, size_t out_stride) {
  constexpr uint32_t kWidth = Width(kLines);
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

// Turns the scores in `visible` into weights 2^(score - maximum) and sets the other slots of
// `blocks` to zero. Updates the line's maximum and its eight partial sums; returns what earlier
// results must be multiplied with.
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
