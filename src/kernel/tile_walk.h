// A head's entries as tiles: stretches in which neither a page of keys nor one of values ends, nor
// a run of selected entries.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include "base/check.h"
#include "cache/view.h"
#include "kernel/attend.h"
#include "kernel/attend_layout.h"

namespace pith {

// A tile's *slots* count from the start of the block of keys that its first entry lies in: entry i
// has slot lead + i.
struct Tile {
  const PageView* key_page = nullptr;
  const PageView* value_page = nullptr;
  uint32_t key_first = 0;    // first entry, within the page of keys
  uint32_t value_first = 0;  // the same entry, within the page of values
  uint32_t lead = 0;         // slots before the first entry
  uint32_t count = 0;        // entries; lead + count <= kTileEntries
  // Where the pages after these have what these have at the same offset; for prefetching only.
  const std::byte* next_keys = nullptr;
  const std::byte* next_values = nullptr;
};

class TileWalk {
 public:
  TileWalk(const HeadView& head, uint64_t first_entry, uint64_t num_entries)
      : keys_(head.keys, first_entry),
        values_(head.values, first_entry),
        left_(num_entries),
        run_left_(num_entries) {}
  // `num_entries` selected ones from first_entry on, which lies in the first run.
  TileWalk(const HeadView& head, std::span<const EntryRun> runs, uint64_t first_entry,
           uint64_t num_entries)
      : keys_(head.keys, first_entry),
        values_(head.values, first_entry),
        left_(num_entries),
        run_left_(runs[0].first + runs[0].count - first_entry),
        run_(runs.data()) {}

  // False at the end.
  bool Next(Tile* tile) {
    if (left_ == 0) return false;
    if (run_left_ == 0) NextRun();
    tile->key_page = &keys_.page();
    tile->value_page = &values_.page();
    tile->key_first = keys_.offset;
    tile->value_first = values_.offset;
    tile->lead = keys_.offset % kBlockEntries;
    tile->count = std::min({keys_.left(), values_.left(), kTileEntries - tile->lead});
    const uint64_t wanted = std::min(left_, run_left_);
    if (tile->count > wanted) tile->count = static_cast<uint32_t>(wanted);
    tile->next_keys = keys_.NextData();
    tile->next_values = values_.NextData();
    left_ -= tile->count;
    run_left_ -= tile->count;
    keys_.Advance(tile->count);
    values_.Advance(tile->count);
    return true;
  }

 private:
  struct Cursor {
    Cursor(std::span<const PageView> list, uint64_t first) : pages(list) { Advance(first); }
    const PageView& page() const {
      PITH_DCHECK(index < pages.size());
      return pages[index];
    }
    uint32_t left() const { return page().count - offset; }
    void Advance(uint64_t count) {
      count += offset;
      while (index < pages.size() && count >= pages[index].count) count -= pages[index++].count;
      offset = static_cast<uint32_t>(count);
    }
    // The page itself at the end and where the layout changes: prefetching it again does no harm.
    const std::byte* NextData() const {
      const bool same = index + 1 < pages.size() && pages[index + 1].form == page().form &&
                        pages[index + 1].shape.dim == page().shape.dim;
      return same ? pages[index + 1].data : page().data;
    }

    std::span<const PageView> pages;
    size_t index = 0;
    uint32_t offset = 0;
  };

  void NextRun() {
    const uint64_t gap = run_[1].first - run_[0].first - run_[0].count;
    ++run_;
    keys_.Advance(gap);
    values_.Advance(gap);
    run_left_ = run_->count;
  }

  Cursor keys_, values_;
  uint64_t left_;
  uint64_t run_left_;              // of the run; without runs, of all
  const EntryRun* run_ = nullptr;  // that the next entry lies in
};

// Half-open range of slots.
struct SlotRange {
  uint32_t begin = 0;
  uint32_t end = 0;
  bool empty() const { return begin >= end; }
};

// The slots of a tile that a row at `position` sees. Positions ascend within a page, so they are
// one range.
inline SlotRange VisibleSlots(const Tile& tile, int64_t position, int64_t window) {
  const int64_t oldest = window > 0 ? position - window + 1 : std::numeric_limits<int64_t>::min();
  int64_t begin, end;
  if (tile.key_page->positions != nullptr) {
    const int32_t* first = tile.key_page->positions + tile.key_first;
    const int32_t* last = first + tile.count;
    begin = std::lower_bound(first, last, oldest) - first;
    end = std::upper_bound(first, last, position) - first;
  } else {
    const int64_t first = tile.key_page->Position(tile.key_first);
    begin = oldest <= first ? 0 : std::min<int64_t>(oldest - first, tile.count);
    end = std::clamp<int64_t>(position - first + 1, 0, tile.count);
  }
  if (begin >= end) return {0, 0};
  return {tile.lead + static_cast<uint32_t>(begin), tile.lead + static_cast<uint32_t>(end)};
}

}  // namespace pith
