// Products with keys in four bits, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/key_codes.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "kernel/key_codes.h"
#include "kernel/pairs-inl.h"

#ifndef PITH_KERNEL_KEY_CODES_QUERY_
#define PITH_KERNEL_KEY_CODES_QUERY_
namespace pith {

// A query in 8 bits: number = code * step.
struct CodedQuery {
  const int8_t* codes = nullptr;  // [groups * 8], zeros behind the last channel
  float step = 0;                 // times the scale of the scores
  float sum = 0;                  // of all codes, times the step
};

// Where the codes lie (KeyCodes).
struct CodeBlocks {
  const std::byte* first = nullptr;
  uint32_t num_groups = 0;

  const std::byte* Words(uint32_t block, uint32_t group) const {
    return first + (size_t{block} * (num_groups + 1) + group) * 32;
  }
  const F16* Sides(uint32_t block) const {
    return reinterpret_cast<const F16*>(Words(block, num_groups));
  }
};

}  // namespace pith
#endif

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

HWY_INLINE Pairs LowNibbles(const Pairs& v) {
  Pairs r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    r.part[i] = hn::And(v.part[i], hn::Set(PairTag(), 0x0F0F0F0F));
  }
  return r;
}

// Scores of kRows queries with the entries of kBlocks blocks, eight numbers each, to out + row *
// stride + block * 8. The blocks `ahead` come into the caches meanwhile.
template <size_t kRows, size_t kBlocks>
HWY_INLINE void BlockScores(const CodeBlocks& codes, const uint32_t* blocks, const uint32_t* ahead,
                            const CodedQuery* queries, float* out, size_t stride) {
  const Pairs ones = BroadcastInt(1 << 16 | 1), zero = BroadcastInt(0);
  Pairs sums[kRows][kBlocks];
  PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
    PITH_UNROLL for (size_t b = 0; b < kBlocks; ++b) sums[r][b] = zero;
  }
  for (uint32_t g = 0; g < codes.num_groups; ++g) {
    Pairs low[kBlocks], high[kBlocks];
    PITH_UNROLL for (size_t b = 0; b < kBlocks; ++b) {
      hwy::Prefetch(codes.Words(ahead[b], g));
      const Pairs words = LoadPairs(codes.Words(blocks[b], g));
      low[b] = LowNibbles(words);
      high[b] = LowNibbles(ShiftWords<4>(words));
    }
    PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
      const int8_t* q = queries[r].codes + size_t{g} * 8;
      const Pairs q_low = BroadcastBytes(q), q_high = BroadcastBytes(q + 4);
      PITH_UNROLL for (size_t b = 0; b < kBlocks; ++b) {
        // Sums of more products than these would fit 16 bits; but of those the compiler begins so
        // many at a time that they do not fit the registers.
        const Pairs sum16 = MulBytesAdd(high[b], q_high, MulBytesAdd(low[b], q_low, zero));
        sums[r][b] = MulPairsAdd(sum16, ones, sums[r][b]);
      }
    }
  }
  PITH_UNROLL for (size_t b = 0; b < kBlocks; ++b) {
    hwy::Prefetch(codes.Sides(ahead[b]));
    const F16* sides = codes.Sides(blocks[b]);
    const Octet scales = LoadOctet(sides), minima = LoadOctet(sides + 8);
    PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
      const Octet sum = Mul(ToFloat(sums[r][b]), Broadcast(queries[r].step));
      StoreOctet(MulAdd(minima, Broadcast(queries[r].sum), Mul(sum, scales)),
                 out + r * stride + b * 8);
    }
  }
}

