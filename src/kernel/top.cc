// The largest of many numbers, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/top.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "kernel/octet-inl.h"
#include "kernel/top.h"

#ifndef PITH_KERNEL_TOP_REACHED_
#define PITH_KERNEL_TOP_REACHED_
namespace pith {

// The sum of those that reach a bound, and how many they are.
struct Reached {
  double sum = 0;
  size_t count = 0;
};

}  // namespace pith
#endif

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

using IntTag = hn::RebindToSigned<OctetTag>;

// The bits of f32 as integers in the order of the numbers.
void Order(std::span<const float> values, int32_t* out) {
  for (size_t i = 0; i < values.size(); i += kOctetLanes) {
    const auto positive_zero =
        hn::Add(hn::LoadU(OctetTag(), values.data() + i), hn::Zero(OctetTag()));
    const auto bits = hn::BitCast(IntTag(), positive_zero);
    const auto flip = hn::And(hn::ShiftRight<31>(bits), hn::Set(IntTag(), 0x7FFFFFFF));
    hn::StoreU(hn::Xor(bits, flip), IntTag(), out + i);
  }
}

size_t CountAtLeast(std::span<const int32_t> values, int32_t least) {
  auto counts = hn::Zero(IntTag());
  const auto bound = hn::Set(IntTag(), least);
  for (size_t i = 0; i < values.size(); i += kOctetLanes) {
    const auto below = hn::Lt(hn::LoadU(IntTag(), values.data() + i), bound);
    counts = hn::Sub(counts, hn::VecFromMask(IntTag(), below));
  }
  int32_t lanes[hn::MaxLanes(IntTag())];
  hn::StoreU(counts, IntTag(), lanes);
  size_t below = 0;
  for (const int32_t lane : lanes) below += static_cast<size_t>(lane);
  return values.size() - below;
}

// Eight bits for eight lanes.
template <class Mask>
HWY_INLINE uint8_t BitsOf(const Mask& lanes_of_part) {
  uint32_t bits = 0;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    uint8_t part[8] = {};
    hn::StoreMaskBits(OctetTag(), lanes_of_part(i), part);
    bits |= static_cast<uint32_t>(part[0]) << (i * kOctetLanes);
  }
  return static_cast<uint8_t>(bits);
}

void MarkAtLeastInts(std::span<const int32_t> values, int32_t least, uint8_t* chosen) {
  const auto bound = hn::Set(IntTag(), least);
  for (size_t i = 0; i < values.size(); i += 8) {
    chosen[i / 8] |= BitsOf([&](size_t part) {
      const auto v = hn::LoadU(IntTag(), values.data() + i + part * kOctetLanes);
      return hn::RebindMask(OctetTag(), hn::Not(hn::Lt(v, bound)));
    });
  }
}

void MarkAtLeast(std::span<const float> values, float least, uint8_t* chosen) {
  const auto bound = hn::Set(OctetTag(), least);
  for (size_t i = 0; i < values.size(); i += 8) {
    const Octet v = LoadOctet(values.data() + i);
    chosen[i / 8] |= BitsOf([&](size_t part) { return hn::Ge(v.part[part], bound); });
  }
}

// In place; returns the sum, of which f32 sees no more than a few numbers at a time.
double Weigh(std::span<float> scores) {
  Octet highest = Broadcast(-HUGE_VALF);
  for (size_t i = 0; i < scores.size(); i += 8) {
    highest = Max(highest, LoadOctet(scores.data() + i));
  }
  const float greatest = MaxLane(highest);
  if (greatest == -HUGE_VALF) {
    std::ranges::fill(scores, 0.0f);
    return 0;
  }
  const Octet offset = Broadcast(greatest);
  double sum = 0;
  for (size_t first = 0; first < scores.size(); first += 128) {
    Octet part = Broadcast(0.0f);
    const size_t end = std::min(scores.size(), first + 128);
    for (size_t i = first; i < end; i += 8) {
      const Octet weight = Exp2(Sub(LoadOctet(scores.data() + i), offset));
      StoreOctet(weight, scores.data() + i);
      part = Add(part, weight);
    }
    sum += double{SumLanes(part)};
  }
  return sum;
}

void SumAtLeast(std::span<const float> weights, float least, Reached* reached) {
  const auto bound = hn::Set(OctetTag(), least);
  auto count = hn::Zero(IntTag());
  for (size_t first = 0; first < weights.size(); first += 128) {
    Octet part = Broadcast(0.0f);
    const size_t end = std::min(weights.size(), first + 128);
    for (size_t i = first; i < end; i += 8) {
      const Octet v = LoadOctet(weights.data() + i);
      PITH_UNROLL for (size_t j = 0; j < kOctetParts; ++j) {
        const auto heavy = hn::Ge(v.part[j], bound);
        part.part[j] = hn::Add(part.part[j], hn::IfThenElseZero(heavy, v.part[j]));
        count = hn::Sub(count, hn::BitCast(IntTag(), hn::VecFromMask(OctetTag(), heavy)));
      }
    }
    reached->sum += double{SumLanes(part)};
  }
  int32_t lanes[hn::MaxLanes(IntTag())];
  hn::StoreU(count, IntTag(), lanes);
  for (const int32_t lane : lanes) reached->count += static_cast<size_t>(lane);
}

