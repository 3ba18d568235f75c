// The lines of a work item and what they have added up so far: what reading a range of entries and
// gathering runs have in common. Include after hwy/foreach_target.h.

#if defined(PITH_KERNEL_ITEM_LINES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_KERNEL_ITEM_LINES_INL_H_
#undef PITH_KERNEL_ITEM_LINES_INL_H_
#else
#define PITH_KERNEL_ITEM_LINES_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include "kernel/attend.h"
#include "kernel/attend_layout.h"
#include "kernel/rotate-inl.h"
#include "kernel/tile-inl.h"
#include "kernel/tile_walk.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

class ItemLines {
 protected:
  ItemLines(const AttendCall& call, const AttendPlan::Item& item, float* area)
      : call_(call),
        shape_(call.plan->shape()),
        item_(item),
        sequence_(call.sequences[item.sequence]),
        layout_(shape_.key_dim, shape_.value_dim),
        queries_(area + layout_.queries),
        outputs_(area + layout_.outputs),
        scores_(area + layout_.scores),
        sums_(area + layout_.sums),
        maxima_(area + layout_.maxima),
        factors_(area + layout_.factors),
        biases_(area + layout_.biases),
        norms_(area + layout_.norms),
        keys_(area + layout_.keys),
        values_(area + layout_.values),
        num_subs_((item.num_lines + kSubLines - 1) / kSubLines) {}

  // Lines are spread evenly over sub-tiles: 8 lines are 4 + 4, not 6 + 2.
  uint32_t SubBegin(uint32_t sub) const { return sub * item_.num_lines / num_subs_; }
  uint32_t SubLines(uint32_t sub) const { return SubBegin(sub + 1) - SubBegin(sub); }
  uint32_t Row(uint32_t line) const { return (item_.first_line + line) / shape_.group(); }
  uint32_t Head(uint32_t line) const {
    return item_.kv_head * shape_.group() + (item_.first_line + line) % shape_.group();
  }

  void Begin() {
    std::fill_n(outputs_, item_.num_lines * layout_.output_stride, 0.0f);
    std::fill_n(sums_, size_t{item_.num_lines} * 8, 0.0f);
    std::fill_n(maxima_, item_.num_lines, -std::numeric_limits<float>::max());
    oldest_row_ = std::numeric_limits<int64_t>::max();
    newest_row_ = std::numeric_limits<int64_t>::min();
    for (uint32_t row = Row(0); row <= Row(item_.num_lines - 1); ++row) {
      oldest_row_ = std::min<int64_t>(oldest_row_, sequence_.positions[row]);
      newest_row_ = std::max<int64_t>(newest_row_, sequence_.positions[row]);
    }
  }

  // Scaled, rotated where the keys are, and with the channels that these have. Read anew when pages
  // of keys begin to differ in that, which is seldom: sealed entries may be rotated or pruned, the
  // tail behind them is not. Then keep(line, query) is called for each of them, [key_dim_].
  template <class Keep>
  void LoadQueries(const PageView& keys, const Keep& keep) {
    const QueryKind kind{keys.rotated, keys.channels};
    if (query_kind_ == kind) return;
    query_kind_ = kind;
    key_dim_ = keys.shape.dim;
    has_biases_ = keys.channels != nullptr && !keys.channels->means.empty();
    // Weights are powers of two: the base change is part of the scale.
    constexpr float kLog2E = 1.44269504f;
    const float scale = shape_.scale * kLog2E;
    float whole[kMaxDim], narrowed[kMaxDim];
    for (uint32_t sub = 0; sub < num_subs_; ++sub) {
      const uint32_t lines = SubLines(sub);
      float* packed = queries_ + size_t{SubBegin(sub)} * key_dim_;
      for (uint32_t i = 0; i < lines; ++i) {
        const uint32_t line = SubBegin(sub) + i;
        const float* q = call_.q + (size_t{sequence_.first_row} + Row(line)) * call_.q_row_stride +
                         size_t{Head(line)} * shape_.key_dim;
        for (uint32_t c = 0; c < shape_.key_dim; ++c) whole[c] = q[c] * scale;
        if (keys.rotated) Rotate(whole, shape_.key_dim);
        if (has_biases_) biases_[line] = Dot(whole, keys.channels->means);
        if (keys.channels != nullptr) keys.channels->NarrowQuery(whole, narrowed);
        const float* const query = keys.channels != nullptr ? narrowed : whole;
        for (uint32_t c = 0; c < key_dim_; ++c) packed[size_t{c} * lines + i] = query[c];
        keep(line, query);
      }
    }
  }

