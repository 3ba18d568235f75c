#include "cache/list.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace pith {
namespace {

constexpr size_t kSideAlignment = 16;

size_t RoundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

bool Contiguous(std::span<const int32_t> positions) {
  // Ascending, so the ends tell.
  return positions.back() - positions.front() == static_cast<int64_t>(positions.size()) - 1;
}

// Whether the page needs its own positions once these follow its entries.
bool NeedsPositions(const PageView& view, std::span<const int32_t> positions) {
  return view.positions != nullptr || !Contiguous(positions) ||
         positions.front() != int64_t{view.first_position} + view.count;
}

}  // namespace

size_t ListLayout::SideBytes(size_t index, uint32_t entries) const {
  const SideBlock& block = side_blocks[index];
  return RoundUp(entries, block.entries_per_unit) / block.entries_per_unit * block.bytes;
}

size_t ListLayout::SideOffset(size_t index, uint32_t capacity) const {
  size_t offset = EntryBytes(capacity);
  for (size_t i = 0; i < side_blocks.size(); ++i) {
    offset = RoundUp(offset, kSideAlignment);
    if (i == index) break;
    offset += SideBytes(i, capacity);
  }
  return offset;
}

PageList::PageList(PageList&& other) noexcept
    : pool_(other.pool_),
      layout_(other.layout_),
      held_(other.held_),
      size_(std::exchange(other.size_, 0)),
      pages_(std::exchange(other.pages_, {})),
      views_(std::exchange(other.views_, {})) {}

PageList PageList::Fork(HeldBytes* held) const {
  PageList fork(pool_, layout_, held);
  fork.size_ = size_;
  fork.pages_ = pages_;
  fork.views_ = views_;
  for (Page* page : pages_) ++page->references;
  held->Add(AllocatedBytes());
  return fork;
}

int32_t PageList::last_position() const {
  return views_.empty() ? -1 : views_.back().Position(views_.back().count - 1);
}

uint64_t PageList::HeldBytesOf(const Page& page) const {
  uint64_t bytes = PagePool::BlockBytes(layout_->PageBytes(page.capacity));
  if (page.positions != nullptr) bytes += PagePool::BlockBytes(page.capacity * sizeof(int32_t));
  return bytes;
}

int32_t* PageList::NewPositions(uint32_t capacity) {
  const size_t bytes = capacity * sizeof(int32_t);
  std::byte* positions = pool_->Allocate(bytes);
  if (positions != nullptr) held_->Add(PagePool::BlockBytes(bytes));
  return reinterpret_cast<int32_t*>(positions);
}

void PageList::FreePositions(int32_t* positions, uint32_t capacity) {
  const size_t bytes = capacity * sizeof(int32_t);
  pool_->Free(reinterpret_cast<std::byte*>(positions), bytes);
  held_->Remove(PagePool::BlockBytes(bytes));
}

Page* PageList::NewPage(uint32_t capacity, bool with_positions) {
  const size_t bytes = layout_->PageBytes(capacity);
  std::byte* data = pool_->Allocate(bytes);
  if (data == nullptr) return nullptr;
  int32_t* positions = nullptr;
  if (with_positions) {
    positions = NewPositions(capacity);
    if (positions == nullptr) {
      pool_->Free(data, bytes);
      return nullptr;
    }
  }
  held_->Add(PagePool::BlockBytes(bytes));
  return new Page{.data = data, .positions = positions, .capacity = capacity};
}

Page* PageList::CopyPage(const Page& page, const PageView& view, uint32_t capacity,
                         bool with_positions) {
  Page* copy = NewPage(capacity, with_positions);
  if (copy == nullptr) return nullptr;
  std::memcpy(copy->data, page.data, layout_->EntryBytes(std::min(capacity, page.capacity)));
  for (size_t i = 0; i < layout_->side_blocks.size(); ++i) {
    std::memcpy(copy->data + layout_->SideOffset(i, capacity),
                page.data + layout_->SideOffset(i, page.capacity),
                layout_->SideBytes(i, view.count));
  }
  if (with_positions) {
    for (uint32_t i = 0; i < view.count; ++i) copy->positions[i] = view.Position(i);
  }
  return copy;
}

void PageList::Release(Page* page) {
  held_->Remove(HeldBytesOf(*page));
  if (--page->references > 0) return;
  pool_->Free(page->data, layout_->PageBytes(page->capacity));
  if (page->positions != nullptr) {
    pool_->Free(reinterpret_cast<std::byte*>(page->positions), page->capacity * sizeof(int32_t));
  }
  delete page;
}

void PageList::SetPage(size_t index, Page* page) {
  Release(std::exchange(pages_[index], page));
  PageView& view = views_[index];
  view.data = page->data;
  view.shape = layout_->Shape(page->capacity);
  view.positions = page->positions;
}

