// A work item that reads runs of entries: they are gathered into tiles of up to kTileEntries,
// whatever their lengths, so that softmax and sums cost per entry and not per run. Blocks of eight
// keys are scored whole, as they are stored, and the scores of selected entries picked; of values
// only the selected ones are read (forms of codes: blocks of eight, decoded). Include after
// hwy/foreach_target.h.

#if defined(PITH_KERNEL_GATHER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PITH_KERNEL_GATHER_INL_H_
#undef PITH_KERNEL_GATHER_INL_H_
#else
#define PITH_KERNEL_GATHER_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "kernel/attend.h"
#include "kernel/attend_layout.h"
#include "kernel/item_lines-inl.h"
#include "kernel/packed-inl.h"
#include "kernel/tile-inl.h"
#include "kernel/tile_walk.h"
#include "simd/types.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

// Entries of several runs, stored alike. A *piece* is what one run has in one page of keys and one
// of values.
struct GatheredTile {
  struct Piece {
    Tile tile;
    uint32_t first_entry;
    uint32_t first_block, num_blocks;  // the first one may be the last one of the piece before
    bool all_see;
  };

  const Tile& front() const { return pieces[0].tile; }

  uint32_t num_pieces = 0, num_entries = 0, num_blocks = 0;
  Piece pieces[kTileEntries];
  uint16_t slots[kTileEntries];  // [entry] from the first block on
  // Of plain forms: where blocks of keys and entries' values are; the last one is repeated.
  const std::byte* blocks[kTileEntries];
  const std::byte* rows[kTileEntries];
};

// Keys and values as tile-inl.h wants them. What is prefetched is the same place in another tile.
template <class T>
struct GatheredKeys {
  using BlockKeys = typename PlainKeys<T>::BlockKeys;
  BlockKeys Block(size_t block) const {
    return {reinterpret_cast<const T*>(blocks[block]), reinterpret_cast<const T*>(next[block])};
  }

  const std::byte* const* blocks;
  const std::byte* const* next;
};

template <class T>
struct GatheredValues {
  struct RowValues {
    const T* data() const { return reinterpret_cast<const T*>(*rows) + first; }
    HWY_INLINE Octet Load(size_t octet) const { return LoadOctet(data() + octet * 8); }
    HWY_INLINE Octet LoadN(size_t n) const { return LoadOctetN(data(), n); }
    HWY_INLINE void Prefetch() const { hwy::Prefetch(reinterpret_cast<const T*>(*next) + first); }
    HWY_INLINE void Advance(size_t num_rows) {
      rows += num_rows;
      next += num_rows;
    }
    const std::byte* const* rows;
    const std::byte* const* next;
    size_t first;  // channel
  };
  static constexpr size_t kWidest = kMaxDim;

  RowValues Row(size_t entry, size_t octet) const {
    return {rows + entry, next + entry, octet * 8};
  }
  size_t stride() const { return 1; }

  const std::byte* const* rows;
  const std::byte* const* next;
};

class GatherItem : ItemLines {
 public:
  GatherItem(const AttendCall& call, const AttendPlan::Item& item, float* area)
      : ItemLines(call, item, area),
        walk_(sequence_.heads[item.kv_head], item.runs, item.first_entry, item.num_entries) {}

  void Run() {
    Begin();
    GatheredTile tiles[2];
    GatheredTile *tile = &tiles[0], *next = &tiles[1];
    Fill(tile);
    LookUp(*tile);
    Prefetch(*tile);
    for (; tile->num_entries > 0; std::swap(tile, next)) {
      Fill(next);
      LookUp(*next);
      Attend(*tile, *next);
    }
    Finish();
  }

 private:
  // ---- Gathering.

  void Fill(GatheredTile* to) {
    to->num_pieces = to->num_entries = to->num_blocks = 0;
    while (to->num_entries < kTileEntries && (pending_.count > 0 || FindPending())) {
      if (to->num_pieces > 0 && !StoredAlike(to->front(), pending_)) break;
      Append(to);
    }
    if (to->num_pieces == 0) return;
    if (IsPlain(*to->front().key_page)) RepeatLast(to->num_blocks, to->blocks);
    if (IsPlain(*to->front().value_page)) RepeatLast(to->num_entries, to->rows);
  }

