#include "cache/group_list.h"

#include <array>
#include <numeric>
#include <vector>

#include "base/check.h"

namespace pith {
namespace {

using Indices = std::array<uint32_t, kMaxPageEntries>;

// Calls visit(page, the kept entries' indices in that page) for every page.
template <class Visit>
void ForEachPage(std::span<const PageView> pages, std::span<const uint32_t> entries,
                 const Visit& visit) {
  Indices kept;
  uint64_t begin = 0;
  size_t next = 0;
  for (size_t p = 0; p < pages.size(); ++p) {
    const uint64_t end = begin + pages[p].count;  // before the visit, which may change it
    uint32_t count = 0;
    while (next < entries.size() && entries[next] < end) {
      kept[count++] = static_cast<uint32_t>(entries[next++] - begin);
    }
    visit(p, std::span<const uint32_t>(kept).first(count));
    begin = end;
  }
}

}  // namespace

bool GroupList::Reserve(std::span<const int32_t> positions) {
  if (layout_->directions && !ReserveNorms(positions.size(), layout_->GroupEntries())) return false;
  return layout_->shared || ReservePages(positions, layout_->GroupEntries());
}

void GroupList::Commit(std::span<const int32_t> positions) {
  CommitNorms();
  if (!layout_->shared) CommitPages(positions, layout_->GroupEntries(), 0);
}

void GroupList::StoreLast(uint64_t count, const RowReader& read) {
  size_t page = views_.size();
  for (uint64_t behind = 0; behind < count;) behind += views_[--page].count;
  std::vector<float> rows(size_t{layout_->GroupEntries()} * layout_->dim);
  for (uint64_t done = 0; page < views_.size(); ++page) {
    const PageView& view = views_[page];
    read(done, view.count, rows.data());
    layout_->form->store(layout_->side, OwnPage(page), view.shape, 0, view.count, rows.data(),
                         layout_->dim);
    done += view.count;
  }
}

bool GroupList::ReserveKeep(std::span<const uint32_t> entries) {
  PITH_CHECK(!layout_->directions || entries.size() == size());
  bool complete = true;
  ForEachPage(views_, entries, [&](size_t p, std::span<const uint32_t> kept) {
    const PageView& view = views_[p];
    if (!complete || kept.empty() || kept.size() == view.count) return;
    const bool explicit_positions =
        is_keys() &&
        !Contiguous(view.Position(kept.front()), view.Position(kept.back()), kept.size());
    complete = ReserveChange(p, kept.size(), explicit_positions);
  });
  return complete;
}

void GroupList::MoveKept(std::span<const uint32_t> entries) {
  auto change = changes_.begin();
  ForEachPage(views_, entries, [&](size_t p, std::span<const uint32_t> kept) {
    PageView& view = views_[p];
    if (kept.empty()) view.count = 0;
    if (kept.size() == view.count) return;
    PITH_CHECK(change->index == p);
    const Page& to = *ChangedPage(*change);
    layout_->form->keep_entries(layout_->side, view.data, view.shape, kept, to.data,
                                layout_->Shape(to.capacity));
    std::array<int32_t, kMaxPageEntries> positions;
    const size_t num_positions = is_keys() ? kept.size() : 0;
    for (size_t i = 0; i < num_positions; ++i) positions[i] = view.Position(kept[i]);
    SetKept(&*change++, static_cast<uint32_t>(kept.size()),
            std::span(positions).first(num_positions));
  });
}

void GroupList::CopyEntries(const Page& from, uint32_t count, Page* to) const {
  Indices all;
  std::iota(all.begin(), all.end(), 0u);
  layout_->form->keep_entries(layout_->side, from.data, layout_->Shape(from.capacity),
                              std::span(all).first(count), to->data, layout_->Shape(to->capacity));
}

uint64_t GroupList::LogicalBytes() const {
  uint64_t bytes = 0;
  for (const PageView& view : views_) {
    if (layout_->directions) bytes += view.count * sizeof(F16);
    if (layout_->shared) continue;
    bytes += layout_->form->group(layout_->side) > 0
                 ? layout_->form->canonical_page_bytes(layout_->side, layout_->dim, view.count)
                 : view.count * layout_->EntryBytes(kBlockEntries) / kBlockEntries;
  }
  return bytes;
}

}  // namespace pith
