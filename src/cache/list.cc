#include "cache/list.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "cache/group_list.h"
#include "codec/packed.h"

namespace pith {
namespace {

// A number that is not finite would spoil all others of its entry.
void Rotate(std::span<float> rows, uint32_t dim) {
  for (float& x : rows) x = Contained(x);
  RotateRows(rows, dim);
}

}  // namespace

EntryList::EntryList(PagePool* pool, const ListLayouts* layouts, HeldBytes* held)
    : tail_(pool, &layouts->tail, held) {
  const ListLayout& sealed = layouts->sealed;
  if (sealed.form == nullptr) return;
  if (sealed.form->group(sealed.side) > 0) {
    sealed_ = std::make_unique<GroupList>(pool, &sealed, held);
  } else {
    sealed_ = std::make_unique<PageList>(pool, &sealed, held);
  }
}

EntryList EntryList::Fork(PagePool* pool, const ListLayouts* layouts, HeldBytes* held) const {
  EntryList fork(pool, layouts, held);
  fork.tail_.Share(tail_);
  if (sealed_ != nullptr) fork.sealed_->Share(*sealed_);
  fork.joined_ = joined_;
  return fork;
}

int32_t EntryList::last_position() const {
  return tail_.size() == 0 && sealed_ != nullptr ? sealed_->last_position() : tail_.last_position();
}

void EntryList::RefreshFrom(size_t sealed_page) {
  if (sealed_ == nullptr) return;
  joined_.resize(std::min(sealed_page, joined_.size()));
  const auto sealed = sealed_->views().subspan(joined_.size());
  joined_.insert(joined_.end(), sealed.begin(), sealed.end());
  joined_.insert(joined_.end(), tail_.views().begin(), tail_.views().end());
}

void EntryList::Commit(std::span<const int32_t> positions) {
  tail_.Commit(positions);
  if (sealed_ != nullptr) RefreshFrom(sealed_->views().size());
}

void EntryList::Write(uint64_t first, uint32_t count, const float* rows, size_t row_stride) {
  PITH_CHECK(first >= num_sealed());
  tail_.Write(first - num_sealed(), count, rows, row_stride);
}

std::vector<uint32_t> EntryList::KeptOfTail(std::span<const uint32_t> entries) const {
  const auto first = static_cast<uint32_t>(num_sealed());
  std::vector<uint32_t> kept(std::lower_bound(entries.begin(), entries.end(), first),
                             entries.end());
  for (uint32_t& entry : kept) entry -= first;
  return kept;
}

bool EntryList::ReserveKeep(std::span<const uint32_t> entries) {
  if (sealed_ == nullptr) return tail_.ReserveKeep(entries);
  const std::vector<uint32_t> kept = KeptOfTail(entries);
  return sealed_->ReserveKeep(entries.first(entries.size() - kept.size())) &&
         tail_.ReserveKeep(kept);
}

void EntryList::CommitKeep(std::span<const uint32_t> entries) {
  if (sealed_ == nullptr) {
    tail_.MoveKept(entries);
  } else {
    const std::vector<uint32_t> kept = KeptOfTail(entries);
    sealed_->MoveKept(entries.first(entries.size() - kept.size()));
    sealed_->FinishKeep();
    tail_.MoveKept(kept);
  }
  tail_.FinishKeep();
  Refresh();
}

void EntryList::Cancel() {
  tail_.Cancel();
  if (sealed_ != nullptr) sealed_->Cancel();
}

void EntryList::Truncate(uint64_t size) {
  tail_.Truncate(size - std::min(size, num_sealed()));
  if (sealed_ != nullptr) sealed_->Truncate(size);
  Refresh();
}

void EntryList::Shrink() {
  if (sealed_ != nullptr) sealed_->Shrink();
  tail_.Shrink();
  Refresh();
}

uint64_t EntryList::CountBefore(int32_t end_position) const {
  if (sealed_ == nullptr) return tail_.CountBefore(end_position);
  return sealed_->CountBefore(end_position) + tail_.CountBefore(end_position);
}

bool EntryList::ReserveSeal(uint64_t count) {
  PITH_CHECK(sealed_ != nullptr && count <= tail_.size());
  seal_positions_.assign(static_cast<size_t>(count), 0);
  size_t done = 0;
  for (const PageView& page : tail_.views()) {
    if (tail_.layout().side == Side::kValues) break;  // they have none
    for (uint32_t i = 0; i < page.count && done < count; ++i) {
      seal_positions_[done++] = page.Position(i);
    }
  }
  seal_kept_.resize(static_cast<size_t>(tail_.size() - count));
  std::iota(seal_kept_.begin(), seal_kept_.end(), static_cast<uint32_t>(count));
  return sealed_->Reserve(seal_positions_) && tail_.ReserveKeep(seal_kept_);
}

void EntryList::CommitSeal() {
  const size_t num_pages = sealed_->views().size();
  seal_first_page_ = num_pages > 0 ? num_pages - 1 : 0;
  sealed_->Commit(seal_positions_);
}

void EntryList::EncodeSeal() {
  const HeadView tail{.keys = tail_.views(), .values = tail_.views(), .num_entries = tail_.size()};
  const uint32_t dim = tail_.layout().dim;
  sealed_->StoreLast(seal_positions_.size(), [&](uint64_t first, uint32_t count, float* rows) {
    ReadRows(tail, tail_.layout().side, first, count, rows);
    if (sealed_->layout().rotated) Rotate({rows, size_t{count} * dim}, dim);
  });
  tail_.MoveKept(seal_kept_);
}

void EntryList::FinishSeal() {
  tail_.FinishKeep();
  RefreshFrom(seal_first_page_);
}

void EntryList::ShrinkTail() {
  tail_.Shrink();
  if (sealed_ != nullptr) RefreshFrom(sealed_->views().size());
}

uint64_t EntryList::LogicalBytes() const {
  return tail_.LogicalBytes() + (sealed_ != nullptr ? sealed_->LogicalBytes() : 0);
}

uint64_t EntryList::MetadataBytes() const {
  return tail_.MetadataBytes() + (sealed_ != nullptr ? sealed_->MetadataBytes() : 0) +
         joined_.size() * sizeof(PageView);
}

uint64_t EntryList::AllocatedBytes() const {
  return tail_.AllocatedBytes() + (sealed_ != nullptr ? sealed_->AllocatedBytes() : 0);
}

}  // namespace pith