void ScoreBlocks(const CodeBlocks& codes, std::span<const uint32_t> blocks,
                 std::span<const CodedQuery> queries, float* scores, size_t stride) {
  constexpr size_t kMostRows = 4;
  constexpr size_t kAhead = 16;  // blocks; where they lie the processor cannot guess
  for (size_t first = 0; first < queries.size(); first += kMostRows) {
    float* const out = scores + first * stride;
    const CodedQuery* const own = &queries[first];
    const size_t count = std::min(kMostRows, queries.size() - first);
    WithRows<kMostRows>(count, [&](auto rows) PITH_INLINE_LAMBDA {
      size_t j = 0;
      for (; j + 2 <= blocks.size(); j += 2) {
        const uint32_t* ahead = &blocks[std::min(j + kAhead, blocks.size() - 2)];
        BlockScores<rows, 2>(codes, &blocks[j], ahead, own, out + j * 8, stride);
      }
      if (j < blocks.size()) {
        BlockScores<rows, 1>(codes, &blocks[j], &blocks[j], own, out + j * 8, stride);
      }
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <numeric>

#include "base/check.h"
#include "simd/half.h"

namespace pith {
namespace {

// Of a channel's code in its word.
size_t ShiftOf(size_t channel) { return channel % 4 * 8 + channel % 8 / 4 * 4; }

}  // namespace

HWY_EXPORT(ScoreBlocks);

KeyCodes::KeyCodes(uint32_t dim, std::vector<uint16_t> channels)
    : dim_(dim),
      channels_(std::move(channels)),
      num_groups_(static_cast<uint32_t>((channels_.size() + 7) / 8)) {
  for (const uint16_t channel : channels_) PITH_CHECK(channel < dim);
}

void KeyCodes::Truncate(uint64_t size) { num_entries_ = std::min(num_entries_, size); }

void KeyCodes::Append(const float* rows, uint64_t count) {
  const uint64_t blocks = (num_entries_ + count + 7) / 8;
  const size_t size = blocks * block_bytes();
  if (size > blocks_.capacity()) blocks_.reserve(size + size / 8);
  if (size > blocks_.size()) blocks_.resize(size);
  std::vector<float> values(channels_.size());
  for (uint64_t i = 0; i < count; ++i, rows += dim_) {
    for (size_t c = 0; c < values.size(); ++c) values[c] = rows[channels_[c]];
    Store(num_entries_++, values);
  }
}

void KeyCodes::Store(uint64_t entry, std::span<const float> values) {
  constexpr float kMostF16 = 65504;  // beyond, a guess would be infinite
  constexpr float kMaxCode = 15;
  const auto [least, greatest] = std::ranges::minmax(values);
  const F16 minimum = F16FromF32(std::clamp(least, -kMostF16, kMostF16));
  const F16 scale = F16FromF32(std::min((greatest - least) / kMaxCode, kMostF16));
  Put(SideOffset(entry, false), scale);
  Put(SideOffset(entry, true), minimum);
  // Codes fit the numbers as they are stored. A scale that f16 cannot hold says that all channels
  // are alike.
  const float step = F32FromF16(scale), base = F32FromF16(minimum);
  const float factor = step > 0 ? 1 / step : 0;
  for (uint32_t g = 0; g < num_groups_; ++g) {
    uint32_t word = 0;
    const size_t end = std::min(values.size(), size_t{g} * 8 + 8);
    for (size_t c = size_t{g} * 8; c < end; ++c) {
      const float code = std::clamp(std::nearbyint((values[c] - base) * factor), 0.0f, kMaxCode);
      word |= static_cast<uint32_t>(code) << ShiftOf(c);
    }
    Put(WordOffset(entry, g), word);
  }
}

void KeyCodes::Score(std::span<const float* const> queries, float scale,
                     std::span<const uint32_t> blocks, float* scores, size_t stride) const {
  PITH_CHECK(stride >= blocks.size() * 8);
  constexpr float kMaxQuery = 127;
  std::vector<int8_t> codes(queries.size() * num_groups_ * 8, 0);
  std::vector<CodedQuery> coded(queries.size());
  for (size_t r = 0; r < queries.size(); ++r) {
    int8_t* own = codes.data() + r * num_groups_ * 8;
    float most = 0;
    for (const uint16_t channel : channels_) most = std::max(most, std::abs(queries[r][channel]));
    const float factor = most > 0 ? kMaxQuery / most : 0;
    int64_t sum = 0;
    for (size_t c = 0; c < channels_.size(); ++c) {
      const float code = std::nearbyint(queries[r][channels_[c]] * factor);
      sum += own[c] = static_cast<int8_t>(std::clamp(code, -kMaxQuery, kMaxQuery));
    }
    const float step = most / kMaxQuery * scale;
    coded[r] = {own, step, static_cast<float>(sum) * step};
  }
  HWY_DYNAMIC_DISPATCH(ScoreBlocks)
  ({blocks_.data(), num_groups_}, blocks, coded, scores, stride);
  if (num_entries_ % 8 == 0) return;
  for (size_t j = 0; j < blocks.size(); ++j) {
    if (blocks[j] != num_entries_ / 8) continue;
    for (size_t r = 0; r < queries.size(); ++r) {
      float* block = scores + r * stride + j * 8;
      std::fill(block + num_entries_ % 8, block + 8, -HUGE_VALF);
    }
  }
}

float KeyCodes::Decoded(uint64_t entry, uint32_t index) const {
  const auto word = Load<uint32_t>(WordOffset(entry, index / 8));
  const uint32_t code = word >> ShiftOf(index) & 15;
  return F32FromF16(Load<F16>(SideOffset(entry, true))) +
         static_cast<float>(code) * F32FromF16(Load<F16>(SideOffset(entry, false)));
}

}  // namespace pith
#endif  // HWY_ONCE
