// A work item that reads a range of entries: a tile of lines against all of them; or that only
// scores entries. Include after hwy/foreach_target.h.

#if defined(PITH_KERNEL_ITEM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_KERNEL_ITEM_INL_H_
#undef PITH_KERNEL_ITEM_INL_H_
#else
#define PITH_KERNEL_ITEM_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "kernel/attend.h"
#include "kernel/attend_layout.h"
#include "kernel/item_lines-inl.h"
#include "kernel/packed_lines-inl.h"
#include "kernel/tile-inl.h"
#include "simd/types.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

class RangeItem : ItemLines {
 public:
  RangeItem(const AttendCall& call, const AttendPlan::Item& item, float* area)
      : ItemLines(call, item, area),
        ranges_(reinterpret_cast<SlotRange*>(area + layout_.ranges)),
        packed_(area + layout_.packed) {}

  void Run() {
    Begin();
    TileWalk walk(sequence_.heads[item_.kv_head], item_.first_entry, item_.num_entries);
    Tile tile;
    while (walk.Next(&tile)) {
      SlotRange slots = FindVisible(tile);
      if (slots.empty()) continue;
      ScoreTile(tile, slots);
      if (Direct() && AllSee(tile)) slots = ExtendTile(&walk, &tile);
      Weigh();
      AddTile(tile, slots);
    }
    Finish();
  }

  // Of the entries of the item's runs, all of which its lines see, only the scores: [line][stride].
  void ScoreRuns(float* scores, size_t stride) {
    TileWalk walk(sequence_.heads[item_.kv_head], item_.runs, item_.first_entry, item_.num_entries);
    Tile tile;
    for (size_t done = 0; walk.Next(&tile); done += tile.count) {
      ScoreTile(tile, SeeAll({tile.lead, tile.lead + tile.count}));
      for (uint32_t l = 0; l < item_.num_lines; ++l) {
        std::copy_n(Scores(l) + tile.lead, tile.count, scores + l * stride + done);
      }
    }
  }

 private:
  void CopyQuery(uint32_t line, const float* query) {
    float* const to = packed_.query(line);
    std::copy_n(query, key_dim_, to);
    std::fill(to + key_dim_, to + RoundUp(key_dim_, kCellChannels), 0.0f);
  }

  SlotRange SeeAll(SlotRange slots) {
    std::fill_n(ranges_, item_.num_lines, slots);
    std::fill_n(sub_ranges_, num_subs_, slots);
    return slots;
  }

  // Scores short pages of keys (sealed groups are as small as 32 entries) as part of the tile in
  // front of them, as long as the values go on in one page and every line sees everything: what a
  // tile costs besides its entries is paid once. Returns all slots.
  SlotRange ExtendTile(TileWalk* walk, Tile* tile) {
    while (true) {
      const uint32_t end = tile->lead + tile->count;
      TileWalk ahead = *walk;
      Tile next;
      if (end % kBlockEntries != 0 || !ahead.Next(&next)) break;
      if (next.value_page != tile->value_page || next.lead != 0 ||
          end + next.count > kTileEntries || !AllSee(next)) {
        break;
      }
      first_slot_ = end;
      ScoreTile(next, SeeAll({0, next.count}));
      first_slot_ = 0;
      tile->count += next.count;
      *walk = ahead;
    }
    return SeeAll({tile->lead, tile->lead + tile->count});
  }

  // Fills ranges_ and sub_ranges_; returns the slots that any line sees.
  SlotRange FindVisible(const Tile& tile) {
    const int64_t first = tile.key_page->Position(tile.key_first);
    const int64_t last = tile.key_page->Position(tile.key_first + tile.count - 1);
    const int64_t window = shape_.window;
    if (first > newest_row_ || (window > 0 && last <= oldest_row_ - window)) return {};
    if (AllSee(tile)) return SeeAll({tile.lead, tile.lead + tile.count});
    for (uint32_t l = 0; l < item_.num_lines; ++l) {
      const bool same_row = l > 0 && Row(l) == Row(l - 1);
      ranges_[l] =
          same_row ? ranges_[l - 1] : VisibleSlots(tile, sequence_.positions[Row(l)], window);
    }
    for (uint32_t sub = 0; sub < num_subs_; ++sub) {
      sub_ranges_[sub] = Hull(std::span(ranges_ + SubBegin(sub), SubLines(sub)));
    }
    return Hull(std::span(sub_ranges_, num_subs_));
  }

  // Slots in between that a line does not see get weight zero.
  static SlotRange Hull(std::span<const SlotRange> ranges) {
    SlotRange hull;
    for (const SlotRange& range : ranges) {
      if (range.empty()) continue;
      hull = hull.empty()
                 ? range
                 : SlotRange{std::min(hull.begin, range.begin), std::max(hull.end, range.end)};
    }
    return hull;
  }

