// A part of a list: entries of one side in one form, cut into pages that come from the pool, are
// shared between forks and are copied before they are written. PageList holds entries that stand
// alone, GroupList those that were sealed in groups.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cache/cache.h"
#include "cache/page.h"
#include "cache/view.h"

namespace pith {

// What the pages of a part look like; the same for all lists of one side of a cache.
struct ListLayout {
  const Form* form = nullptr;
  Side side = Side::kKeys;
  uint32_t dim = 0;                    // numbers that are stored of an entry
  std::vector<SideBlock> side_blocks;  // those of this side
  bool rotated = false;                // what is stored was rotated before
  bool pruned = false;                 // `dim` channels of more, those of the part's list
  bool mixed = false;                  // or mixtures of them
  bool directions = false;             // in pages that layers share, with norms of the list's own
  bool shared = false;                 // they are pages of another layer's list, which counts them

  // Of a page of entries that are sealed together.
  uint32_t GroupEntries() const {
    const uint32_t group = form->group(side);
    return group > 0 ? group : kMaxPageEntries;
  }

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

// The norms of a page of directions, in the pool; forks share them.
class NormBlock {
 public:
  // nullptr if there is no memory. The pool outlives it.
  static std::shared_ptr<const NormBlock> Make(PagePool* pool, uint32_t capacity);
  static uint64_t BlockBytes(uint32_t capacity);
  NormBlock(PagePool* pool, F16* data, uint32_t capacity)
      : pool_(pool), data_(data), capacity_(capacity) {}
  NormBlock(const NormBlock&) = delete;
  NormBlock& operator=(const NormBlock&) = delete;
  ~NormBlock();

  F16* data() const { return data_; }  // [capacity]
  uint64_t bytes() const { return BlockBytes(capacity_); }

 private:
  PagePool* pool_;
  F16* data_;
  uint32_t capacity_;
};

// Gives rows [count][dim] of new entries, the first of them counted from 0.
using RowReader = std::function<void(uint64_t first, uint32_t count, float* rows)>;

// Whether `count` ascending positions from `first` to `last` have no gap.
inline bool Contiguous(int32_t first, int32_t last, size_t count) {
  return last - int64_t{first} == static_cast<int64_t>(count) - 1;
}
inline bool Contiguous(std::span<const int32_t> positions) {
  return Contiguous(positions.front(), positions.back(), positions.size());
}

class ListPart {
 public:
  // Pool, layout and counter outlive the part.
  ListPart(PagePool* pool, const ListLayout* layout, HeldBytes* held)
      : pool_(pool), layout_(layout), held_(held) {}
  ListPart(ListPart&& other) noexcept;
  ListPart& operator=(ListPart&&) = delete;
  virtual ~ListPart() { Truncate(0); }

  // Takes all entries of `other` into this empty part; their pages are shared.
  void Share(const ListPart& other);

  const ListLayout& layout() const { return *layout_; }
  uint64_t size() const { return size_; }
  std::span<const PageView> views() const { return views_; }
  int32_t last_position() const;  // -1 if empty; only for keys

  // Of all pages to come; lives as long as they do.
  void SetChannels(const ChannelList* channels) { channels_ = channels; }

  // Appending in two steps, so that many lists grow together or not at all. Reserve() gets all
  // memory that `positions` new entries need, copies a shared page that would be written, and
  // changes nothing that can be seen; it may fail (false). Then either Commit(), with the same
  // positions, or Cancel(). Only keys store positions.
  virtual bool Reserve(std::span<const int32_t> positions) = 0;
  virtual void Commit(std::span<const int32_t> positions) = 0;
  bool has_reserved_pages() const { return !reserved_.empty(); }

  // Stores the last `count` entries, all that were committed together. Any thread.
  virtual void StoreLast(uint64_t count, const RowReader& read) = 0;