// What the last page needs to take these too.
bool PageList::ReserveInLast(std::span<const int32_t> positions) {
  const Page& page = *pages_.back();
  const PageView& view = views_.back();
  const uint32_t needed = view.count + static_cast<uint32_t>(positions.size());
  const bool explicit_positions = layout_->side == Side::kKeys && NeedsPositions(view, positions);
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
  const bool keys = layout_->side == Side::kKeys;
  size_t done = 0;
  if (!views_.empty() && views_.back().count < kMaxPageEntries && !positions.empty()) {
    done = std::min<size_t>(positions.size(), kMaxPageEntries - views_.back().count);
    if (!ReserveInLast(positions.first(done))) return false;
  }
  while (done < positions.size()) {
    const size_t count = std::min<size_t>(positions.size() - done, kMaxPageEntries);
    const bool explicit_positions = keys && !Contiguous(positions.subspan(done, count));
    Page* page = NewPage(CapacityClass(static_cast<uint32_t>(count)), explicit_positions);
    if (page == nullptr) return false;
    reserved_.push_back(page);
    done += count;
  }
  return true;
}

void PageList::Commit(std::span<const int32_t> positions) {
  size_t next = 0;
  if (replaces_last_) SetPage(pages_.size() - 1, reserved_[next++]);
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
  for (; next < reserved_.size(); ++next) {
    const Page* page = reserved_[next];
    const size_t count = std::min<size_t>(positions.size() - done, kMaxPageEntries);
    pages_.push_back(reserved_[next]);
    views_.push_back({.data = page->data,
                      .form = layout_->form,
                      .shape = layout_->Shape(page->capacity),
                      .positions = page->positions});
    AppendToLast(positions.subspan(done, count));
    done += count;
  }
  size_ += positions.size();
  reserved_.clear();
  replaces_last_ = false;
}

void PageList::Cancel() {
  for (Page* page : reserved_) Release(page);
  reserved_.clear();
  replaces_last_ = false;
  if (reserved_positions_ != nullptr) {
    FreePositions(std::exchange(reserved_positions_, nullptr), pages_.back()->capacity);
  }
  for (const ReservedChange& change : changes_) {
    if (change.page != nullptr) Release(change.page);
    if (change.positions != nullptr) FreePositions(change.positions, change.capacity);
  }
  changes_.clear();
}

void PageList::AppendToLast(std::span<const int32_t> positions) {
  if (positions.empty()) return;
  PageView& view = views_.back();
  const auto count = static_cast<uint32_t>(positions.size());
  if (layout_->side == Side::kKeys) {
    if (view.count == 0) view.first_position = positions.front();
    if (view.positions != nullptr) {
      std::copy(positions.begin(), positions.end(), pages_.back()->positions + view.count);
    }
  }
  ClearSideUnits(pages_.back(), view.count, count);
  view.count += count;
}

// Entries that were dropped may have left their units behind. A unit that earlier entries share is
// not new.
void PageList::ClearSideUnits(Page* page, uint32_t first, uint32_t count) {
  for (size_t i = 0; i < layout_->side_blocks.size(); ++i) {
    const size_t begin = layout_->SideBytes(i, first), end = layout_->SideBytes(i, first + count);
    std::memset(page->data + layout_->SideOffset(i, page->capacity) + begin, 0, end - begin);
  }
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

std::byte* PageList::OwnPage(size_t page) {
  PITH_CHECK(pages_[page]->references == 1);
  return pages_[page]->data;
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

void PageList::Truncate(uint64_t size) {
  if (size >= size_) return;
  const auto num_pages = static_cast<size_t>((size + kMaxPageEntries - 1) / kMaxPageEntries);
  while (pages_.size() > num_pages) {
    Release(pages_.back());
    pages_.pop_back();
    views_.pop_back();
  }
  size_ = size;
  if (pages_.empty()) return;
  views_.back().count = static_cast<uint32_t>(size - (num_pages - 1) * kMaxPageEntries);
}

void PageList::Shrink() {
  if (pages_.empty()) return;
  const Page& page = *pages_.back();
  const PageView& view = views_.back();
  const uint32_t capacity = CapacityClass(view.count);
  if (capacity == page.capacity || page.references > 1) return;
  const bool contiguous =
      page.positions == nullptr || Contiguous({page.positions, page.positions + view.count});
  Page* copy = CopyPage(page, view, capacity, !contiguous);
  if (copy != nullptr) SetPage(pages_.size() - 1, copy);
}

uint64_t PageList::CountBefore(int32_t end_position) const {
  const auto behind = std::partition_point(views_.begin(), views_.end(), [&](const PageView& v) {
    return v.Position(0) < end_position;
  });
  if (behind == views_.begin()) return 0;
  const PageView& view = *std::prev(behind);
  uint32_t low = 0, high = view.count;  // entries [0, low) are before, [high, count) are not
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (view.Position(middle) < end_position) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return static_cast<uint64_t>(behind - views_.begin() - 1) * kMaxPageEntries + low;
}

uint64_t PageList::LogicalBytes() const {
  // The page size of a form grows in proportion to its blocks; a block is the smallest capacity
  // class.
  return size_ * layout_->EntryBytes(kBlockEntries) / kBlockEntries;
}

uint64_t PageList::MetadataBytes() const {
  uint64_t bytes = pages_.size() * (sizeof(Page) + sizeof(Page*) + sizeof(PageView));
  for (const PageView& view : views_) {
    if (view.positions != nullptr) bytes += view.count * sizeof(int32_t);
    for (size_t i = 0; i < layout_->side_blocks.size(); ++i) {
      bytes += layout_->SideBytes(i, view.count);
    }
  }
  return bytes;
}

uint64_t PageList::AllocatedBytes() const {
  uint64_t bytes = 0;
  for (const Page* page : pages_) bytes += HeldBytesOf(*page);
  return bytes;
}

}  // namespace pith