  // Where the scores of the pages that are worked on begin.
  float* Scores(uint32_t line) const { return scores_ + size_t{line} * kTileEntries + first_slot_; }

  bool Direct() const { return item_.num_lines <= kDirectLines; }

  void ScoreTile(const Tile& tile, SlotRange slots) {
    LoadQueries(*tile.key_page, [this](uint32_t line, const float* query) {
      packed_.ForgetQueries(key_dim_);
      if (Direct()) CopyQuery(line, query);
    });
    ScoreForm(tile, slots);
    if (has_biases_) {
      ForEachLine([this](uint32_t line, uint32_t block, uint32_t block_end) {
        AddBias(line, block, block_end, Scores(line));
      });
    }
    if (tile.key_page->norms != nullptr) MultiplyLines(*tile.key_page, tile.key_first, tile);
  }

  // Scores by the norms of keys, or weights by those of values, from `first` on in their page.
  void MultiplyLines(const PageView& page, uint32_t first, const Tile& tile) {
    std::fill_n(norms_, tile.lead, 0.0f);
    CopyNorms(page, first, tile.count, norms_ + tile.lead);
    const size_t end = tile.lead + tile.count, zeroed = tile.lead + RoundUp(tile.count, 8);
    if (zeroed < RoundUp(end, 8)) std::fill(norms_ + zeroed, norms_ + RoundUp(end, 8), 0.0f);
    ForEachLine([this](uint32_t line, uint32_t block, uint32_t block_end) {
      MultiplyNorms(block, block_end, Scores(line));
    });
  }

  void ScoreForm(const Tile& tile, SlotRange slots) {
    if (tile.key_page->form->packing != nullptr) return ScorePackedKeys(tile, slots);
    switch (tile.key_page->form->id) {
      case FormId::kF32:
        return ScoreKeys(PlainKeys<float>(tile, key_dim_), slots);
      case FormId::kF16:
        return ScoreKeys(PlainKeys<F16>(tile, key_dim_), slots);
      case FormId::kBF16:
        return ScoreKeys(PlainKeys<BF16>(tile, key_dim_), slots);
      default:
        break;
    }
    PITH_CHECK(!"a form that attention can read");
  }

  void AddTile(const Tile& tile, SlotRange slots) {
    TurnOutputs(tile.value_page->rotated);
    if (tile.value_page->norms != nullptr) MultiplyLines(*tile.value_page, tile.value_first, tile);
    if (tile.value_page->form->packing != nullptr) return AddPackedValues(tile, slots);
    switch (tile.value_page->form->id) {
      case FormId::kF32:
        return AddForm<float>(tile, slots);
      case FormId::kF16:
        return AddForm<F16>(tile, slots);
      case FormId::kBF16:
        return AddForm<BF16>(tile, slots);
      default:
        break;
    }
    PITH_CHECK(!"a form that attention can read");
  }

  template <class Keys>
  void ScoreKeys(const Keys& keys, SlotRange slots) {
    const uint32_t begin = slots.begin / 8;
    const uint32_t end = (slots.end + 7) / 8;
    if (Direct()) return ScoreSubs(keys, begin, end);
    DecodeKeys(keys, begin, end, key_dim_, keys_);
    ScoreSubs(DecodedKeys{key_dim_, keys_}, begin, end);
  }

  void ScorePackedKeys(const Tile& tile, SlotRange slots) {
    const PackedSide keys = PackedKeys(tile, key_dim_);
    const uint32_t begin = slots.begin / 8;
    const uint32_t end = (slots.end + 7) / 8;
    if (!Direct()) {
      WithBits(keys.packing.bits, [&]<uint32_t kBits>() {
        DecodePackedKeys<kBits>(keys, begin, end, key_dim_, keys_);
      });
      return ScoreSubs(DecodedKeys{key_dim_, keys_}, begin, end);
    }
    packed_.PrepareQueries(keys, item_.num_lines);
    for (uint32_t sub = 0; sub < num_subs_; ++sub) {
      const SlotRange range = sub_ranges_[sub];
      if (range.empty()) continue;
      ScorePacked(SubLines(sub), keys, range.begin / 8, (range.end + 7) / 8,
                  packed_.queries(SubBegin(sub)), Scores(SubBegin(sub)));
    }
  }

  // A few blocks stay in the nearest cache while all lines pass over them.
  template <class Keys>
  void ScoreSubs(const Keys& keys, uint32_t begin, uint32_t end) {
    constexpr uint32_t kStep = 4;
    for (uint32_t b = begin; b < end; b += kStep) {
      for (uint32_t sub = 0; sub < num_subs_; ++sub) {
        const SlotRange range = sub_ranges_[sub];
        const uint32_t first = std::max(b, range.begin / 8);
        const uint32_t last = std::min({b + kStep, end, (range.end + 7) / 8});
        if (first >= last) continue;
        Score(SubLines(sub), keys, first, last, key_dim_,
              queries_ + size_t{SubBegin(sub)} * key_dim_, Scores(SubBegin(sub)));
      }
    }
  }

