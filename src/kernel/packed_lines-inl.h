// Queries and weights of an item's lines as integers, for pages of codes that are read directly.
// Include after hwy/foreach_target.h.

#if defined(PITH_KERNEL_PACKED_LINES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_KERNEL_PACKED_LINES_INL_H_
#undef PITH_KERNEL_PACKED_LINES_INL_H_
#else
#define PITH_KERNEL_PACKED_LINES_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernel/attend_layout.h"
#include "kernel/packed-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

HWY_INLINE Octet MaxMagnitude(const Octet& v, const Octet& largest) {
  Octet r;
  PITH_UNROLL for (size_t i = 0; i < kOctetParts; ++i) {
    r.part[i] = hn::Max(largest.part[i], hn::Abs(v.part[i]));
  }
  return r;
}

// What numbers up to `largest` are divided by to become 16-bit integers, and what they are
// multiplied with. Numbers that are all next to nothing become zeros.
struct IntScale {
  explicit IntScale(const Octet& largest)
      : scale(MaxLane(largest) / 32767.0f), inverse(scale > 1e-34f ? 1.0f / scale : 0.0f) {}
  float scale, inverse;
};

class PackedLines {
 public:
  explicit PackedLines(float* area) {
    const auto take = [&area](size_t floats) {
      float* const at = area;
      area += floats;
      return at;
    };
    queries_ = take(size_t{kDirectLines} * kMaxDim);
    weights_ = take(size_t{kDirectLines} * kWeightEntries);
    scales_ = take(kWeightEntries);
    minima_ = take(kWeightEntries);
    int_queries_ = reinterpret_cast<int16_t*>(take(size_t{kDirectLines} * kMaxDim / 2));
    int_weights_ = reinterpret_cast<int16_t*>(take(size_t{kDirectLines} * kWeightEntries / 2));
    query_zeros_ = reinterpret_cast<int32_t*>(take(size_t{kDirectLines} * kMaxKeyGroups));
    query_scales_ = take(kDirectLines);
    query_biases_ = take(kDirectLines);
    weight_zeros_ = reinterpret_cast<int32_t*>(take(kDirectLines));
    weight_scales_ = take(kDirectLines);
    weight_biases_ = take(kDirectLines);
  }

  // Room for a line's query, scaled; zeros follow up to a whole cell.
  float* query(uint32_t line) { return queries_ + size_t{line} * kMaxDim; }

  // After queries have changed, which have so many numbers now.
  void ForgetQueries(uint32_t key_dim) {
    key_dim_ = static_cast<uint32_t>(RoundUp(key_dim, kCellChannels));
    made_for_ = nullptr;
  }
  // Makes integers of the queries, unless those for the last page are right for this one as well.
  void PrepareQueries(const PackedSide& keys, uint32_t num_lines) {
    const void* const made_for = keys.layout.per_channel ? static_cast<const void*>(keys.header)
                                                         : static_cast<const void*>(&keys.packing);
    if (made_for == made_for_) return;
    made_for_ = made_for;
    for (uint32_t l = 0; l < num_lines; ++l) {
      if (keys.layout.per_channel) {
        FoldQuery(keys, l);
      } else {
        RoundQuery(keys, l);
      }
    }
  }
  PackedQueries queries(uint32_t first_line) const {
    return {int_queries_ + size_t{first_line} * kMaxDim,
            query_zeros_ + size_t{first_line} * kMaxKeyGroups, query_scales_ + first_line,
            query_biases_ + first_line};
  }

  // The line's weights, of the entries from `lead` on in the first block; others of these blocks
  // are zero.
  void SetWeights(uint32_t line, uint32_t blocks, uint32_t lead, const float* weights,
                  uint32_t count) {
    float* const to = weights_ + size_t{line} * kWeightEntries;
    std::fill_n(to, lead, 0.0f);
    std::copy_n(weights, count, to + lead);
    std::fill(to + lead + count, to + size_t{blocks} * kBlockEntries, 0.0f);
  }

  // Scales and minima of the entries [begin, end), counted from the first block.
  void LoadScales(const PackedSide& values, uint32_t group, uint32_t begin, uint32_t end) {
    LoadSide(values, group, begin, end, &PackedSide::Scales, scales_);
    if (values.packing.affine) {
      LoadSide(values, group, begin, end, &PackedSide::Minima, minima_);
    }
  }

