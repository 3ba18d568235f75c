// Scores and weighted sums over pages of codes (codec/packed.h). Codes are unpacked in registers
// and multiplied as integers with queries and weights of 15 bits and a sign; scales and minima are
// part of what they are multiplied with, or of the sum. Include after hwy/foreach_target.h.

#if defined(PITH_KERNEL_PACKED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_KERNEL_PACKED_INL_H_
#undef PITH_KERNEL_PACKED_INL_H_
#else
#define PITH_KERNEL_PACKED_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "codec/packed.h"
#include "kernel/attend_layout.h"
#include "kernel/pairs-inl.h"
#include "kernel/tile-inl.h"
#include "kernel/tile_walk.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

static_assert(kValueColumns == kCellChannels, "a cell is decoded into one column");

// One side of a tile. Blocks count from the one with the tile's first entry.
struct PackedSide {
  PackedSide(const PageView& page, Side side, uint32_t dim, uint32_t first_entry,
             const std::byte* next_page)
      : packing(*page.form->packing), layout(packing, side, dim), header(page.data) {
    const size_t offset = layout.header_bytes + first_entry / kBlockEntries * layout.block_bytes;
    first = page.data + offset;
    next = next_page + offset;
  }
  const std::byte* Block(size_t block) const { return first + block * layout.block_bytes; }
  const std::byte* NextBlock(size_t block) const { return next + block * layout.block_bytes; }
  const F16* Scales(size_t block, size_t group) const {
    return reinterpret_cast<const F16*>(Block(block) + layout.scales) + group * kBlockEntries;
  }
  const F16* Minima(size_t block, size_t group) const {
    return reinterpret_cast<const F16*>(Block(block) + layout.minima) + group * kBlockEntries;
  }
  const F16* ChannelScales() const { return reinterpret_cast<const F16*>(header); }
  const F16* ChannelMinima() const { return ChannelScales() + layout.header_channels(); }

  const Packing& packing;
  const PackedLayout layout;
  const std::byte* header;
  const std::byte* first;
  const std::byte* next;  // the same place in the next page; for prefetching only
};

inline PackedSide PackedKeys(const Tile& tile, uint32_t dim) {
  return {*tile.key_page, Side::kKeys, dim, tile.key_first, tile.next_keys};
}
inline PackedSide PackedValues(const Tile& tile, uint32_t dim) {
  return {*tile.value_page, Side::kValues, dim, tile.value_first, tile.next_values};
}

// ---- What codes are multiplied with, of the lines of a sub-tile. A number is scale * integer.

struct PackedQueries {
  const int16_t* numbers;  // [line][kMaxDim]
  const int32_t* zeros;    // [line][kMaxKeyGroups]: what code zero_code() has added to each group
  const float* scales;     // [line]
  const float* biases;     // [line], added to the score
};

struct PackedWeights {
  const int16_t* numbers;  // [line][kWeightEntries], from the first block on
  const int32_t* zeros;    // [line]
  const float* scales;     // [line]
  const float* biases;     // [line], added to each channel of the group
};

template <uint32_t kBits>
HWY_INLINE void PrefetchCell(const std::byte* cell) {
  for (size_t i = 0; i < PackedLayout::CellBytes(kBits); i += kPrefetchBytes) {
    hwy::Prefetch(cell + i);
  }
}

// sum[line] += products of the codes of one cell of keys.
template <uint32_t kBits, size_t kLines>
HWY_INLINE void ScoreCell(const std::byte* cell, const int16_t* numbers, Pairs (&sum)[kLines]) {
  constexpr size_t kFields = 16 / kBits;
  Unrolled<kBits / 2>([&](auto v) PITH_INLINE_LAMBDA {
    Pairs words = LoadPairs(cell + v * 32);
    Unrolled<kFields>([&](auto f) PITH_INLINE_LAMBDA {
      const Pairs codes = TakeField<kBits>(words);
      Unrolled<kLines>([&](auto l) PITH_INLINE_LAMBDA {
        constexpr size_t kAt = l * kMaxDim + 2 * (v * kFields + f);
        sum[l] = MulPairsAdd(codes, BroadcastPair(numbers + kAt), sum[l]);
      });
    });
  });
}

