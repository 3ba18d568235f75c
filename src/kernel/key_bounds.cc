// Bounds of keys, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/key_bounds.cc"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "kernel/key_bounds.h"
#include "kernel/pairs-inl.h"

#ifndef PITH_KERNEL_KEY_BOUNDS_QUERY_
#define PITH_KERNEL_KEY_BOUNDS_QUERY_
namespace pith {

// A query in 7 bits and a sign, rounded upward: number <= code * step.
struct BoundQuery {
  const int8_t* above = nullptr;  // [groups * 4]: the part above zero, which meets the greatest
  const int8_t* below = nullptr;  // likewise below zero, with the least
  float step = 0;                 // times the scale of the scores
  float sum = 0;                  // of the numbers themselves, times that scale
};

}  // namespace pith
#endif

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

// Eight pages each of kOctets blocks under kRows queries. The processor does not look as far ahead
// as the next blocks.
template <size_t kRows, size_t kOctets>
HWY_INLINE void PageScores(const std::byte* blocks, size_t block_bytes, uint32_t num_groups,
                           const BoundQuery* queries, float* const* out) {
  Pairs sums[kRows][kOctets];
  PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
    PITH_UNROLL for (size_t o = 0; o < kOctets; ++o) sums[r][o] = BroadcastInt(0);
  }
  const Pairs ones = BroadcastInt(1 << 16 | 1), zero = BroadcastInt(0);
  for (uint32_t g = 0; g < num_groups; ++g) {
    Pairs greatest[kOctets], least[kOctets];
    PITH_UNROLL for (size_t o = 0; o < kOctets; ++o) {
      const std::byte* codes = blocks + o * block_bytes + size_t{g} * 64;
      hwy::Prefetch(codes + kOctets * block_bytes);
      greatest[o] = LoadPairs(codes);
      least[o] = LoadPairs(codes + 32);
    }
    PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
      const Pairs above = BroadcastBytes(queries[r].above + size_t{g} * 4);
      const Pairs below = BroadcastBytes(queries[r].below + size_t{g} * 4);
      PITH_UNROLL for (size_t o = 0; o < kOctets; ++o) {
        // Two products of 127 and 127 of either sign fit 16 bits.
        const Pairs sum16 = MulBytesAdd(least[o], below, MulBytesAdd(greatest[o], above, zero));
        sums[r][o] = MulPairsAdd(sum16, ones, sums[r][o]);
      }
    }
  }
  PITH_UNROLL for (size_t o = 0; o < kOctets; ++o) {
    const auto* sides =
        reinterpret_cast<const F16*>(blocks + o * block_bytes + size_t{num_groups} * 64);
    const Octet scales = LoadOctet(sides), bases = LoadOctet(sides + 8);
    PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
      const Octet sum = Mul(ToFloat(sums[r][o]), Broadcast(queries[r].step));
      Octet score = MulAdd(bases, Broadcast(queries[r].sum), Mul(sum, scales));
      // An infinite scale, and zero times it is no number: nothing is known.
      PITH_UNROLL for (auto& v : score.part) {
        v = hn::IfThenElse(hn::Eq(v, v), v, hn::Set(OctetTag(), HUGE_VALF));
      }
      StoreOctet(score, out[r] + o * 8);
    }
  }
}

