// Keep: the entries that stay move to the front of their list, page by page and in place. Entry k
// of the result comes from entry entries[k] >= k, so a page can be filled as soon as what it takes
// has been read, and no page is needed again once the walk has passed it.
#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "cache/cache.h"
#include "cache/list.h"
#include "cache/page.h"
#include "cache/sequence.h"

namespace pith {
namespace {

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

bool PageList::ContiguousAt(std::span<const uint32_t> kept) const {
  // Ascending, so the ends tell.
  return Position(kept.back()) - int64_t{Position(kept.front())} ==
         static_cast<int64_t>(kept.size()) - 1;
}

bool PageList::ReserveKeep(std::span<const uint32_t> entries) {
  const size_t end = CountPages(entries.size());
  for (size_t p = CountUnmoved(entries) / kMaxPageEntries; p < end; ++p) {
    const std::span<const uint32_t> kept = EntriesForPage(entries, p);
    const bool explicit_positions = layout_->side == Side::kKeys && !ContiguousAt(kept);
    const Page& page = *pages_[p];
    ReservedChange change;
    if (page.references > 1) {
      change.capacity = CapacityClass(static_cast<uint32_t>(kept.size()));
      change.page = NewPage(change.capacity, explicit_positions);
      if (change.page == nullptr) return false;
    } else if (explicit_positions && page.positions == nullptr) {
      change.capacity = page.capacity;
      change.positions = NewPositions(change.capacity);
      if (change.positions == nullptr) return false;
    }
    changes_.push_back(change);
  }
  return true;
}

void PageList::CommitKeep(std::span<const uint32_t> entries) {
  const size_t num_unmoved = CountUnmoved(entries);
  const size_t begin = num_unmoved / kMaxPageEntries, end = CountPages(entries.size());
  std::vector<std::byte> buffer(kMaxPageEntries * layout_->form->canonical_bytes(layout_->dim));
  for (size_t p = begin; p < end; ++p) {
    const std::span<const uint32_t> kept = EntriesForPage(entries, p);
    const ReservedChange& change = changes_[p - begin];
    Page* const to = change.page != nullptr ? change.page : pages_[p];
    MoveEntries(kept, buffer, to);
    MoveSideUnits(kept, p, num_unmoved, to);
    if (layout_->side == Side::kKeys) MovePositions(kept, p, change.positions, to);
    if (to != pages_[p]) SetPage(p, to);
    views_[p].count = static_cast<uint32_t>(kept.size());
  }
  changes_.clear();
  while (pages_.size() > end) {
    Release(pages_.back());
    pages_.pop_back();
    views_.pop_back();
  }
  size_ = entries.size();
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
                             Page* to) {
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

void PageList::MovePositions(std::span<const uint32_t> kept, size_t page, int32_t* reserved,
                             Page* to) {
  const bool contiguous = ContiguousAt(kept);
  const int32_t first = Position(kept.front());
  if (reserved != nullptr) to->positions = reserved;
  if (!contiguous) {
    for (size_t i = 0; i < kept.size(); ++i) to->positions[i] = Position(kept[i]);
  } else if (to->positions != nullptr) {
    FreePositions(std::exchange(to->positions, nullptr), to->capacity);
  }
  views_[page].positions = to->positions;
  views_[page].first_position = first;
}

Status SequenceCache::Keep(uint32_t layer, uint32_t kv_head, std::span<const uint32_t> entries) {
  const CachePlan& plan = *impl_->plan;
  const uint32_t head = impl_->HeadNumber(layer, kv_head);
  // One set of entries for all that a list serves, and for keys and values alike.
  PITH_CHECK(plan.spec.keys.scope == plan.spec.values.scope);
  PITH_CHECK(plan.key_map.owner_of_list[plan.key_map.list_of_head[head]] == head);
  PageList& keys = impl_->KeysOf(head);
  PageList& values = impl_->ValuesOf(head);
  PITH_CHECK(keys.size() == values.size());
  PITH_CHECK(entries.empty() || entries.back() < keys.size());
  PITH_CHECK(std::adjacent_find(entries.begin(), entries.end(), std::greater_equal<>()) ==
             entries.end());
  if (entries.size() == keys.size()) return {};

  const bool complete = keys.ReserveKeep(entries) && values.ReserveKeep(entries);
  for (PageList* list : {&keys, &values}) complete ? list->CommitKeep(entries) : list->Cancel();
  impl_->pool->Trim();
  if (!complete) return impl_->NoMemory();
  for (PageList* list :
       {&keys, &values}) {  // after the trim, so that the pool's peak does not grow
    list->Shrink();
    impl_->pool->Trim();
  }
  impl_->RefreshHeads(layer, layer + 1);
  return {};
}

}  // namespace pith