// Scales per entry and group of channels.
template <uint32_t kBits, size_t kLines>
HWY_NOINLINE void ScorePerEntry(const PackedSide& keys, size_t block, size_t block_end,
                                const PackedQueries& queries, float* scores) {
  const size_t cells_per_group = keys.packing.channel_group / kCellChannels;
  for (; block < block_end; ++block) {
    const std::byte* cell = keys.Block(block);
    const std::byte* next = keys.NextBlock(block);
    const int16_t* numbers = queries.numbers;
    Octet score[kLines];
    PITH_UNROLL for (size_t l = 0; l < kLines; ++l) score[l] = Broadcast(0.0f);
    for (size_t group = 0; group < keys.layout.num_groups; ++group) {
      Pairs sum[kLines];
      PITH_UNROLL for (size_t l = 0; l < kLines; ++l) {
        sum[l] = BroadcastInt(queries.zeros[l * kMaxKeyGroups + group]);
      }
      for (size_t c = 0; c < cells_per_group; ++c) {
        PrefetchCell<kBits>(next);
        ScoreCell<kBits>(cell, numbers, sum);
        cell += PackedLayout::CellBytes(kBits);
        next += PackedLayout::CellBytes(kBits);
        numbers += kCellChannels;
      }
      const Octet scale = LoadOctet(keys.Scales(block, group));
      PITH_UNROLL for (size_t l = 0; l < kLines; ++l) {
        score[l] = MulAdd(ToFloat(sum[l]), scale, score[l]);
      }
    }
    PITH_UNROLL for (size_t l = 0; l < kLines; ++l) {
      StoreOctet(Mul(score[l], Broadcast(queries.scales[l])),
                 scores + l * kTileEntries + block * kBlockEntries);
    }
  }
}

// Scales per channel, which are part of the queries.
template <uint32_t kBits, size_t kLines>
HWY_NOINLINE void ScorePerChannel(const PackedSide& keys, size_t block, size_t block_end,
                                  const PackedQueries& queries, float* scores) {
  for (; block < block_end; ++block) {
    const std::byte* cell = keys.Block(block);
    const std::byte* next = keys.NextBlock(block);
    Pairs sum[kLines];
    PITH_UNROLL for (size_t l = 0; l < kLines; ++l) sum[l] = BroadcastInt(0);
    for (size_t c = 0; c < keys.layout.num_cells; ++c) {
      PrefetchCell<kBits>(next);
      ScoreCell<kBits>(cell, queries.numbers + c * kCellChannels, sum);
      cell += PackedLayout::CellBytes(kBits);
      next += PackedLayout::CellBytes(kBits);
    }
    PITH_UNROLL for (size_t l = 0; l < kLines; ++l) {
      StoreOctet(
          MulAdd(ToFloat(sum[l]), Broadcast(queries.scales[l]), Broadcast(queries.biases[l])),
          scores + l * kTileEntries + block * kBlockEntries);
    }
  }
}

// sum[line][channel / 8] += products of the codes of one cell of values. Both octets are worked on
// together, because they share the weights.
template <uint32_t kBits, size_t kLines>
HWY_INLINE void AddCell(const std::byte* cell, const int16_t* numbers, Pairs (&sum)[kLines][2]) {
  constexpr size_t kVectors = kBits == 8 ? 2 : 1;  // of an octet; 2 bits: both share one
  Unrolled<kVectors>([&](auto v) PITH_INLINE_LAMBDA {
    Pairs words = LoadPairs(cell + v * 32), more_words;
    if constexpr (kBits == 2) {
      more_words = ShiftWords<8>(words);
    } else {
      more_words = LoadPairs(cell + (v + kVectors) * 32);
    }
    Unrolled<4 / kVectors>([&](auto f) PITH_INLINE_LAMBDA {
      const Pairs codes = TakeField<kBits>(words), more_codes = TakeField<kBits>(more_words);
      Unrolled<kLines>([&](auto l) PITH_INLINE_LAMBDA {
        constexpr size_t kAt = l * kWeightEntries + 2 * (v * 4 / kVectors + f);
        const Pairs weight = BroadcastPair(numbers + kAt);
        sum[l][0] = MulPairsAdd(codes, weight, sum[l][0]);
        sum[l][1] = MulPairsAdd(more_codes, weight, sum[l][1]);
      });
    });
  });
}