  // Makes integers of weight * scale for the group that LoadScales() was called for.
  void PrepareWeights(const PackedSide& values, uint32_t line, uint32_t blocks) {
    const float* const weights = weights_ + size_t{line} * kWeightEntries;
    int16_t* const numbers = int_weights_ + size_t{line} * kWeightEntries;
    const auto product = [&](uint32_t block) {
      return Mul(LoadOctet(weights + block * 8), LoadOctet(scales_ + block * 8));
    };
    Octet largest = Broadcast(0.0f);
    for (uint32_t b = 0; b < blocks; ++b) largest = MaxMagnitude(product(b), largest);
    const IntScale scale(largest);
    const Octet inverse = Broadcast(scale.inverse);
    Pairs sum = BroadcastInt(0);
    for (uint32_t b = 0; b < blocks; ++b) {
      StoreRounded(Mul(product(b), inverse), numbers + b * 8, sum);
    }
    weight_scales_[line] = scale.scale;
    if (!values.packing.affine) {
      weight_zeros_[line] = -static_cast<int32_t>(values.packing.zero_code()) * SumLanes(sum);
      weight_biases_[line] = 0;
      return;
    }
    Octet bias = Broadcast(0.0f);
    for (uint32_t b = 0; b < blocks; ++b) {
      bias = MulAdd(LoadOctet(weights + b * 8), LoadOctet(minima_ + b * 8), bias);
    }
    weight_zeros_[line] = 0;
    weight_biases_[line] = SumLanes(bias);
  }
  PackedWeights weights(uint32_t first_line) const {
    return {int_weights_ + size_t{first_line} * kWeightEntries, weight_zeros_ + first_line,
            weight_scales_ + first_line, weight_biases_ + first_line};
  }

 private:
  void RoundQuery(const PackedSide& keys, uint32_t line) {
    const float* const query = queries_ + size_t{line} * kMaxDim;
    int16_t* const numbers = int_queries_ + size_t{line} * kMaxDim;
    Octet largest = Broadcast(0.0f);
    for (uint32_t c = 0; c < key_dim_; c += 8) {
      largest = MaxMagnitude(LoadOctet(query + c), largest);
    }
    const IntScale scale(largest);
    for (uint32_t g = 0; g < keys.layout.num_groups; ++g) {
      Pairs sum = BroadcastInt(0);
      for (uint32_t i = 0; i < keys.packing.channel_group; i += 8) {
        const uint32_t c = g * keys.packing.channel_group + i;
        StoreRounded(Mul(LoadOctet(query + c), Broadcast(scale.inverse)), numbers + c, sum);
      }
      query_zeros_[line * kMaxKeyGroups + g] =
          -static_cast<int32_t>(keys.packing.zero_code()) * SumLanes(sum);
    }
    query_scales_[line] = scale.scale;
  }

  // Scales become part of the query, minima part of the score.
  void FoldQuery(const PackedSide& keys, uint32_t line) {
    const float* const query = queries_ + size_t{line} * kMaxDim;
    int16_t* const numbers = int_queries_ + size_t{line} * kMaxDim;
    float folded[kMaxDim];
    Octet largest = Broadcast(0.0f), bias = Broadcast(0.0f);
    for (uint32_t c = 0; c < key_dim_; c += 8) {
      const Octet q = LoadOctet(query + c);
      const Octet product = Mul(q, LoadOctet(keys.ChannelScales() + c));
      StoreOctet(product, folded + c);
      largest = MaxMagnitude(product, largest);
      bias = MulAdd(q, LoadOctet(keys.ChannelMinima() + c), bias);
    }
    const IntScale scale(largest);
    Pairs unused = BroadcastInt(0);
    for (uint32_t c = 0; c < key_dim_; c += 8) {
      StoreRounded(Mul(LoadOctet(folded + c), Broadcast(scale.inverse)), numbers + c, unused);
    }
    query_scales_[line] = scale.scale;
    query_biases_[line] = SumLanes(bias);
  }

  // What lies outside [begin, end) may be anything in the page.
  static void LoadSide(const PackedSide& values, uint32_t group, uint32_t begin, uint32_t end,
                       const F16* (PackedSide::*side)(size_t, size_t) const, float* to) {
    const uint32_t blocks = (end + 7) / 8;
    for (uint32_t b = 0; b < blocks; ++b)
      StoreOctet(LoadOctet((values.*side)(b, group)), to + b * 8);
    std::fill(to, to + begin, 0.0f);
    std::fill(to + end, to + blocks * 8, 0.0f);
  }

  uint32_t key_dim_ = 0;            // whole cells
  float* queries_;                  // [line][kMaxDim]
  float* weights_;                  // [line][kWeightEntries]
  float* scales_;                   // [kWeightEntries]
  float* minima_;                   // [kWeightEntries]
  int16_t* int_queries_;            // [line][kMaxDim]
  int16_t* int_weights_;            // [line][kWeightEntries]
  int32_t* query_zeros_;            // [line][kMaxKeyGroups]
  float* query_scales_;             // [line]
  float* query_biases_;             // [line]
  int32_t* weight_zeros_;           // [line]
  float* weight_scales_;            // [line]
  float* weight_biases_;            // [line]
  const void* made_for_ = nullptr;  // page or packing that the integer queries are for
};

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#endif  // PITH_KERNEL_PACKED_LINES_INL_H_