  // Adds to the line's scores of these blocks what is the same for all entries of the page.
  void AddBias(uint32_t line, uint32_t block, uint32_t block_end, float* scores) const {
    const Octet bias = Broadcast(biases_[line]);
    for (uint32_t b = block; b < block_end; ++b) {
      StoreOctet(Add(LoadOctet(scores + b * 8), bias), scores + b * 8);
    }
  }

  // The norms of a page's entries from `first` on; zeros follow up to a whole octet.
  static void CopyNorms(const PageView& page, uint32_t first, uint32_t count, float* to) {
    const F16* const norms = page.norms + first;
    const uint32_t whole = count / 8 * 8;
    for (uint32_t i = 0; i < whole; i += 8) StoreOctet(LoadOctet(norms + i), to + i);
    if (whole < count) StoreOctet(LoadOctetN(norms + whole, count - whole), to + whole);
  }

  // Keys and values that are stored as directions: their norms become factors of a line's scores,
  // and of its weights after these have been summed.
  void MultiplyNorms(uint32_t block, uint32_t block_end, float* numbers) const {
    for (uint32_t b = block; b < block_end; ++b) {
      StoreOctet(Mul(LoadOctet(numbers + b * 8), LoadOctet(norms_ + b * 8)), numbers + b * 8);
    }
  }

  // Turns what was added up so far to where the values are. Rotation is linear, so that later
  // factors of the online softmax apply to it as to everything else.
  void TurnOutputs(bool rotated) {
    if (outputs_rotated_ == rotated) return;
    if (outputs_rotated_.has_value()) {
      for (uint32_t l = 0; l < item_.num_lines; ++l) {
        Rotate(outputs_ + l * layout_.output_stride, shape_.value_dim);
      }
    }
    outputs_rotated_ = rotated;
  }

  // Whether every line sees every entry of the tile.
  bool AllSee(const Tile& tile) const {
    const int64_t first = tile.key_page->Position(tile.key_first);
    const int64_t last = tile.key_page->Position(tile.key_first + tile.count - 1);
    return last <= oldest_row_ && (shape_.window == 0 || first > newest_row_ - shape_.window);
  }

  void Finish() {
    TurnOutputs(false);
    for (uint32_t l = 0; l < item_.num_lines; ++l) {
      const float* output = outputs_ + l * layout_.output_stride;
      const float sum = SumLanes(LoadOctet(sums_ + size_t{l} * 8));
      if (item_.partial != AttendPlan::kNoPartial) {
        float* part = call_.plan->Partial(call_.scratch, item_.partial + l);
        std::copy_n(output, shape_.value_dim, part);
        part[shape_.value_dim] = maxima_[l];
        part[shape_.value_dim + 1] = sum;
        continue;
      }
      float* out = call_.out + (size_t{sequence_.first_row} + Row(l)) * call_.out_row_stride +
                   size_t{Head(l)} * shape_.value_dim;
      const float divisor = sum == 0.0f ? 1.0f : sum;  // nothing seen: the output is zero already
      for (uint32_t c = 0; c < shape_.value_dim; ++c) out[c] = output[c] / divisor;
    }
  }

  static float Dot(const float* query, std::span<const float> means) {
    float sum = 0;
    for (size_t c = 0; c < means.size(); ++c) sum += query[c] * means[c];
    return sum;
  }

  // What queries depend on besides the line.
  struct QueryKind {
    bool rotated = false;
    const ChannelList* channels = nullptr;
    bool operator==(const QueryKind&) const = default;
  };

  const AttendCall& call_;
  const AttendShape& shape_;
  const AttendPlan::Item& item_;
  const AttendSequence& sequence_;
  const ThreadLayout layout_;
  float* const queries_;
  float* const outputs_;
  float* const scores_;
  float* const sums_;
  float* const maxima_;
  float* const factors_;
  float* const biases_;
  float* const norms_;
  float* const keys_;
  float* const values_;
  const uint32_t num_subs_;
  // Nothing before the first page.
  std::optional<QueryKind> query_kind_;
  std::optional<bool> outputs_rotated_;
  uint32_t key_dim_ = 0;     // channels of the keys that queries were read for
  bool has_biases_ = false;  // and whether those they lack add anything
  int64_t oldest_row_ = 0;   // positions
  int64_t newest_row_ = 0;
};

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#endif  // PITH_KERNEL_ITEM_LINES_INL_H_
