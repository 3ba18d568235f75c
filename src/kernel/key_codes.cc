// Products with keys in four bits, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/key_codes.cc"
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

// Where the codes lie.
struct CodeBlocks {
  const uint32_t* words = nullptr;
  const F16* sides = nullptr;
  uint32_t num_groups = 0;
};

}  // namespace pith
#endif

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

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

HWY_INLINE Pairs LowNibbles(const Pairs& v) {
  Pairs r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    r.part[i] = hn::And(v.part[i], hn::Set(PairTag(), 0x0F0F0F0F));
  }
  return r;
}

// Groups of channels whose products fit 16 bits: eight products of 15 and 127 for each half.
constexpr uint32_t kGroupsIn16 = 4;

// Scores of kRows queries with the entries of kBlocks blocks, to out[row] + 8 * block.
template <size_t kRows, size_t kBlocks>
HWY_INLINE void BlockScores(const CodeBlocks& codes, const uint32_t* blocks,
                            const CodedQuery* queries, float* const* out) {
  Pairs sums[kRows][kBlocks];
  PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
    PITH_UNROLL for (size_t b = 0; b < kBlocks; ++b) sums[r][b] = BroadcastInt(0);
  }
  for (uint32_t first = 0; first < codes.num_groups; first += kGroupsIn16) {
    Pairs sums16[kRows][kBlocks];
    PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
      PITH_UNROLL for (size_t b = 0; b < kBlocks; ++b) sums16[r][b] = BroadcastInt(0);
    }
    const uint32_t end = std::min(codes.num_groups, first + kGroupsIn16);
    for (uint32_t g = first; g < end; ++g) {
      Pairs low[kBlocks], high[kBlocks];
      PITH_UNROLL for (size_t b = 0; b < kBlocks; ++b) {
        const size_t word = (size_t{blocks[b]} * codes.num_groups + g) * 8;
        const Pairs words = LoadPairs(reinterpret_cast<const std::byte*>(codes.words + word));
        low[b] = LowNibbles(words);
        high[b] = LowNibbles(ShiftWords<4>(words));
      }
      PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
        const int8_t* q = queries[r].codes + size_t{g} * 8;
        const Pairs q_low = BroadcastBytes(q), q_high = BroadcastBytes(q + 4);
        PITH_UNROLL for (size_t b = 0; b < kBlocks; ++b) {
          sums16[r][b] = MulBytesAdd(low[b], q_low, sums16[r][b]);
          sums16[r][b] = MulBytesAdd(high[b], q_high, sums16[r][b]);
        }
      }
    }
    const Pairs ones = BroadcastInt(1 << 16 | 1);
    PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
      PITH_UNROLL for (size_t b = 0; b < kBlocks; ++b) {
        sums[r][b] = MulPairsAdd(sums16[r][b], ones, sums[r][b]);
      }
    }
  }
  PITH_UNROLL for (size_t b = 0; b < kBlocks; ++b) {
    const F16* sides = codes.sides + size_t{blocks[b]} * 16;
    const Octet scales = LoadOctet(sides), minima = LoadOctet(sides + 8);
    PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
      const Octet sum = Mul(ToFloat(sums[r][b]), Broadcast(queries[r].step));
      StoreOctet(MulAdd(minima, Broadcast(queries[r].sum), Mul(sum, scales)), out[r] + b * 8);
    }
  }
}

void ScoreBlocks(const CodeBlocks& codes, std::span<const uint32_t> blocks,
                 std::span<const CodedQuery> queries, float* scores, size_t stride) {
  for (size_t j = 0; j < blocks.size(); j += 2) {
    for (size_t first = 0; first < queries.size(); first += 4) {
      float* out[4];
      const size_t count = std::min<size_t>(4, queries.size() - first);
      for (size_t r = 0; r < count; ++r) out[r] = scores + (first + r) * stride + j * 8;
      WithRows<4>(count, [&](auto rows) PITH_INLINE_LAMBDA {
        if (j + 1 < blocks.size()) {
          BlockScores<rows, 2>(codes, &blocks[j], &queries[first], out);
        } else {
          BlockScores<rows, 1>(codes, &blocks[j], &queries[first], out);
        }
      });
    }
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
  const auto grow = [](auto& values, size_t size) {
    if (size > values.capacity()) values.reserve(size + size / 8);
    if (size > values.size()) values.resize(size);
  };
  grow(words_, blocks * num_groups_ * 8);
  grow(sides_, blocks * 16);
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
  sides_[SideOffset(entry, false)] = scale;
  sides_[SideOffset(entry, true)] = minimum;
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
    words_[WordOffset(entry, g)] = word;
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
  ({words_.data(), sides_.data(), num_groups_}, blocks, coded, scores, stride);
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
  const uint32_t word = words_[WordOffset(entry, index / 8)];
  const uint32_t code = word >> ShiftOf(index) & 15;
  return F32FromF16(sides_[SideOffset(entry, true)]) +
         static_cast<float>(code) * F32FromF16(sides_[SideOffset(entry, false)]);
}

}  // namespace pith
#endif  // HWY_ONCE
