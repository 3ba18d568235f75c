// The largest of many numbers, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/top.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
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

// The greatest of what look(i) makes of the octets at i.
template <class Look>
HWY_INLINE float Greatest(size_t size, const Look& look) {
  Octet highest = Broadcast(-HUGE_VALF);
  for (size_t i = 0; i < size; i += 8) highest = Max(highest, look(i));
  return MaxLane(highest);
}

// The sum of the octets weigh(i), of which f32 sees no more than a few numbers at a time.
template <class Weigh>
HWY_INLINE double SumOfWeights(size_t size, const Weigh& weigh) {
  double sum = 0;
  for (size_t first = 0; first < size; first += 128) {
    Octet part = Broadcast(0.0f);
    const size_t end = std::min(size, first + 128);
    for (size_t i = first; i < end; i += 8) part = Add(part, weigh(i));
    sum += double{SumLanes(part)};
  }
  return sum;
}

// In place; returns the sum.
double Weigh(std::span<float> scores) {
  const auto look = [&](size_t i) { return LoadOctet(scores.data() + i); };
  const float greatest = Greatest(scores.size(), look);
  if (greatest == -HUGE_VALF) {
    std::ranges::fill(scores, 0.0f);
    return 0;
  }
  const Octet offset = Broadcast(greatest);
  return SumOfWeights(scores.size(), [&](size_t i) {
    const Octet weight = Exp2(Sub(look(i), offset));
    StoreOctet(weight, scores.data() + i);
    return weight;
  });
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
  for (size_t i = 0; i < weights.size(); i += 8) {
    const Octet v = LoadOctet(weights.data() + i);
    uint32_t bits = BitsOf([&](size_t part) {
      return hn::And(hn::Ge(v.part[part], low), hn::Lt(v.part[part], high));
    });
    for (; bits != 0; bits &= bits - 1)
      *out++ = weights[i + static_cast<size_t>(std::countr_zero(bits))];
  }
}

// Infinite ones, of which nothing is known, become those of no weight.
HWY_INLINE Octet Known(Octet v) {
  const auto infinite = hn::Set(OctetTag(), HUGE_VALF);
  const auto none = hn::Set(OctetTag(), -HUGE_VALF);
  PITH_UNROLL for (auto& part : v.part) {
    part = hn::IfThenElse(hn::Eq(part, infinite), none, part);
  }
  return v;
}

// In place: less the logarithm of their sum as weights, they are the logarithms of softmax weights.
// An infinite one stays what it is, and does not count in the sum.
void TakeLogSoftmax(std::span<float> scores) {
  const auto look = [&](size_t i) { return Known(LoadOctet(scores.data() + i)); };
  const float greatest = Greatest(scores.size(), look);
  if (greatest == -HUGE_VALF) return;
  const Octet offset = Broadcast(greatest);
  const double sum =
      SumOfWeights(scores.size(), [&](size_t i) { return Exp2(Sub(look(i), offset)); });
  const Octet total = Broadcast(greatest + static_cast<float>(std::log2(sum)));
  for (size_t i = 0; i < scores.size(); i += 8) {
    StoreOctet(Sub(LoadOctet(scores.data() + i), total), scores.data() + i);
  }
}