void ScorePages(const std::byte* blocks, uint64_t num_blocks, uint32_t num_groups,
                std::span<const BoundQuery> queries, float* scores, size_t stride) {
  const size_t block_bytes = size_t{num_groups} * 64 + 32;
  for (uint64_t o = 0; o < num_blocks; o += 2) {
    float* out[4];
    for (size_t first = 0; first < queries.size(); first += 4) {
      const size_t count = std::min<size_t>(4, queries.size() - first);
      for (size_t r = 0; r < count; ++r) out[r] = scores + (first + r) * stride + o * 8;
      WithRows<4>(count, [&](auto rows) PITH_INLINE_LAMBDA {
        const std::byte* pair = blocks + o * block_bytes;
        if (o + 1 < num_blocks) {
          PageScores<rows, 2>(pair, block_bytes, num_groups, &queries[first], out);
        } else {
          PageScores<rows, 1>(pair, block_bytes, num_groups, &queries[first], out);
        }
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <limits>
#include <numeric>

#include "base/check.h"
#include "simd/half.h"

namespace pith {
namespace {

constexpr double kMaxCode = 127;

// The nearest F16 that is not below; infinity above the greatest one.
F16 RoundUp(float value) {
  F16 half = F16FromF32(value);
  if (F32FromF16(half) >= value || std::isnan(value)) return half;
  const bool negative = (half.bits & 0x8000u) != 0;  // then up is towards zero
  return {static_cast<uint16_t>(negative ? half.bits - 1 : half.bits + 1)};
}

F16 RoundDown(float value) { return {static_cast<uint16_t>(RoundUp(-value).bits ^ 0x8000u)}; }

}  // namespace

HWY_EXPORT(ScorePages);

KeyBounds::KeyBounds(uint32_t dim, uint32_t page)
    : dim_(dim), page_(page), num_groups_((dim + 3) / 4) {}

void KeyBounds::Truncate(uint64_t size) {
  if (size < num_entries_) num_entries_ = size / page_ * page_;
}

void KeyBounds::Append(const float* rows, uint64_t count) {
  const uint64_t end = num_entries_ + count;
  open_.resize(size_t{dim_} * 2);
  const size_t size = ((end + page_ - 1) / page_ + 7) / 8 * block_bytes();
  if (size > blocks_.capacity()) blocks_.reserve(size + size / 8);
  if (size > blocks_.size()) blocks_.resize(size);
  for (; num_entries_ < end; ++num_entries_, rows += dim_) {
    const bool first = num_entries_ % page_ == 0;
    float* const greatest = open_.data();
    float* const least = greatest + dim_;
    for (uint32_t c = 0; c < dim_; ++c) {
      const bool unknown = first || std::isnan(rows[c]);  // and no number takes its place
      if (unknown || rows[c] > greatest[c]) greatest[c] = rows[c];
      if (unknown || rows[c] < least[c]) least[c] = rows[c];
    }
    const uint64_t next = num_entries_ + 1;
    if (next % page_ == 0 || next == end) StorePage(num_entries_ / page_);
  }
}

void KeyBounds::StorePage(uint64_t page) {
  const std::span<const float> greatest = std::span(open_).first(dim_);
  const std::span<const float> least = std::span(open_).last(dim_);
  const F16 base = RoundDown(*std::ranges::min_element(least));
  const double offset = F32FromF16(base);
  const double spread = double{*std::ranges::max_element(greatest)} - offset;
  F16 scale = RoundUp(static_cast<float>(spread / kMaxCode));
  // The division may have been rounded down.
  if (kMaxCode * F32FromF16(scale) < spread)
    scale = RoundUp(std::nextafter(F32FromF16(scale), HUGE_VALF));
  const double step = F32FromF16(scale);
  const double all = std::accumulate(open_.begin(), open_.end(), 0.0);
  const bool known = std::isfinite(step) && std::isfinite(offset) && std::isfinite(all);
  const auto code = [&](float number, bool up) {
    if (!known || step == 0) return 0.0;
    const double exact = (number - offset) / step;
    double nearest = up ? std::ceil(exact) : std::floor(exact);
    if (up && offset + nearest * step < number) ++nearest;
    if (!up && offset + nearest * step > number) --nearest;
    return std::clamp(nearest, 0.0, kMaxCode);
  };
  for (uint32_t c = 0; c < dim_; ++c) {
    blocks_[CodeOffset(page, c, false)] = static_cast<std::byte>(code(greatest[c], true));
    blocks_[CodeOffset(page, c, true)] = static_cast<std::byte>(code(least[c], false));
  }
  const F16 unknown = F16FromF32(HUGE_VALF);
  const F16 sides[] = {known ? scale : unknown, known ? base : F16{}};
  std::memcpy(&blocks_[SideOffset(page, false)], &sides[0], sizeof(F16));
  std::memcpy(&blocks_[SideOffset(page, true)], &sides[1], sizeof(F16));
}

void KeyBounds::Score(std::span<const float* const> queries, float scale, float* scores,
                      size_t stride) const {
  PITH_CHECK(stride >= padded_pages());
  const size_t padded = size_t{num_groups_} * 4;
  std::vector<int8_t> codes(queries.size() * padded * 2, 0);
  std::vector<BoundQuery> coded(queries.size());
  for (size_t r = 0; r < queries.size(); ++r) {
    int8_t* const above = codes.data() + r * padded * 2;
    int8_t* const below = above + padded;
    float most = 0;
    double sum = 0;
    for (uint32_t c = 0; c < dim_; ++c) {
      most = std::max(most, std::abs(queries[r][c]));
      sum += double{queries[r][c]};
    }
    const double factor = most > 0 ? kMaxCode / double{most} : 0;
    for (uint32_t c = 0; c < dim_; ++c) {
      const double code = std::ceil(queries[r][c] * factor);
      (code > 0 ? above : below)[c] = static_cast<int8_t>(std::clamp(code, -kMaxCode, kMaxCode));
    }
    const double step = double{most} / kMaxCode;
    coded[r] = {above, below, static_cast<float>(step * scale), static_cast<float>(sum * scale)};
  }
  HWY_DYNAMIC_DISPATCH(ScorePages)
  (blocks_.data(), padded_pages() / 8, num_groups_, coded, scores, stride);
  for (size_t r = 0; r < queries.size(); ++r) {
    std::fill(scores + r * stride + num_pages(), scores + r * stride + padded_pages(), -HUGE_VALF);
  }
}

float KeyBounds::Side(uint64_t page, bool base) const {
  F16 side;
  std::memcpy(&side, &blocks_[SideOffset(page, base)], sizeof(side));
  return F32FromF16(side);
}

float KeyBounds::Scale(uint64_t page) const { return Side(page, false); }

float KeyBounds::Decoded(uint64_t page, uint32_t channel, bool least) const {
  const float scale = Side(page, false);
  if (std::isinf(scale)) return least ? -scale : scale;
  const auto code = static_cast<float>(blocks_[CodeOffset(page, channel, least)]);
  return Side(page, true) + code * scale;
}

}  // namespace pith
#endif  // HWY_ONCE
