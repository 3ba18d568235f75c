#include "cache/list.h"

#include <algorithm>
#include <numeric>
#include <utility>

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
  if (sealed.form->group(sealed.side) > 0 || sealed.directions) {
    sealed_ = std::make_unique<GroupList>(pool, &sealed, held);
  } else {
    sealed_ = std::make_unique<PageList>(pool, &sealed, held);
  }
  if (layouts->has_exact) exact_ = std::make_unique<PageList>(pool, &layouts->tail, held);
}

EntryList EntryList::Fork(PagePool* pool, const ListLayouts* layouts, HeldBytes* held) const {
  EntryList fork(pool, layouts, held);
  fork.tail_.Share(tail_);
  if (exact_ != nullptr) fork.exact_->Share(*exact_);
  if (sealed_ != nullptr) fork.sealed_->Share(*sealed_);
  fork.channels_ = channels_;
  fork.merge_range_ = merge_range_;
  fork.joined_ = joined_;
  fork.unchanged_ = unchanged_;
  return fork;
}

int32_t EntryList::last_position() const {
  int32_t last = -1;
  ForEachPart(*this,
              [&last](const ListPart& part) { last = std::max(last, part.last_position()); });
  return last;
}

void EntryList::SetChannels(std::shared_ptr<const ChannelList> channels) {
  PITH_CHECK(num_sealed() == 0);
  channels_ = std::move(channels);
  sealed_->SetChannels(channels_.get());
}

void EntryList::ForgetUnusedChannels() {
  if (channels_ != nullptr && num_sealed() == 0) SetChannels(nullptr);
}

void EntryList::RefreshFrom(size_t page) {
  if (sealed_ == nullptr) return;
  joined_.resize(std::min(page, joined_.size()));
  size_t done = joined_.size();
  ForEachPart(*this, [&](const ListPart& part) {
    const auto views = part.views().subspan(std::min(done, part.views().size()));
    joined_.insert(joined_.end(), views.begin(), views.end());
    done -= part.views().size() - views.size();
  });
}

void EntryList::Commit(std::span<const int32_t> positions) {
  tail_.Commit(positions);
  if (sealed_ != nullptr) RefreshFrom(num_exact_pages() + sealed_->views().size());
}

void EntryList::Write(uint64_t first, uint32_t count, const float* rows, size_t row_stride) {
  const uint64_t in_front = size() - tail_.size();
  PITH_CHECK(first >= in_front);
  ChangedFrom(first);
  tail_.Write(first - in_front, count, rows, row_stride);
}

template <class Visit>
void EntryList::ForEachKept(std::span<const uint32_t> entries, const Visit& visit) {
  uint64_t begin = 0;
  std::vector<uint32_t> kept;
  ForEachPart(*this, [&](auto& part) {
    const uint64_t end = begin + part.size();  // before the visit, which may change it
    kept.clear();
    for (; !entries.empty() && entries.front() < end; entries = entries.subspan(1)) {
      kept.push_back(static_cast<uint32_t>(entries.front() - begin));
    }
    visit(part, kept);
    begin = end;
  });
}

bool EntryList::ReserveKeep(std::span<const uint32_t> entries) {
  bool complete = true;
  ForEachKept(entries, [&complete](ListPart& part, std::span<const uint32_t> kept) {
    complete = complete && part.ReserveKeep(kept);
  });
  return complete;
}

uint64_t EntryList::TakeUnchanged() { return std::exchange(unchanged_, size()); }

void EntryList::CommitKeep(std::span<const uint32_t> entries) {
  uint64_t same = 0;
  while (same < entries.size() && entries[same] == same) ++same;
  ChangedFrom(same);
  ForEachKept(entries, [](ListPart& part, std::span<const uint32_t> kept) {
    part.MoveKept(kept);
    part.FinishKeep();
  });
  ForgetUnusedChannels();
  Refresh();
}

void EntryList::Cancel() {
  ForEachPart(*this, [](ListPart& part) { part.Cancel(); });
  seal_channels_.reset();
}

void EntryList::Truncate(int32_t end_position, const EntryList& keys) {
  if (merges()) {  // positions ascend within parts only, which keys and values have alike
    ChangedFrom(keys.exact_->CountBefore(end_position));
    exact_->Truncate(keys.exact_->CountBefore(end_position));
    sealed_->Truncate(keys.sealed_->CountBefore(end_position));
    tail_.Truncate(keys.tail_.CountBefore(end_position));
    if (num_sealed() + num_exact() == 0) merge_range_ = {};
    Refresh();
    return;
  }
  uint64_t size = keys.CountBefore(end_position);
  ChangedFrom(size);
  ForEachPart(*this, [&size](ListPart& part) {
    const uint64_t here = std::min(size, part.size());
    part.Truncate(here);
    size -= here;
  });
  ForgetUnusedChannels();
  Refresh();
}

void EntryList::Shrink() {
  ForEachPart(*this, [](ListPart& part) { part.Shrink(); });
  Refresh();
}

uint64_t EntryList::CountBefore(int32_t end_position) const {
  uint64_t count = 0;
  ForEachPart(*this, [&](const ListPart& part) { count += part.CountBefore(end_position); });
  return count;
}