// Each becomes the greater of itself and its counterpart.
void TakeGreater(std::span<float> scores, const float* others) {
  for (size_t i = 0; i < scores.size(); i += 8) {
    StoreOctet(Max(LoadOctet(scores.data() + i), LoadOctet(others + i)), scores.data() + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
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
HWY_EXPORT(TakeLogSoftmax);
HWY_EXPORT(TakeGreater);

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

// The bits of a threshold, which for positive numbers are in the order of the numbers: the weights
// that reach `low` come to what is wanted, if any do; those that reach `high` do not.
struct Bracket {
  uint32_t low, high;
  Reached at_low, at_high;
  size_t num_between() const { return at_low.count - at_high.count; }
};

// Bisection, until no more than `few` lie between. What reaches `high` at first may be missing
// among the weights: it is in `aside`.
void Narrow(std::span<const float> weights, Reached aside, double wanted, size_t few,
            Bracket* bracket) {
  while (bracket->high - bracket->low > 1 && bracket->num_between() > few) {
    const uint32_t middle = bracket->low + (bracket->high - bracket->low) / 2;
    Reached reached = aside;
    HWY_DYNAMIC_DISPATCH(SumAtLeast)(weights, std::bit_cast<float>(middle), &reached);
    const bool enough = reached.sum >= wanted;
    (enough ? bracket->low : bracket->high) = middle;
    (enough ? bracket->at_low : bracket->at_high) = reached;
  }
}

// Those between, and zeros up to a whole octet.
void KeepBetween(std::span<const float> weights, const Bracket& bracket, std::vector<float>* out) {
  out->assign((bracket.num_between() + 7) / 8 * 8, 0.0f);
  HWY_DYNAMIC_DISPATCH(TakeBetween)
  (weights, std::bit_cast<float>(bracket.low), std::bit_cast<float>(bracket.high), out->data());
}

// The least of the fewest largest of `weights` whose sum is a share of theirs, `sum`; and what they
// sum up to, with those equal to it.
TopShare FindThreshold(std::span<const float> weights, double share, double sum,
                       TopScratch* scratch) {
  constexpr size_t kFew = 64;
  constexpr float kLeast = 0x1p-125f;  // no weight is less, but for zeros
  const double wanted = share * sum;
  // So many that none weighs more than this come to half of what may be left out.
  const double light = (1 - share) * sum / (2 * static_cast<double>(weights.size()));
  Bracket bracket{std::bit_cast<uint32_t>(std::max(kLeast, static_cast<float>(light))),
                  std::bit_cast<uint32_t>(1.0f) + 1,
                  {},
                  {}};
  const auto reach_low = [&] {
    bracket.at_low = {};
    HWY_DYNAMIC_DISPATCH(SumAtLeast)
    (weights, std::bit_cast<float>(bracket.low), &bracket.at_low);
  };
  reach_low();
  if (bracket.at_low.sum < wanted) {  // the sums are rounded, and the share is all but one
    bracket.low = std::bit_cast<uint32_t>(kLeast);
    reach_low();
  }
  Narrow(weights, {}, wanted, std::max(kFew, weights.size() / 32), &bracket);
  KeepBetween(weights, bracket, &scratch->some);
  const Reached aside = bracket.at_high;
  Narrow(scratch->some, aside, wanted, kFew, &bracket);
  KeepBetween(scratch->some, bracket, &scratch->few);
  std::ranges::sort(scratch->few, std::greater<>());
  TopShare top{std::bit_cast<float>(bracket.low), bracket.at_high.sum};
  for (const float weight : std::span(scratch->few).first(bracket.num_between())) {
    if (top.kept >= wanted && weight != top.threshold) break;
    top.threshold = weight;
    top.kept += double{weight};
  }
  return top;
}

}  // namespace

void JoinAsSoftmax(std::span<float> scores, size_t num_rows) {
  PITH_CHECK(num_rows > 0 && scores.size() % (8 * num_rows) == 0);
  if (num_rows == 1) return;
  const size_t stride = scores.size() / num_rows;
  const std::span<float> joint = scores.first(stride);
  HWY_DYNAMIC_DISPATCH(TakeLogSoftmax)(joint);
  for (size_t row = 1; row < num_rows; ++row) {
    const std::span<float> own = scores.subspan(row * stride, stride);
    HWY_DYNAMIC_DISPATCH(TakeLogSoftmax)(own);
    HWY_DYNAMIC_DISPATCH(TakeGreater)(joint, own.data());
  }
}

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
  TopShare top = FindThreshold(scores, share, sum, scratch);
  HWY_DYNAMIC_DISPATCH(MarkAtLeast)(scores, top.threshold, chosen.data());
  top.kept /= sum;
  return top;
}

}  // namespace pith
#endif  // HWY_ONCE