  static void RepeatLast(uint32_t count, const std::byte** pointers) {
    std::fill(pointers + count, pointers + kTileEntries, pointers[count - 1]);
  }

  static bool IsPlain(const PageView& page) { return page.form->packing == nullptr; }

  static bool StoredAlike(const Tile& a, const Tile& b) {
    return a.key_page->form == b.key_page->form && a.value_page->form == b.value_page->form &&
           a.key_page->rotated == b.key_page->rotated &&
           a.key_page->channels == b.key_page->channels &&
           a.value_page->rotated == b.value_page->rotated &&
           (a.key_page->norms == nullptr) == (b.key_page->norms == nullptr) &&
           (a.value_page->norms == nullptr) == (b.value_page->norms == nullptr);
  }

  // The next selected entries that any line may see.
  bool FindPending() {
    while (walk_.Next(&pending_)) {
      pending_all_see_ = AllSee(pending_);
      if (!pending_all_see_) DropUnseen();
      if (pending_.count > 0) return true;
    }
    return false;
  }

  void DropUnseen() {
    const int64_t window =
        shape_.window > 0 ? newest_row_ - oldest_row_ + int64_t{shape_.window} : 0;
    const SlotRange seen = VisibleSlots(pending_, newest_row_, window);
    pending_.count = std::min(pending_.count, seen.end - std::min(seen.end, pending_.lead));
    Skip(seen.empty() ? 0 : seen.begin - pending_.lead);
  }

  void Skip(uint32_t count) {
    pending_.key_first += count;
    pending_.value_first += count;
    pending_.lead = pending_.key_first % kBlockEntries;
    pending_.count -= count;
  }

  void Append(GatheredTile* to) {
    GatheredTile::Piece& piece = to->pieces[to->num_pieces];
    const uint32_t count = std::min(pending_.count, kTileEntries - to->num_entries);
    piece.tile = pending_;
    piece.tile.count = count;
    piece.all_see = pending_all_see_;
    piece.first_entry = to->num_entries;
    piece.first_block = to->num_blocks;
    piece.num_blocks = (pending_.lead + count + kBlockEntries - 1) / kBlockEntries;
    if (to->num_pieces > 0 && SharesBlock(to->pieces[to->num_pieces - 1].tile)) --piece.first_block;
    for (uint32_t i = 0; i < count; ++i) {
      to->slots[piece.first_entry + i] =
          static_cast<uint16_t>(piece.first_block * kBlockEntries + pending_.lead + i);
    }
    PointAt(piece, to);
    ++to->num_pieces;
    to->num_entries += count;
    to->num_blocks = piece.first_block + piece.num_blocks;
    Skip(count);
  }

  bool SharesBlock(const Tile& before) const {
    return before.key_page == pending_.key_page &&
           (before.key_first + before.count - 1) / kBlockEntries ==
               pending_.key_first / kBlockEntries;
  }

  // Plain forms only: of a block of keys, of an entry's values.
  static size_t NumberBytes(const PageView& page) {
    return page.form->id == FormId::kF32 ? sizeof(float) : sizeof(F16);
  }
  static size_t BlockBytes(const PageView& page) {
    return page.shape.dim * kBlockEntries * NumberBytes(page);
  }
  size_t RowBytes(const PageView& page) const { return shape_.value_dim * NumberBytes(page); }

  void PointAt(const GatheredTile::Piece& piece, GatheredTile* to) const {
    const Tile& tile = piece.tile;
    if (IsPlain(*tile.key_page)) {
      const size_t bytes = BlockBytes(*tile.key_page);
      const std::byte* block = tile.key_page->data + tile.key_first / kBlockEntries * bytes;
      for (uint32_t i = 0; i < piece.num_blocks; ++i, block += bytes) {
        to->blocks[piece.first_block + i] = block;
      }
    }
    if (IsPlain(*tile.value_page)) {
      const size_t bytes = RowBytes(*tile.value_page);
      const std::byte* row = tile.value_page->data + tile.value_first * bytes;
      for (uint32_t i = 0; i < tile.count; ++i, row += bytes) to->rows[piece.first_entry + i] = row;
    }
  }