  // Calls visit(line, block, block_end) with the blocks that the line's sub-tile sees.
  template <class Visit>
  void ForEachLine(const Visit& visit) const {
    for (uint32_t sub = 0; sub < num_subs_; ++sub) {
      const SlotRange range = sub_ranges_[sub];
      if (range.empty()) continue;
      for (uint32_t l = SubBegin(sub); l < SubBegin(sub + 1); ++l) {
        visit(l, range.begin / 8, (range.end + 7) / 8);
      }
    }
  }

  void Weigh() {
    ForEachLine([this](uint32_t line, uint32_t block, uint32_t block_end) {
      factors_[line] =
          WeighLine(ranges_[line], block, block_end, scores_ + size_t{line} * kTileEntries,
                    &maxima_[line], sums_ + size_t{line} * 8);
    });
  }

  template <class T>
  void AddForm(const Tile& tile, SlotRange slots) {
    const PlainValues<T> values(tile, shape_.value_dim);
    const uint32_t whole = Direct() ? shape_.value_dim / 8 : 0;  // octets read from the page
    const uint32_t all = (shape_.value_dim + 7) / 8;
    AddSubs(values, 0, whole);
    if (whole == all) return;
    DecodeValues(values, slots, whole, shape_.value_dim, values_);
    AddSubs(DecodedValues{values_}, whole, all);
  }

  void AddPackedValues(const Tile& tile, SlotRange slots) {
    const PackedSide values = PackedValues(tile, shape_.value_dim);
    // Blocks of values need not begin where blocks of keys do.
    const auto value_lead = static_cast<int32_t>(tile.value_first % kBlockEntries);
    const int32_t first_slot = static_cast<int32_t>(tile.lead) - value_lead;
    if (!Direct()) {
      WithBits(values.packing.bits, [&]<uint32_t kBits>() {
        DecodePackedValues<kBits>(values, slots, first_slot, values_);
      });
      return AddSubs(DecodedValues{values_}, 0, (shape_.value_dim + 7) / 8);
    }
    const auto place = [first_slot](uint32_t slot) {
      return static_cast<uint32_t>(static_cast<int32_t>(slot) - first_slot);
    };
    const uint32_t blocks = (place(slots.end) + 7) / 8;
    for (uint32_t l = 0; l < item_.num_lines; ++l) {
      const SlotRange seen = ranges_[l];
      packed_.SetWeights(l, blocks, seen.empty() ? 0 : place(seen.begin),
                         scores_ + size_t{l} * kTileEntries + seen.begin, seen.end - seen.begin);
    }
    for (uint32_t group = 0; group < values.layout.num_groups; ++group) {
      packed_.LoadScales(values, group, place(slots.begin), place(slots.end));
      AddPackedGroup(values, group, blocks);
    }
  }

  void AddPackedGroup(const PackedSide& values, uint32_t group, uint32_t blocks) {
    const uint32_t group_cells = values.packing.channel_group / kCellChannels;
    const uint32_t cell = group * group_cells;
    const uint32_t cell_end = std::min(cell + group_cells, values.layout.num_cells);
    for (uint32_t sub = 0; sub < num_subs_; ++sub) {
      if (sub_ranges_[sub].empty()) continue;
      for (uint32_t l = SubBegin(sub); l < SubBegin(sub + 1); ++l) {
        packed_.PrepareWeights(values, l, blocks);
      }
      AddPacked(SubLines(sub), values, blocks, cell, cell_end, packed_.weights(SubBegin(sub)),
                factors_ + SubBegin(sub), outputs_ + SubBegin(sub) * layout_.output_stride,
                layout_.output_stride);
    }
  }

  template <class Values>
  void AddSubs(const Values& values, uint32_t begin, uint32_t end) {
    constexpr uint32_t kStep = 4;
    for (uint32_t o = begin; o < end; o += kStep) {
      for (uint32_t sub = 0; sub < num_subs_; ++sub) {
        const SlotRange range = sub_ranges_[sub];
        if (range.empty()) continue;
        AddValues(SubLines(sub), values, range, o, std::min(o + kStep, end),
                  scores_ + size_t{SubBegin(sub)} * kTileEntries, factors_ + SubBegin(sub),
                  outputs_ + SubBegin(sub) * layout_.output_stride, layout_.output_stride);
      }
    }
  }

  SlotRange* const ranges_;  // [line]
  SlotRange sub_ranges_[kTileLines / kSubLines];
  uint32_t first_slot_ = 0;  // of the pages that are worked on, see ExtendTile()
  PackedLines packed_;
};

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#endif  // PITH_KERNEL_ITEM_INL_H_