// out[line][channel] = factors[line] * out + the weighted sum of the values of blocks [0, blocks),
// for the channels of cells [cell, cell_end), which are of one group.
template <uint32_t kBits, size_t kLines>
HWY_NOINLINE void AddCells(const PackedSide& values, size_t blocks, size_t cell, size_t cell_end,
                           const PackedWeights& weights, const float* factors, float* out,
                           size_t out_stride) {
  for (; cell < cell_end; ++cell) {
    Pairs sum[kLines][2];
    PITH_UNROLL for (size_t l = 0; l < kLines; ++l) {
      sum[l][0] = sum[l][1] = BroadcastInt(weights.zeros[l]);
    }
    const size_t offset = cell * PackedLayout::CellBytes(kBits);
    for (size_t b = 0; b < blocks; ++b) {
      PrefetchCell<kBits>(values.NextBlock(b) + offset);
      AddCell<kBits>(values.Block(b) + offset, weights.numbers + b * kBlockEntries, sum);
    }
    PITH_UNROLL for (size_t l = 0; l < kLines; ++l) {
      const Octet factor = Broadcast(factors[l]), scale = Broadcast(weights.scales[l]),
                  bias = Broadcast(weights.biases[l]);
      PITH_UNROLL for (size_t o = 0; o < 2; ++o) {
        float* to = out + l * out_stride + cell * kCellChannels + o * 8;
        const Octet added = MulAdd(ToFloat(sum[l][o]), scale, bias);
        StoreOctet(MulAdd(LoadOctet(to), factor, added), to);
      }
    }
  }
}

// ---- The number of lines and of bits become template arguments here.

template <class Run>
HWY_INLINE void WithLines(uint32_t num_lines, const Run& run) {
  static_assert(kSubLines == 6);
  switch (num_lines) {
    case 1:
      return run.template operator()<1>();
    case 2:
      return run.template operator()<2>();
    case 3:
      return run.template operator()<3>();
    case 4:
      return run.template operator()<4>();
    case 5:
      return run.template operator()<5>();
    default:
      return run.template operator()<6>();
  }
}

template <class Run>
HWY_INLINE void WithBits(uint32_t bits, const Run& run) {
  switch (bits) {
    case 2:
      return run.template operator()<2>();
    case 4:
      return run.template operator()<4>();
    default:
      return run.template operator()<8>();
  }
}

inline void ScorePacked(uint32_t num_lines, const PackedSide& keys, uint32_t block,
                        uint32_t block_end, const PackedQueries& queries, float* scores) {
  WithBits(keys.packing.bits, [&]<uint32_t kBits>() {
    WithLines(num_lines, [&]<size_t kLines>() {
      if (keys.layout.per_channel) {
        ScorePerChannel<kBits, kLines>(keys, block, block_end, queries, scores);
      } else {
        ScorePerEntry<kBits, kLines>(keys, block, block_end, queries, scores);
      }
    });
  });
}

inline void AddPacked(uint32_t num_lines, const PackedSide& values, uint32_t blocks, uint32_t cell,
                      uint32_t cell_end, const PackedWeights& weights, const float* factors,
                      float* out, size_t out_stride) {
  WithBits(values.packing.bits, [&]<uint32_t kBits>() {
    WithLines(num_lines, [&]<size_t kLines>() {
      AddCells<kBits, kLines>(values, blocks, cell, cell_end, weights, factors, out, out_stride);
    });
  });
}

// ---- Tiles decoded into scratch, as tile-inl.h has it for plain forms.