  // Reads a byte at both ends of every piece of plain forms. Their memory is scattered, and looking
  // up where a page of it is takes as long as reading it. A prefetch holds up what follows until
  // its look-up is done; reads whose results nobody needs are looked up several at a time.
  void LookUp(const GatheredTile& tile) const {
    if (tile.num_pieces == 0) return;
    const PageView &keys = *tile.front().key_page, &values = *tile.front().value_page;
    const auto touch = [](const std::byte* first, size_t bytes) {
      static_cast<void>(*static_cast<const volatile std::byte*>(first));
      static_cast<void>(*static_cast<const volatile std::byte*>(first + bytes - 1));
    };
    for (uint32_t p = 0; p < tile.num_pieces && IsPlain(keys); ++p) {
      const GatheredTile::Piece& piece = tile.pieces[p];
      touch(tile.blocks[piece.first_block], piece.num_blocks * BlockBytes(keys));
    }
    for (uint32_t p = 0; p < tile.num_pieces && IsPlain(values); ++p) {
      const GatheredTile::Piece& piece = tile.pieces[p];
      touch(tile.rows[piece.first_entry], piece.tile.count * RowBytes(values));
    }
  }

  // Asks for the whole first tile, which none before it has asked for.
  void Prefetch(const GatheredTile& tile) const {
    if (tile.num_pieces == 0) return;
    const auto ask = [](const std::byte* const* parts, uint32_t count, size_t bytes) {
      for (uint32_t i = 0; i < count; ++i) {
        for (size_t at = 0; at < bytes; at += kPrefetchBytes) hwy::Prefetch(parts[i] + at);
      }
    };
    const PageView &keys = *tile.front().key_page, &values = *tile.front().value_page;
    if (IsPlain(keys)) ask(tile.blocks, tile.num_blocks, BlockBytes(keys));
    if (IsPlain(values)) ask(tile.rows, tile.num_entries, RowBytes(values));
  }

  // ---- A tile.

  void Attend(const GatheredTile& tile, const GatheredTile& next) {
    const bool more = next.num_entries > 0;
    const bool more_keys = more && IsPlain(*next.front().key_page);
    const bool more_values = more && IsPlain(*next.front().value_page);
    LoadQueries(*tile.front().key_page, [](uint32_t /*line*/, const float* /*query*/) {});
    ScoreTile(tile, more_keys ? next.blocks : tile.blocks);
    for (uint32_t l = 0; has_biases_ && l < item_.num_lines; ++l) {
      AddBias(l, 0, (tile.num_entries + 7) / 8, Scores(l));
    }
    if (tile.front().key_page->norms != nullptr) {
      MultiplyLines(tile, [](const Tile& part, float* to) {
        CopyNorms(*part.key_page, part.key_first, part.count, to);
      });
    }
    HideUnseen(tile);
    for (uint32_t l = 0; l < item_.num_lines; ++l) {
      factors_[l] = WeighLine({0, tile.num_entries}, 0, (tile.num_entries + 7) / 8, Scores(l),
                              &maxima_[l], sums_ + size_t{l} * 8);
    }
    TurnOutputs(tile.front().value_page->rotated);
    if (tile.front().value_page->norms != nullptr) {
      MultiplyLines(tile, [](const Tile& part, float* to) {
        CopyNorms(*part.value_page, part.value_first, part.count, to);
      });
    }
    AddTile(tile, more_values ? next.rows : tile.rows);
  }

  // Scores by the norms of keys, or weights by those of values: copy(part, to) gives those of a
  // piece.
  template <class Copy>
  void MultiplyLines(const GatheredTile& tile, const Copy& copy) {
    for (uint32_t p = 0; p < tile.num_pieces; ++p) {
      copy(tile.pieces[p].tile, norms_ + tile.pieces[p].first_entry);
    }
    for (uint32_t l = 0; l < item_.num_lines; ++l) {
      MultiplyNorms(0, (tile.num_entries + 7) / 8, Scores(l));
    }
  }