bool EntryList::ReserveSeal(std::vector<uint32_t> exact, uint64_t count,
                            std::shared_ptr<const ChannelList> channels) {
  PITH_CHECK(sealed_ != nullptr && count <= tail_.size());
  PITH_CHECK(exact.empty() || (exact_ != nullptr && exact.back() < count));
  PITH_CHECK((channels != nullptr) == (sealed_->layout().pruned && num_sealed() == 0));
  if (channels != nullptr) {
    PITH_CHECK(channels->dim == tail_.layout().dim);
    PITH_CHECK(channels->num_stored() == sealed_->layout().dim);
  }
  seal_channels_ = std::move(channels);
  seal_exact_ = std::move(exact);
  seal_moved_.clear();
  for (uint32_t i = 0; i < count; ++i) {
    if (!std::ranges::binary_search(seal_exact_, i)) seal_moved_.push_back(i);
  }
  seal_kept_.resize(static_cast<size_t>(tail_.size() - count));
  std::iota(seal_kept_.begin(), seal_kept_.end(), static_cast<uint32_t>(count));
  std::vector<int32_t> positions(static_cast<size_t>(count), 0);
  size_t done = 0;
  for (const PageView& page : tail_.views()) {
    if (tail_.layout().side == Side::kValues) break;  // they have none
    for (uint32_t i = 0; i < page.count && done < positions.size(); ++i) {
      positions[done++] = page.Position(i);
    }
  }
  exact_positions_.clear();
  seal_positions_.clear();
  for (const uint32_t i : seal_exact_) exact_positions_.push_back(positions[i]);
  for (const uint32_t i : seal_moved_) seal_positions_.push_back(positions[i]);
  return (exact_positions_.empty() || exact_->Reserve(exact_positions_)) &&
         sealed_->Reserve(seal_positions_) && tail_.ReserveKeep(seal_kept_);
}

void EntryList::CommitSeal() {
  // Sinks stay where they are; what layers do not share goes in front of what they do.
  ChangedFrom(num_exact() + (merges() ? 0 : exact_positions_.size() + num_sealed()));
  if (seal_channels_ != nullptr) SetChannels(std::move(seal_channels_));
  const size_t num_pages = sealed_->views().size();
  seal_first_page_ = num_exact_pages() + (num_pages > 0 ? num_pages - 1 : 0);
  if (!exact_positions_.empty()) {
    seal_first_page_ = 0;
    exact_->Commit(exact_positions_);
  }
  sealed_->Commit(seal_positions_);
}

// Entries of the tail at ascending indices.
void EntryList::ReadTail(std::span<const uint32_t> entries, float* rows) const {
  const HeadView tail{.keys = tail_.views(), .values = tail_.views(), .num_entries = tail_.size()};
  const ListLayout& layout = tail_.layout();
  for (size_t i = 0; i < entries.size();) {
    uint32_t run = 1;
    while (i + run < entries.size() && entries[i + run] == entries[i] + run) ++run;
    ReadRows(tail, layout.side, entries[i], run, rows + i * layout.dim);
    i += run;
  }
}

void EntryList::StoreExact() {
  if (seal_exact_.empty()) return;
  exact_->StoreLast(seal_exact_.size(), [&](uint64_t first, uint32_t count, float* rows) {
    ReadTail(std::span(seal_exact_).subspan(first, count), rows);
  });
}

void EntryList::EncodeSeal() {
  const uint32_t dim = tail_.layout().dim;
  StoreExact();
  std::vector<float> whole;  // rows before they are pruned
  sealed_->StoreLast(seal_moved_.size(), [&](uint64_t first, uint32_t count, float* rows) {
    const auto entries = std::span(seal_moved_).subspan(first, count);
    if (channels_ == nullptr) {
      ReadTail(entries, rows);
      if (sealed_->layout().rotated) Rotate({rows, size_t{count} * dim}, dim);
      return;
    }
    whole.resize(size_t{count} * dim);
    ReadTail(entries, whole.data());
    for (uint32_t i = 0; i < count; ++i) {
      float* const row = &whole[size_t{i} * dim];
      channels_->Narrow(row);
      rows = std::copy_n(row, channels_->num_stored(), rows);
    }
  });
  tail_.MoveKept(seal_kept_);
}

void EntryList::FinishSeal() {
  tail_.FinishKeep();
  RefreshFrom(seal_first_page_);
}

void EntryList::ShrinkTail() {
  tail_.Shrink();
  if (sealed_ != nullptr) RefreshFrom(num_exact_pages() + sealed_->views().size());
}

uint64_t EntryList::LogicalBytes() const {
  uint64_t bytes = 0;
  ForEachPart(*this, [&bytes](const ListPart& part) { bytes += part.LogicalBytes(); });
  return bytes;
}

uint64_t EntryList::MetadataBytes() const {
  uint64_t bytes = joined_.size() * sizeof(PageView);
  if (channels_ != nullptr) bytes += channels_->bytes();
  ForEachPart(*this, [&bytes](const ListPart& part) { bytes += part.MetadataBytes(); });
  return bytes;
}

uint64_t EntryList::AllocatedBytes() const {
  uint64_t bytes = 0;
  ForEachPart(*this, [&bytes](const ListPart& part) { bytes += part.AllocatedBytes(); });
  return bytes;
}

}  // namespace pith
