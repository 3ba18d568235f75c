// A list: the keys or the values of one owner (a head, a layer, a group of layers), cut into pages.
//
// Every page but the last holds kMaxPageEntries entries; the last one sits in the smallest capacity
// class that holds its entries. Pages are shared between forks and copied before they are written.
// The views that kernels read are kept up to date with every change.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/cache.h"
#include "cache/page.h"
#include "cache/view.h"

namespace pith {

// What the pages of a list look like; the same for all lists of one side of a cache.
struct ListLayout {
  const Form* form = nullptr;
  Side side = Side::kKeys;
  uint32_t dim = 0;
  std::vector<SideBlock> side_blocks;  // those of this side

  PageShape Shape(uint32_t capacity) const { return {.dim = dim, .capacity = capacity}; }
  size_t EntryBytes(uint32_t capacity) const { return form->page_bytes(side, Shape(capacity)); }
  // Where the units of side block `index` begin in a page, aligned to 16 bytes; index == size: the
  // page's bytes in all.
  size_t SideOffset(size_t index, uint32_t capacity) const;
  // Bytes of the units of side block `index` that `entries` entries use.
  size_t SideBytes(size_t index, uint32_t entries) const;
  size_t PageBytes(uint32_t capacity) const { return SideOffset(side_blocks.size(), capacity); }
};

// Bytes of the pool's blocks that the lists of one sequence refer to, at every moment.
struct HeldBytes {
  uint64_t now = 0;
  uint64_t peak = 0;  // the highest `now`

  void Add(uint64_t bytes) { peak = std::max(peak, now += bytes); }
  void Remove(uint64_t bytes) { now -= bytes; }
};

// A page, owned by all lists that refer to it.
struct Page {
  std::byte* data = nullptr;     // entries, then the side blocks
  int32_t* positions = nullptr;  // [capacity] once they are not contiguous
  uint32_t capacity = 0;
  uint32_t references = 1;
};

class PageList {
 public:
  // Pool, layout and counter outlive the list.
  PageList(PagePool* pool, const ListLayout* layout, HeldBytes* held)
      : pool_(pool), layout_(layout), held_(held) {}
  ~PageList() { Truncate(0); }
  PageList(PageList&& other) noexcept;
  PageList& operator=(PageList&&) = delete;

  // A second list with the same pages, of the sequence that `held` counts for.
  PageList Fork(HeldBytes* held) const;

  const ListLayout& layout() const { return *layout_; }
  uint64_t size() const { return size_; }
  std::span<const PageView> views() const { return views_; }
  int32_t last_position() const;  // -1 if empty; only for keys

  // Appending in two steps, so that many lists grow together or not at all. Reserve() gets all
  // memory that `positions` new entries need, copies a shared last page, and changes nothing that
  // can be seen; it may fail (false). Then either Commit(), with the same positions, or Cancel().
  // Only keys store positions.
  bool Reserve(std::span<const int32_t> positions);
  bool has_reserved_pages() const { return !reserved_.empty(); }
  void Commit(std::span<const int32_t> positions);
  void Cancel();

  // Keeping the entries at these ascending indices, in two steps as well: ReserveKeep() gets all
  // memory, changes nothing that can be seen, and may fail; then CommitKeep() or Cancel(). Memory
  // is needed for positions that were implicit and for shared pages that change; all other pages
  // are changed in place, and pages whose entries all stay where they are, are not touched.
  bool ReserveKeep(std::span<const uint32_t> entries);
  void CommitKeep(std::span<const uint32_t> entries);

  // Fills entries that are there already, from f32 rows. Thread-safe on disjoint entries.
  void Write(uint64_t first, uint32_t count, const float* rows, size_t row_stride);

  // Of one entry; only for keys.
  int32_t Position(uint64_t entry) const {
    return views_[static_cast<size_t>(entry / kMaxPageEntries)].Position(
        static_cast<uint32_t>(entry % kMaxPageEntries));
  }

  // The bytes of a page that no other list shares (a list that was just loaded).
  std::byte* OwnPage(size_t page);

  // One unit of a side block, in a page that no other list shares; empty if there is no memory for
  // a copy.
  std::span<std::byte> SideUnit(size_t index, uint64_t unit);

  // Keeps the first `size` entries; frees the pages behind.
  void Truncate(uint64_t size);

  // Moves the last page into the smallest class, after Truncate or CommitKeep left room in it,
  // unless it is shared or there is no memory for the copy.
  void Shrink();

  // Entries whose position is below `end_position`; only for keys.
  uint64_t CountBefore(int32_t end_position) const;

  // Bytes: entries at their stored size; positions, used side units and page tables; blocks of the
  // pool.
  uint64_t LogicalBytes() const;
  uint64_t MetadataBytes() const;
  uint64_t AllocatedBytes() const;

 private:
  // Memory for a page and what it costs, counted in held_; nullptr if there is none.
  Page* NewPage(uint32_t capacity, bool with_positions);
  int32_t* NewPositions(uint32_t capacity);
  void FreePositions(int32_t* positions, uint32_t capacity);
  uint64_t HeldBytesOf(const Page& page) const;
  Page* CopyPage(const Page& page, const PageView& view, uint32_t capacity, bool with_positions);
  void Release(Page* page);
  void SetPage(size_t index, Page* page);
  void AppendToLast(std::span<const int32_t> positions);
  bool ReserveInLast(std::span<const int32_t> positions);
  void ClearSideUnits(Page* page, uint32_t first, uint32_t count);

  // Parts of CommitKeep: what the entries at `kept` hold goes to the front of `to`, which may be
  // the very page that some of them lie in.
  void MoveEntries(std::span<const uint32_t> kept, std::span<std::byte> buffer, Page* to) const;
  void MoveSideUnits(std::span<const uint32_t> kept, size_t page, size_t num_unmoved, Page* to);
  void MovePositions(std::span<const uint32_t> kept, size_t page, int32_t* reserved, Page* to);
  bool ContiguousAt(std::span<const uint32_t> kept) const;

  PagePool* pool_;
  const ListLayout* layout_;
  HeldBytes* held_;
  uint64_t size_ = 0;
  std::vector<Page*> pages_;
  std::vector<PageView> views_;  // [pages_.size()]

  // Between Reserve and Commit: new pages; the first takes the place of the last one if
  // replaces_last_.
  std::vector<Page*> reserved_;
  bool replaces_last_ = false;
  int32_t* reserved_positions_ = nullptr;  // for the last page, if it stays and needs its own now

  // Between ReserveKeep and CommitKeep, for every page that will change, from the first one on: a
  // new page to take its place, or positions for the page that stays, or neither.
  struct ReservedChange {
    Page* page = nullptr;
    int32_t* positions = nullptr;
    uint32_t capacity = 0;
  };
  std::vector<ReservedChange> changes_;
};

}  // namespace pith