  // [line][kTileEntries], in the room that is for kTileLines of them: of the tile's entries, and of
  // the slots of kBatch blocks.
  static_assert(2 * kRunLines <= kTileLines);
  static constexpr uint32_t kBatch = kTileEntries / kBlockEntries;
  float* Scores(uint32_t line) const { return scores_ + size_t{line} * kTileEntries; }
  float* SlotScores(uint32_t line) const { return Scores(kRunLines + line); }

  void ScoreTile(const GatheredTile& tile, const std::byte* const* next_blocks) {
    // Runs of whole blocks: slots are entries.
    const bool all_slots = tile.num_blocks * kBlockEntries == tile.num_entries;
    if (all_slots) return ScoreBatch(tile, 0, tile.num_blocks, next_blocks, Scores(0));
    uint32_t entry = 0;
    for (uint32_t block = 0; block < tile.num_blocks; block += kBatch) {
      const uint32_t count = std::min(kBatch, tile.num_blocks - block);
      ScoreBatch(tile, block, count, next_blocks, SlotScores(0));
      entry = PickScores(tile, block * kBlockEntries, count * kBlockEntries, entry);
    }
  }

  // scores: [line][kTileEntries], from the first of these blocks on.
  void ScoreBatch(const GatheredTile& tile, uint32_t first, uint32_t count,
                  const std::byte* const* next_blocks, float* scores) {
    const PageView& page = *tile.front().key_page;
    const std::byte* const* const blocks = tile.blocks + first;
    const std::byte* const* const next = next_blocks + first;
    if (!IsPlain(page)) {
      DecodeBlocks(tile, first, count);
      return ScoreSubs(DecodedKeys{key_dim_, keys_}, count, scores);
    }
    switch (page.form->id) {
      case FormId::kF32:
        return ScoreSubs(GatheredKeys<float>{blocks, next}, count, scores);
      case FormId::kF16:
        return ScoreSubs(GatheredKeys<F16>{blocks, next}, count, scores);
      case FormId::kBF16:
        return ScoreSubs(GatheredKeys<BF16>{blocks, next}, count, scores);
      default:
        break;
    }
    PITH_CHECK(!"a form that attention can read");
  }

  void DecodeBlocks(const GatheredTile& tile, uint32_t first, uint32_t count) {
    for (uint32_t p = 0; p < tile.num_pieces; ++p) {
      const GatheredTile::Piece& piece = tile.pieces[p];
      const uint32_t begin = std::max(first, piece.first_block);
      const uint32_t end = std::min(first + count, piece.first_block + piece.num_blocks);
      if (begin >= end) continue;
      const PageView& page = *piece.tile.key_page;
      const uint32_t skipped = (begin - piece.first_block) * kBlockEntries;
      const PackedSide keys(page, Side::kKeys, key_dim_, piece.tile.key_first + skipped, page.data);
      WithBits(keys.packing.bits, [&]<uint32_t kBits>() {
        DecodePackedKeys<kBits>(keys, 0, end - begin, key_dim_,
                                keys_ + size_t{begin - first} * key_dim_ * kBlockEntries);
      });
    }
  }

  // A few blocks stay in the nearest cache while all lines pass over them.
  template <class Keys>
  void ScoreSubs(const Keys& keys, uint32_t count, float* scores) {
    constexpr uint32_t kStep = 4;
    for (uint32_t b = 0; b < count; b += kStep) {
      for (uint32_t sub = 0; sub < num_subs_; ++sub) {
        Score(SubLines(sub), keys, b, std::min(b + kStep, count), key_dim_,
              queries_ + size_t{SubBegin(sub)} * key_dim_,
              scores + size_t{SubBegin(sub)} * kTileEntries);
      }
    }
  }

