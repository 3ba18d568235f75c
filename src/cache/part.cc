#include "cache/part.h"

#include <cstring>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace pith {
namespace {

constexpr size_t kSideAlignment = 16;

size_t RoundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

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

std::shared_ptr<const NormBlock> NormBlock::Make(PagePool* pool, uint32_t capacity) {
  std::byte* const data = pool->Allocate(capacity * sizeof(F16));
  if (data == nullptr) return nullptr;
  return std::make_shared<const NormBlock>(pool, reinterpret_cast<F16*>(data), capacity);
}

uint64_t NormBlock::BlockBytes(uint32_t capacity) {
  return PagePool::BlockBytes(capacity * sizeof(F16));
}

NormBlock::~NormBlock() {
  pool_->Free(reinterpret_cast<std::byte*>(data_), capacity_ * sizeof(F16));
}

ListPart::ListPart(ListPart&& other) noexcept
    : pool_(other.pool_),
      layout_(other.layout_),
      held_(other.held_),
      channels_(other.channels_),
      size_(std::exchange(other.size_, 0)),
      pages_(std::exchange(other.pages_, {})),
      views_(std::exchange(other.views_, {})),
      norms_(std::exchange(other.norms_, {})) {}

void ListPart::Share(const ListPart& other) {
  PITH_CHECK(size_ == 0);
  channels_ = other.channels_;
  size_ = other.size_;
  pages_ = other.pages_;
  views_ = other.views_;
  norms_ = other.norms_;
  for (Page* page : pages_) ++page->references;
  held_->Add(AllocatedBytes());
}

int32_t ListPart::last_position() const {
  return views_.empty() ? -1 : views_.back().Position(views_.back().count - 1);
}

uint64_t ListPart::HeldBytesOf(const Page& page) const {
  if (layout_->shared) return 0;
  uint64_t bytes = PagePool::BlockBytes(layout_->PageBytes(page.capacity));
  if (page.positions != nullptr) bytes += PagePool::BlockBytes(page.capacity * sizeof(int32_t));
  return bytes;
}

int32_t* ListPart::NewPositions(uint32_t capacity) {
  const size_t bytes = capacity * sizeof(int32_t);
  std::byte* positions = pool_->Allocate(bytes);
  if (positions != nullptr) held_->Add(PagePool::BlockBytes(bytes));
  return reinterpret_cast<int32_t*>(positions);
}

void ListPart::FreePositions(int32_t* positions, uint32_t capacity) {
  const size_t bytes = capacity * sizeof(int32_t);
  pool_->Free(reinterpret_cast<std::byte*>(positions), bytes);
  held_->Remove(PagePool::BlockBytes(bytes));
}

Page* ListPart::NewPage(uint32_t capacity, bool with_positions) {
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

Page* ListPart::CopyPage(const Page& page, const PageView& view, uint32_t capacity,
                         bool with_positions) {
  Page* copy = NewPage(capacity, with_positions);
  if (copy == nullptr) return nullptr;
  CopyEntries(page, view.count, copy);
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

void ListPart::Release(Page* page) {
  held_->Remove(HeldBytesOf(*page));
  if (--page->references > 0) return;
  pool_->Free(page->data, layout_->PageBytes(page->capacity));
  if (page->positions != nullptr) {
    pool_->Free(reinterpret_cast<std::byte*>(page->positions), page->capacity * sizeof(int32_t));
  }
  delete page;
}

void ListPart::SetPage(size_t index, Page* page) {
  Release(std::exchange(pages_[index], page));
  PageView& view = views_[index];
  view.data = page->data;
  view.shape = layout_->Shape(page->capacity);
  view.positions = page->positions;
}

bool ListPart::ReservePages(std::span<const int32_t> positions, uint32_t page_entries) {
  while (!positions.empty()) {
    const size_t count = std::min<size_t>(positions.size(), page_entries);
    const bool explicit_positions = is_keys() && !Contiguous(positions.first(count));
    Page* page = NewPage(CapacityClass(static_cast<uint32_t>(count)), explicit_positions);
    if (page == nullptr) return false;
    reserved_.push_back(page);
    positions = positions.subspan(count);
  }
  return true;
}

void ListPart::CommitPages(std::span<const int32_t> positions, uint32_t page_entries,
                           size_t first_reserved) {
  for (size_t next = first_reserved; next < reserved_.size(); ++next) {
    Page* page = reserved_[next];
    const size_t count = std::min<size_t>(positions.size(), page_entries);
    pages_.push_back(page);
    views_.push_back({.data = page->data,
                      .form = layout_->form,
                      .shape = layout_->Shape(page->capacity),
                      .positions = page->positions,
                      .rotated = layout_->rotated,
                      .channels = channels_,
                      .norms = norms_.empty() ? nullptr : norms_[views_.size()]->data()});
    AppendToLast(positions.first(count));
    positions = positions.subspan(count);
  }
  reserved_.clear();
}

bool ListPart::ReserveNorms(size_t entries, uint32_t page_entries) {
  while (entries > 0) {
    const auto count = static_cast<uint32_t>(std::min<size_t>(entries, page_entries));
    auto block = NormBlock::Make(pool_, CapacityClass(count));
    if (block == nullptr) return false;
    held_->Add(block->bytes());
    reserved_norms_.push_back(std::move(block));
    entries -= count;
  }
  return true;
}

void ListPart::CommitNorms() {
  std::ranges::move(reserved_norms_, std::back_inserter(norms_));
  reserved_norms_.clear();
}

void ListPart::SharePages(const ListPart& owner) {
  PITH_CHECK(layout_->shared && norms_.size() == owner.pages_.size());
  for (size_t p = pages_.size(); p < norms_.size(); ++p) {
    pages_.push_back(owner.pages_[p]);
    ++pages_.back()->references;
    views_.push_back(owner.views_[p]);
    views_.back().norms = norms_[p]->data();
    size_ += views_.back().count;
  }
}

void ListPart::AppendToLast(std::span<const int32_t> positions) {
  if (positions.empty()) return;
  PageView& view = views_.back();
  const auto count = static_cast<uint32_t>(positions.size());
  if (is_keys()) {
    if (view.count == 0) view.first_position = positions.front();
    if (view.positions != nullptr) {
      std::copy(positions.begin(), positions.end(), pages_.back()->positions + view.count);
    }
  }
  ClearSideUnits(pages_.back(), view.count, count);
  view.count += count;
  size_ += count;
}

// Entries that were dropped may have left their units behind. A unit that earlier entries share is
// not new.
void ListPart::ClearSideUnits(Page* page, uint32_t first, uint32_t count) {
  for (size_t i = 0; i < layout_->side_blocks.size(); ++i) {
    const size_t begin = layout_->SideBytes(i, first), end = layout_->SideBytes(i, first + count);
    std::memset(page->data + layout_->SideOffset(i, page->capacity) + begin, 0, end - begin);
  }
}

bool ListPart::ReserveChange(size_t index, size_t num_kept, bool explicit_positions) {
  const Page& page = *pages_[index];
  ReservedChange change{.index = index};
  if (page.references > 1) {
    change.page = NewPage(CapacityClass(static_cast<uint32_t>(num_kept)), explicit_positions);
    if (change.page == nullptr) return false;
  } else if (explicit_positions && page.positions == nullptr) {
    change.positions = NewPositions(page.capacity);
    if (change.positions == nullptr) return false;
  }
  changes_.push_back(change);
  return true;
}

void ListPart::SetKept(ReservedChange* change, uint32_t count, std::span<const int32_t> positions) {
  views_[change->index].count = count;
  if (positions.empty()) return;
  Page* const page = ChangedPage(*change);
  if (change->positions != nullptr) page->positions = std::exchange(change->positions, nullptr);
  if (page->positions != nullptr) {
    std::copy(positions.begin(), positions.end(), page->positions);
  }
  views_[change->index].first_position = positions.front();
}

void ListPart::FinishKeep() {
  for (const ReservedChange& change : changes_) {
    if (change.page != nullptr) SetPage(change.index, change.page);
    Page& page = *pages_[change.index];
    PageView& view = views_[change.index];
    if (page.positions != nullptr && Contiguous({page.positions, view.count})) {
      FreePositions(std::exchange(page.positions, nullptr), page.capacity);
    }
    view.positions = page.positions;
  }
  changes_.clear();
  size_ = 0;
  size_t kept = 0;
  for (size_t p = 0; p < pages_.size(); ++p) {
    if (views_[p].count == 0) {
      Release(pages_[p]);
      continue;
    }
    size_ += views_[p].count;
    pages_[kept] = pages_[p];
    views_[kept++] = views_[p];
  }
  pages_.resize(kept);
  views_.resize(kept);
}

void ListPart::Cancel() {
  for (Page* page : reserved_) Release(page);
  reserved_.clear();
  if (reserved_positions_ != nullptr) {
    FreePositions(std::exchange(reserved_positions_, nullptr), pages_.back()->capacity);
  }
  for (const auto& block : reserved_norms_) held_->Remove(block->bytes());
  reserved_norms_.clear();
  for (const ReservedChange& change : changes_) {
    if (change.page != nullptr) Release(change.page);
    if (change.positions != nullptr) {
      FreePositions(change.positions, pages_[change.index]->capacity);
    }
  }
  changes_.clear();
}

void ListPart::Truncate(uint64_t size) {
  while (size_ > size) {
    const uint64_t dropped = std::min<uint64_t>(size_ - size, views_.back().count);
    size_ -= dropped;
    views_.back().count -= static_cast<uint32_t>(dropped);
    if (views_.back().count > 0) return;
    Release(pages_.back());
    pages_.pop_back();
    views_.pop_back();
    if (norms_.empty()) continue;
    held_->Remove(norms_.back()->bytes());
    norms_.pop_back();
  }
}

void ListPart::Shrink() {
  if (layout_->directions) return;  // other layers read them
  for (size_t p = 0; p < pages_.size(); ++p) {
    const Page& page = *pages_[p];
    const PageView& view = views_[p];
    const uint32_t capacity = CapacityClass(view.count);
    if (capacity == page.capacity || page.references > 1) continue;
    const bool contiguous =
        page.positions == nullptr || Contiguous({page.positions, page.positions + view.count});
    Page* copy = CopyPage(page, view, capacity, !contiguous);
    if (copy != nullptr) SetPage(p, copy);
  }
}

uint64_t ListPart::CountBefore(int32_t end_position) const {
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
  uint64_t before = low;
  for (auto it = views_.begin(); it != std::prev(behind); ++it) before += it->count;
  return before;
}

std::byte* ListPart::OwnPage(size_t page) {
  PITH_CHECK(pages_[page]->references == 1);
  return pages_[page]->data;
}

uint64_t ListPart::MetadataBytes() const {
  uint64_t bytes = pages_.size() * (sizeof(Page) + sizeof(Page*) + sizeof(PageView));
  for (const PageView& view : views_) {
    const bool counts = view.positions != nullptr && !layout_->shared;
    if (counts) bytes += view.count * sizeof(int32_t);
    for (size_t i = 0; i < layout_->side_blocks.size(); ++i) {
      bytes += layout_->SideBytes(i, view.count);
    }
  }
  return bytes;
}

uint64_t ListPart::AllocatedBytes() const {
  uint64_t bytes = 0;
  for (const Page* page : pages_) bytes += HeldBytesOf(*page);
  for (const auto& block : norms_) bytes += block->bytes();
  return bytes;
}

}  // namespace pith