  // Keeping the entries at these ascending indices, in three steps: ReserveKeep() gets all memory,
  // changes nothing that can be seen, and may fail. Then either MoveKept(), on any thread, and
  // FinishKeep(), or Cancel(). Memory is needed for positions that were implicit and for shared
  // pages that change; all other pages are changed in place, and pages whose entries all stay where
  // they are, are not touched.
  virtual bool ReserveKeep(std::span<const uint32_t> entries) = 0;
  virtual void MoveKept(std::span<const uint32_t> entries) = 0;
  void FinishKeep();

  // Gives back what was reserved.
  void Cancel();

  // Keeps the first `size` entries; frees the pages behind.
  void Truncate(uint64_t size);

  // Moves pages that have become too large for their entries into the smallest class, unless they
  // are shared or there is no memory for the copy.
  void Shrink();

  // Entries whose position is below `end_position`; only for keys.
  uint64_t CountBefore(int32_t end_position) const;

  // The bytes of a page that no other list shares (a list that was just loaded).
  std::byte* OwnPage(size_t page);

  // Only for directions. The numbers that entries of a page are multiplied with, [count], to be
  // filled once they are committed.
  F16* NewNorms(size_t page) { return norms_[page]->data(); }
  // Where pages are another list's: takes those that `owner` has more, once their norms are
  // committed.
  void SharePages(const ListPart& owner);

  // Bytes: entries at their stored size; positions, used side units and page tables; blocks of the
  // pool.
  virtual uint64_t LogicalBytes() const = 0;
  uint64_t MetadataBytes() const;
  uint64_t AllocatedBytes() const;

 protected:
  // Between ReserveKeep and FinishKeep: a page that will change, with a new page to take its place,
  // or positions for the page that stays, or neither.
  struct ReservedChange {
    size_t index = 0;
    Page* page = nullptr;
    int32_t* positions = nullptr;
  };

  bool is_keys() const { return layout_->side == Side::kKeys; }

  // Memory for positions, or for a page, and what it costs, counted in held_; nullptr if there is
  // none.
  int32_t* NewPositions(uint32_t capacity);
  void FreePositions(int32_t* positions, uint32_t capacity);
  Page* NewPage(uint32_t capacity, bool with_positions);
  Page* CopyPage(const Page& page, const PageView& view, uint32_t capacity, bool with_positions);
  void SetPage(size_t index, Page* page);
  void Release(Page* page);
  // The stored bytes of the entries of a page, into one with room for them.
  virtual void CopyEntries(const Page& from, uint32_t count, Page* to) const = 0;

  // New pages of `page_entries` entries each, the last one with the rest, behind those that there
  // are; `first_reserved` are in reserved_ for something else.
  bool ReservePages(std::span<const int32_t> positions, uint32_t page_entries);
  void CommitPages(std::span<const int32_t> positions, uint32_t page_entries,
                   size_t first_reserved);
  void AppendToLast(std::span<const int32_t> positions);
  // Norms of new pages, which precede the pages themselves.
  bool ReserveNorms(size_t entries, uint32_t page_entries);
  void CommitNorms();

  // A change of page `index`, of which `num_kept` entries stay; false if there is no memory for it.
  bool ReserveChange(size_t index, size_t num_kept, bool explicit_positions);
  Page* ChangedPage(const ReservedChange& change) const {
    return change.page != nullptr ? change.page : pages_[change.index];
  }
  // Gives the changed page its positions; `positions` may be empty for values.
  void SetKept(ReservedChange* change, uint32_t count, std::span<const int32_t> positions);

  PagePool* pool_;
  const ListLayout* layout_;
  HeldBytes* held_;
  const ChannelList* channels_ = nullptr;
  uint64_t size_ = 0;
  std::vector<Page*> pages_;
  std::vector<PageView> views_;                                           // [pages_.size()]
  std::vector<std::shared_ptr<const NormBlock>> norms_, reserved_norms_;  // likewise, of directions
  std::vector<Page*> reserved_;            // between Reserve and Commit
  int32_t* reserved_positions_ = nullptr;  // for the last page, if it stays and needs its own now
  std::vector<ReservedChange> changes_;

 private:
  uint64_t HeldBytesOf(const Page& page) const;
  void ClearSideUnits(Page* page, uint32_t first, uint32_t count);
};

}  // namespace pith