  // The scores of entries from `entry` on whose slots were scored; returns the first other one.
  uint32_t PickScores(const GatheredTile& tile, uint32_t first_slot, uint32_t num_slots,
                      uint32_t entry) {
    uint32_t end = entry;
    while (end < tile.num_entries && tile.slots[end] < first_slot + num_slots) ++end;
    for (uint32_t l = 0; l < item_.num_lines; ++l) {
      const float* const from = SlotScores(l);
      float* const to = Scores(l);
      for (uint32_t e = entry; e < end; ++e) to[e] = from[tile.slots[e] - first_slot];
    }
    return end;
  }

  void HideUnseen(const GatheredTile& tile) {
    for (uint32_t p = 0; p < tile.num_pieces; ++p) {
      const GatheredTile::Piece& piece = tile.pieces[p];
      if (piece.all_see) continue;
      for (uint32_t l = 0; l < item_.num_lines; ++l) {
        const SlotRange seen = VisibleSlots(piece.tile, sequence_.positions[Row(l)], shape_.window);
        float* const scores = Scores(l) + piece.first_entry;
        const uint32_t begin = seen.empty() ? piece.tile.count : seen.begin - piece.tile.lead;
        const uint32_t end = seen.empty() ? piece.tile.count : seen.end - piece.tile.lead;
        std::fill_n(scores, begin, -HUGE_VALF);
        std::fill(scores + end, scores + piece.tile.count, -HUGE_VALF);
      }
    }
  }

  void AddTile(const GatheredTile& tile, const std::byte* const* next_rows) {
    const PageView& page = *tile.front().value_page;
    if (!IsPlain(page)) return AddPackedValues(tile);
    switch (page.form->id) {
      case FormId::kF32:
        return AddPlain(GatheredValues<float>{tile.rows, next_rows}, tile.num_entries);
      case FormId::kF16:
        return AddPlain(GatheredValues<F16>{tile.rows, next_rows}, tile.num_entries);
      case FormId::kBF16:
        return AddPlain(GatheredValues<BF16>{tile.rows, next_rows}, tile.num_entries);
      default:
        break;
    }
    PITH_CHECK(!"a form that attention can read");
  }

  template <class Values>
  void AddPlain(const Values& values, uint32_t count) {
    const uint32_t whole = shape_.value_dim / 8;
    AddSubs(values, count, 0, whole);
    if (whole * 8 == shape_.value_dim) return;
    DecodeValues(values, {0, count}, whole, shape_.value_dim, values_);
    AddSubs(DecodedValues{values_}, count, whole, whole + 1);
  }

  void AddPackedValues(const GatheredTile& tile) {
    for (uint32_t p = 0; p < tile.num_pieces; ++p) {
      const GatheredTile::Piece& piece = tile.pieces[p];
      const PageView& page = *piece.tile.value_page;
      const PackedSide values(page, Side::kValues, shape_.value_dim, piece.tile.value_first,
                              page.data);
      const auto lead = static_cast<int32_t>(piece.first_entry) -
                        static_cast<int32_t>(piece.tile.value_first % kBlockEntries);
      WithBits(values.packing.bits, [&]<uint32_t kBits>() {
        DecodePackedValues<kBits>(values, {piece.first_entry, piece.first_entry + piece.tile.count},
                                  lead, values_);
      });
    }
    AddSubs(DecodedValues{values_}, tile.num_entries, 0, (shape_.value_dim + 7) / 8);
  }

  template <class Values>
  void AddSubs(const Values& values, uint32_t count, uint32_t begin, uint32_t end) {
    constexpr uint32_t kStep = 4;
    for (uint32_t o = begin; o < end; o += kStep) {
      for (uint32_t sub = 0; sub < num_subs_; ++sub) {
        const uint32_t line = SubBegin(sub);
        AddValues(SubLines(sub), values, {0, count}, o, std::min(o + kStep, end), Scores(line),
                  factors_ + line, outputs_ + line * layout_.output_stride, layout_.output_stride);
      }
    }
  }

  TileWalk walk_;
  Tile pending_;  // found, but not yet in a tile
  bool pending_all_see_ = false;
};

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#endif  // PITH_KERNEL_GATHER_INL_H_
