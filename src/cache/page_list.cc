#include "cache/page_list.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"

namespace pith {
namespace {

// Whether the page needs its own positions once these follow its entries.
bool NeedsPositions(const PageView& view, std::span<const int32_t> positions) {
  return view.positions != nullptr || !Contiguous(positions) ||
         positions.front() != int64_t{view.first_position} + view.count;
}

// Entries that stay where they are: the longest prefix 0, 1, 2, ...
size_t CountUnmoved(std::span<const uint32_t> entries) {
  const auto end = std::partition_point(entries.begin(), entries.end(), [&](const uint32_t& entry) {
    return entry == static_cast<size_t>(&entry - entries.data());
  });
  return static_cast<size_t>(end - entries.begin());
}

size_t CountPages(size_t entries) { return (entries + kMaxPageEntries - 1) / kMaxPageEntries; }

// Those of the entries that go to a page.
std::span<const uint32_t> EntriesForPage(std::span<const uint32_t> entries, size_t page) {
  const size_t first = page * kMaxPageEntries;
  return entries.subspan(first, std::min<size_t>(entries.size() - first, kMaxPageEntries));
}

// Calls visit(page, entry in the page, count, done before) for every run of neighbours in a page.
template <class Visit>
void ForEachRun(std::span<const uint32_t> kept, const Visit& visit) {
  for (size_t done = 0; done < kept.size();) {
    const uint32_t first = kept[done], page_end = (first / kMaxPageEntries + 1) * kMaxPageEntries;
    uint32_t count = 1;
    while (done + count < kept.size() && kept[done + count] == first + count &&
           first + count < page_end) {
      ++count;
    }
    visit(first / kMaxPageEntries, first % kMaxPageEntries, count, done);
    done += count;
  }
}

}  // namespace

// What the last page needs to take these too.
bool PageList::ReserveInLast(std::span<const int32_t> positions) {
  const Page& page = *pages_.back();
  const PageView& view = views_.back();
  const uint32_t needed = view.count + static_cast<uint32_t>(positions.size());
  const bool explicit_positions = is_keys() && NeedsPositions(view, positions);
  if (needed > page.capacity || page.references > 1) {
    const uint32_t capacity = std::max(page.capacity, CapacityClass(needed));
    Page* copy = CopyPage(page, view, capacity, explicit_positions);
    if (copy == nullptr) return false;
    reserved_.push_back(copy);
    replaces_last_ = true;
  } else if (explicit_positions && page.positions == nullptr) {
    reserved_positions_ = NewPositions(page.capacity);
    return reserved_positions_ != nullptr;
  }
  return true;
}

bool PageList::Reserve(std::span<const int32_t> positions) {
  replaces_last_ = false;
  size_t done = 0;
  if (!views_.empty() && views_.back().count < kMaxPageEntries && !positions.empty()) {
    done = std::min<size_t>(positions.size(), kMaxPageEntries - views_.back().count);
    if (!ReserveInLast(positions.first(done))) return false;
  }
  return ReservePages(positions.subspan(done), kMaxPageEntries);
}

void PageList::Commit(std::span<const int32_t> positions) {
  if (replaces_last_) SetPage(pages_.size() - 1, reserved_.front());
  if (reserved_positions_ != nullptr) {
    PageView& view = views_.back();
    for (uint32_t i = 0; i < view.count; ++i) reserved_positions_[i] = view.Position(i);
    view.positions = pages_.back()->positions = std::exchange(reserved_positions_, nullptr);
  }
  size_t done = 0;
  if (!views_.empty()) {
    done = std::min<size_t>(positions.size(), kMaxPageEntries - views_.back().count);
    AppendToLast(positions.first(done));
  }
  CommitPages(positions.subspan(done), kMaxPageEntries, replaces_last_ ? 1 : 0);
}

void PageList::CopyEntries(const Page& from, uint32_t, Page* to) const {
  std::memcpy(to->data, from.data, layout_->EntryBytes(std::min(from.capacity, to->capacity)));
}

void PageList::Write(uint64_t first, uint32_t count, const float* rows, size_t row_stride) {
  PITH_CHECK(first <= size_ && count <= size_ - first);
  while (count > 0) {
    const auto index = static_cast<size_t>(first / kMaxPageEntries);
    const auto entry = static_cast<uint32_t>(first % kMaxPageEntries);
    const uint32_t here = std::min(count, kMaxPageEntries - entry);
    layout_->form->store(layout_->side, pages_[index]->data, views_[index].shape, entry, here, rows,
                         row_stride);
    first += here;
    count -= here;
    rows += here * row_stride;
  }
}

void PageList::StoreLast(uint64_t count, const RowReader& read) {
  std::vector<float> rows(std::min<uint64_t>(count, kMaxPageEntries) * layout_->dim);
  for (uint64_t done = 0; done < count;) {
    const auto here = static_cast<uint32_t>(std::min<uint64_t>(count - done, kMaxPageEntries));
    read(done, here, rows.data());
    Write(size_ - count + done, here, rows.data(), layout_->dim);
    done += here;
  }
}

std::span<std::byte> PageList::SideUnit(size_t index, uint64_t unit) {
  const SideBlock& block = layout_->side_blocks[index];
  PITH_CHECK(unit < size_);  // so that the product below cannot overflow
  const uint64_t entry = unit * block.entries_per_unit;
  PITH_CHECK(entry < size_);
  const auto page_index = static_cast<size_t>(entry / kMaxPageEntries);
  const Page* page = pages_[page_index];
  if (page->references > 1) {
    Page* copy = CopyPage(*page, views_[page_index], page->capacity, page->positions != nullptr);
    if (copy == nullptr) return {};
    SetPage(page_index, copy);
    page = copy;
  }
  const size_t unit_in_page = entry % kMaxPageEntries / block.entries_per_unit;
  return {page->data + layout_->SideOffset(index, page->capacity) + unit_in_page * block.bytes,
          block.bytes};
}

// Keep: the entries that stay move to the front, page by page and in place. Entry k of the result
// comes from entry entries[k] >= k, so a page can be filled as soon as what it takes has been read,
// and no page is needed again once the walk has passed it.
bool PageList::ReserveKeep(std::span<const uint32_t> entries) {
  if (entries.size() == size_) return true;
  const size_t end = CountPages(entries.size());
  for (size_t p = CountUnmoved(entries) / kMaxPageEntries; p < end; ++p) {
    const std::span<const uint32_t> kept = EntriesForPage(entries, p);
    const bool explicit_positions =
        is_keys() && !Contiguous(Position(kept.front()), Position(kept.back()), kept.size());
    if (!ReserveChange(p, kept.size(), explicit_positions)) return false;
  }
  return true;
}

void PageList::MoveKept(std::span<const uint32_t> entries) {
  const size_t num_unmoved = CountUnmoved(entries);
  std::vector<std::byte> buffer(kMaxPageEntries * layout_->form->canonical_bytes(layout_->dim));
  std::array<int32_t, kMaxPageEntries> positions;
  for (ReservedChange& change : changes_) {
    const std::span<const uint32_t> kept = EntriesForPage(entries, change.index);
    Page* const to = ChangedPage(change);
    MoveEntries(kept, buffer, to);
    MoveSideUnits(kept, change.index, num_unmoved, to);
    const size_t num_positions = is_keys() ? kept.size() : 0;
    for (size_t i = 0; i < num_positions; ++i) positions[i] = Position(kept[i]);
    SetKept(&change, static_cast<uint32_t>(kept.size()), std::span(positions).first(num_positions));
  }
  for (size_t p = CountPages(entries.size()); p < views_.size(); ++p) views_[p].count = 0;
}

// Through the canonical layout, which is exact.
void PageList::MoveEntries(std::span<const uint32_t> kept, std::span<std::byte> buffer,
                           Page* to) const {
  const Form& form = *layout_->form;
  const size_t entry_bytes = form.canonical_bytes(layout_->dim);
  ForEachRun(kept, [&](size_t page, uint32_t first, uint32_t count, size_t done) {
    form.export_entries(layout_->side, pages_[page]->data, views_[page].shape, first, count,
                        buffer.data() + done * entry_bytes);
  });
  form.import_entries(layout_->side, to->data, layout_->Shape(to->capacity), 0,
                      static_cast<uint32_t>(kept.size()), buffer.data());
}

// Units of entries go with their entry. Units of blocks stay if none of their entries moved or went
// away; all others become zero.
void PageList::MoveSideUnits(std::span<const uint32_t> kept, size_t page, size_t num_unmoved,
                             Page* to) const {
  const size_t first = page * kMaxPageEntries;
  const auto unmoved_here =
      static_cast<uint32_t>(std::clamp<size_t>(num_unmoved, first, first + kept.size()) - first);
  for (size_t i = 0; i < layout_->side_blocks.size(); ++i) {
    const SideBlock& block = layout_->side_blocks[i];
    const auto units_of = [&](const Page& of) {
      return of.data + layout_->SideOffset(i, of.capacity);
    };
    std::vector<std::byte> units(layout_->SideBytes(i, static_cast<uint32_t>(kept.size())));
    if (block.entries_per_unit == 1) {
      ForEachRun(kept, [&](size_t from, uint32_t entry, uint32_t count, size_t done) {
        std::memcpy(units.data() + done * block.bytes,
                    units_of(*pages_[from]) + size_t{entry} * block.bytes,
                    size_t{count} * block.bytes);
      });
    } else {
      const size_t whole = unmoved_here / block.entries_per_unit;
      std::memcpy(units.data(), units_of(*pages_[page]), whole * block.bytes);
    }
    std::memcpy(units_of(*to), units.data(), units.size());
  }
}

uint64_t PageList::LogicalBytes() const {
  // The page size of a form grows in proportion to its blocks; a block is the smallest capacity
  // class.
  return size_ * layout_->EntryBytes(kBlockEntries) / kBlockEntries;
}

}  // namespace pith
