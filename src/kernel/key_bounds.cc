// Bounds of keys, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/key_bounds.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "kernel/key_bounds.h"
#include "kernel/octet-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

// Eight pages each of kOctets octets under kRows queries, whose parts above and below zero lie at
// parts[row][channel][2].
template <size_t kRows, size_t kOctets>
HWY_INLINE void PageScores(const F16* bounds, uint32_t dim, const float* parts, float* const* out) {
  Octet sums[kRows][kOctets];
  PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
    PITH_UNROLL for (size_t o = 0; o < kOctets; ++o) sums[r][o] = Broadcast(0.0f);
  }
  for (uint32_t c = 0; c < dim; ++c) {
    Octet greatest[kOctets], least[kOctets];
    PITH_UNROLL for (size_t o = 0; o < kOctets; ++o) {
      greatest[o] = LoadOctet(bounds + (o * dim + c) * 16);
      least[o] = LoadOctet(bounds + (o * dim + c) * 16 + 8);
    }
    PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
      const float* part = parts + (r * dim + c) * 2;
      const Octet above = Broadcast(part[0]), below = Broadcast(part[1]);
      PITH_UNROLL for (size_t o = 0; o < kOctets; ++o) {
        sums[r][o] = MulAdd(above, greatest[o], sums[r][o]);
        sums[r][o] = MulAdd(below, least[o], sums[r][o]);
      }
    }
  }
  // A bound that f16 cannot hold is infinite, and zero times it is no number: nothing is known.
  PITH_UNROLL for (size_t r = 0; r < kRows; ++r) {
    PITH_UNROLL for (size_t o = 0; o < kOctets; ++o) {
      PITH_UNROLL for (auto& v : sums[r][o].part) {
        v = hn::IfThenElse(hn::Eq(v, v), v, hn::Set(OctetTag(), HUGE_VALF));
      }
      StoreOctet(sums[r][o], out[r] + o * 8);
    }
  }
}

void ScorePages(const F16* bounds, uint64_t num_octets, uint32_t dim, size_t rows,
                const float* parts, float* scores, size_t stride) {
  for (uint64_t o = 0; o < num_octets; o += 2) {
    const F16* octets = bounds + o * dim * 16;
    float* out[4];
    for (size_t first = 0; first < rows; first += 4) {
      const size_t count = std::min<size_t>(4, rows - first);
      for (size_t r = 0; r < count; ++r) out[r] = scores + (first + r) * stride + o * 8;
      const float* own = parts + first * dim * 2;
      WithRows<4>(count, [&](auto tile_rows) {
        if (o + 1 < num_octets) {
          PageScores<tile_rows, 2>(octets, dim, own, out);
        } else {
          PageScores<tile_rows, 1>(octets, dim, own, out);
        }
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "base/check.h"
#include "simd/half.h"

namespace pith {
namespace {

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

void KeyBounds::Truncate(uint64_t size) {
  if (size < num_entries_) num_entries_ = size / page_ * page_;
}

void KeyBounds::Append(const float* rows, uint64_t count) {
  const uint64_t end = num_entries_ + count;
  const uint64_t octets = ((end + page_ - 1) / page_ + 7) / 8;
  const size_t size = octets * dim_ * 16;
  if (size > values_.capacity()) values_.reserve(size + size / 8);
  if (size > values_.size()) values_.resize(size);
  for (; num_entries_ < end; ++num_entries_, rows += dim_) {
    const uint64_t page = num_entries_ / page_;
    const bool first = num_entries_ % page_ == 0;
    for (uint32_t c = 0; c < dim_; ++c) {
      F16& greatest = values_[Offset(page, c, false)];
      F16& least = values_[Offset(page, c, true)];
      if (first || !(rows[c] <= F32FromF16(greatest))) greatest = RoundUp(rows[c]);
      if (first || !(rows[c] >= F32FromF16(least))) least = RoundDown(rows[c]);
    }
  }
}

void KeyBounds::Score(std::span<const float* const> queries, float* scores, size_t stride) const {
  PITH_CHECK(stride >= padded_pages());
  std::vector<float> parts(queries.size() * dim_ * 2);
  for (size_t r = 0; r < queries.size(); ++r) {
    for (uint32_t c = 0; c < dim_; ++c) {
      parts[(r * dim_ + c) * 2] = std::max(queries[r][c], 0.0f);
      parts[(r * dim_ + c) * 2 + 1] = std::min(queries[r][c], 0.0f);
    }
  }
  HWY_DYNAMIC_DISPATCH(ScorePages)
  (values_.data(), padded_pages() / 8, dim_, queries.size(), parts.data(), scores, stride);
  for (size_t r = 0; r < queries.size(); ++r) {
    std::fill(scores + r * stride + num_pages(), scores + r * stride + padded_pages(), -HUGE_VALF);
  }
}

float KeyBounds::Least(uint64_t page, uint32_t channel) const {
  return F32FromF16(values_[Offset(page, channel, true)]);
}

float KeyBounds::Greatest(uint64_t page, uint32_t channel) const {
  return F32FromF16(values_[Offset(page, channel, false)]);
}

}  // namespace pith
#endif  // HWY_ONCE