template <uint32_t kBits>
HWY_NOINLINE void DecodePackedKeys(const PackedSide& keys, size_t block, size_t block_end,
                                   size_t dim, float* out) {
  constexpr size_t kFields = 16 / kBits;
  const Octet zero = Broadcast(-static_cast<float>(keys.packing.zero_code()));
  const bool per_channel = keys.layout.per_channel;
  float scales[kMaxDim], minima[kMaxDim];
  for (size_t c = 0; per_channel && c < keys.layout.header_channels(); c += 8) {
    StoreOctet(LoadOctet(keys.ChannelScales() + c), scales + c);
    StoreOctet(LoadOctet(keys.ChannelMinima() + c), minima + c);
  }
  for (; block < block_end; ++block) {
    float* to = out + block * dim * kBlockEntries;
    for (size_t c = 0; c < dim; c += kCellChannels) {
      const size_t offset = c / kCellChannels * PackedLayout::CellBytes(kBits);
      const std::byte* cell = keys.Block(block) + offset;
      PrefetchCell<kBits>(keys.NextBlock(block) + offset);
      const Octet scale =
          per_channel ? zero : LoadOctet(keys.Scales(block, c / keys.packing.channel_group));
      for (size_t v = 0; v < kBits / 2; ++v) {
        Pairs words = LoadPairs(cell + v * 32);
        PITH_UNROLL for (size_t f = 0; f < kFields; ++f) {
          const Pairs codes = TakeField<kBits>(words);
          const Octet halves[2] = {LowHalf(codes), HighHalf(codes)};
          PITH_UNROLL for (size_t h = 0; h < 2; ++h) {
            const size_t channel = c + 2 * (v * kFields + f) + h;
            if (channel >= dim) continue;
            StoreOctet(per_channel ? MulAdd(halves[h], Broadcast(scales[channel]),
                                            Broadcast(minima[channel]))
                                   : Mul(Add(halves[h], zero), scale),
                       to + channel * kBlockEntries);
          }
        }
      }
    }
  }
}

// `lead` is the slot of the first block's first entry, which may lie before the tile's; only
// `slots` are written.
template <uint32_t kBits>
HWY_NOINLINE void DecodePackedValues(const PackedSide& values, SlotRange slots, int32_t lead,
                                     float* out) {
  constexpr size_t kFields = 16 / kBits;
  const Octet zero = Broadcast(-static_cast<float>(values.packing.zero_code()));
  const auto begin = static_cast<int32_t>(slots.begin), end = static_cast<int32_t>(slots.end);
  for (int32_t slot = lead + (begin - lead) / 8 * 8; slot < end; slot += 8) {
    const auto block = static_cast<size_t>((slot - lead) / 8);
    for (size_t cell = 0; cell < values.layout.num_cells; ++cell) {
      const size_t offset = cell * PackedLayout::CellBytes(kBits);
      PrefetchCell<kBits>(values.NextBlock(block) + offset);
      const size_t group = cell * kCellChannels / values.packing.channel_group;
      float scales[8], minima[8];
      StoreOctet(LoadOctet(values.Scales(block, group)), scales);
      StoreOctet(values.packing.affine ? LoadOctet(values.Minima(block, group)) : Broadcast(0.0f),
                 minima);
      for (size_t v = 0; v < kBits / 2; ++v) {
        Pairs words = LoadPairs(values.Block(block) + offset + v * 32);
        PITH_UNROLL for (size_t f = 0; f < kFields; ++f) {
          const Pairs codes = TakeField<kBits>(words);
          const size_t slice = v * kFields + f;
          const Octet halves[2] = {LowHalf(codes), HighHalf(codes)};
          PITH_UNROLL for (size_t h = 0; h < 2; ++h) {
            const size_t entry = 2 * (slice % 4) + h;
            const int32_t at = slot + static_cast<int32_t>(entry);
            if (at < begin || at >= end) continue;
            StoreOctet(
                MulAdd(Add(halves[h], zero), Broadcast(scales[entry]), Broadcast(minima[entry])),
                out + DecodedValues::At(static_cast<size_t>(at), cell * 2 + slice / 4));
          }
        }
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#endif  // PITH_KERNEL_PACKED_INL_H_