// Copies those in [least, end), of which there are few, in their order.
void TakeBetween(std::span<const float> weights, float least, float end, float* out) {
  const auto low = hn::Set(OctetTag(), least), high = hn::Set(OctetTag(), end);
  for (size_t i = 0; i < weights.size(); i += kOctetLanes) {
    const auto v = hn::LoadU(OctetTag(), weights.data() + i);
    if (hn::AllFalse(OctetTag(), hn::And(hn::Ge(v, low), hn::Lt(v, high)))) continue;
    for (const float weight : weights.subspan(i, kOctetLanes)) {
      if (weight >= least && weight < end) *out++ = weight;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <bit>
#include <functional>
#include <limits>

#include "base/check.h"

namespace pith {

HWY_EXPORT(Order);
HWY_EXPORT(CountAtLeast);
HWY_EXPORT(MarkAtLeast);
HWY_EXPORT(MarkAtLeastInts);
HWY_EXPORT(Weigh);
HWY_EXPORT(SumAtLeast);
HWY_EXPORT(TakeBetween);

namespace {

struct Bound {
  int32_t value;
  size_t reached;  // by so many values
};

// The greatest bound that at least `count` values reach, or, sooner, one that exactly so many do.
Bound BoundFor(std::span<const int32_t> values, size_t count) {
  constexpr int64_t kEnd = int64_t{1} << 31;
  Bound bound{std::numeric_limits<int32_t>::min(), values.size()};
  for (int64_t high = kEnd; bound.reached > count && high - bound.value > 1;) {
    const auto middle = static_cast<int32_t>(bound.value + (high - bound.value) / 2);
    const size_t reached = HWY_DYNAMIC_DISPATCH(CountAtLeast)(values, middle);
    if (reached >= count) {
      bound = {middle, reached};
    } else {
      high = middle;
    }
  }
  return bound;
}

}  // namespace

void ChooseLargest(std::span<const float> values, size_t count, TopScratch* scratch,
                   ChosenBits chosen) {
  PITH_CHECK(values.size() % 8 == 0 && chosen.size() * 8 >= values.size());
  if (count == 0) return;
  std::vector<int32_t>& ordered = scratch->ordered;
  ordered.resize(values.size());
  HWY_DYNAMIC_DISPATCH(Order)(values, ordered.data());
  const Bound bound = BoundFor(ordered, count);
  if (bound.reached <= count) {
    HWY_DYNAMIC_DISPATCH(MarkAtLeastInts)(ordered, bound.value, chosen.data());
    return;
  }
  // The bound is a value that several have.
  const int32_t above = bound.value + 1;
  HWY_DYNAMIC_DISPATCH(MarkAtLeastInts)(ordered, above, chosen.data());
  size_t ties = count - HWY_DYNAMIC_DISPATCH(CountAtLeast)(ordered, above);
  for (size_t i = 0; ties > 0; ++i) {
    if (ordered[i] != bound.value) continue;
    chosen[i / 8] = static_cast<uint8_t>(chosen[i / 8] | 1u << i % 8);
    --ties;
  }
}

namespace {

// The least of the fewest largest of `weights` whose sum is `wanted`, or of all if they never come
// to it; and what they sum up to, with those equal to it. Bisection on the bits of the threshold,
// which for positive numbers are in the order of the numbers, until few lie between the bounds.
TopShare FindThreshold(std::span<const float> weights, double wanted, std::vector<float>* few) {
  constexpr size_t kFew = 64;
  constexpr float kLeast = 1e-37f;  // no weight is less, but for zeros
  auto low = std::bit_cast<uint32_t>(kLeast), high = std::bit_cast<uint32_t>(1.0f) + 1;
  Reached at_low, at_high;
  HWY_DYNAMIC_DISPATCH(SumAtLeast)(weights, kLeast, &at_low);
  while (high - low > 1 && at_low.count - at_high.count > kFew) {
    const uint32_t middle = low + (high - low) / 2;
    Reached reached;
    HWY_DYNAMIC_DISPATCH(SumAtLeast)(weights, std::bit_cast<float>(middle), &reached);
    const bool enough = reached.sum >= wanted;
    (enough ? low : high) = middle;
    (enough ? at_low : at_high) = reached;
  }
  few->resize(at_low.count - at_high.count);
  HWY_DYNAMIC_DISPATCH(TakeBetween)
  (weights, std::bit_cast<float>(low), std::bit_cast<float>(high), few->data());
  std::ranges::sort(*few, std::greater<>());
  TopShare top{std::bit_cast<float>(low), at_high.sum};
  for (const float weight : *few) {
    if (top.kept >= wanted && weight != top.threshold) break;
    top.threshold = weight;
    top.kept += double{weight};
  }
  return top;
}

}  // namespace

TopShare ChooseShare(std::span<float> scores, double share, TopScratch* scratch,
                     ChosenBits chosen) {
  PITH_CHECK(scores.size() % 8 == 0 && chosen.size() * 8 >= scores.size());
  PITH_CHECK(share > 0 && share <= 1);
  if (share == 1) {
    const float lowest = std::numeric_limits<float>::lowest();
    HWY_DYNAMIC_DISPATCH(MarkAtLeast)(scores, lowest, chosen.data());
    HWY_DYNAMIC_DISPATCH(Weigh)(scores);
    return {0, 1};
  }
  const double sum = HWY_DYNAMIC_DISPATCH(Weigh)(scores);
  if (sum == 0) return {};
  TopShare top = FindThreshold(scores, share * sum, &scratch->few);
  HWY_DYNAMIC_DISPATCH(MarkAtLeast)(scores, top.threshold, chosen.data());
  top.kept /= sum;
  return top;
}

}  // namespace pith
#endif  // HWY_ONCE
