// Insert: entries that come late, at positions between those of entries that are there.
#include <algorithm>
#include <limits>
#include <vector>

#include "base/check.h"
#include "cache/cache.h"
#include "cache/list.h"
#include "cache/page.h"
#include "cache/sequence.h"

namespace pith {
namespace {

constexpr uint32_t kNewEntry = std::numeric_limits<uint32_t>::max();

}  // namespace

ListInsertion::ListInsertion(const HeadView& head, std::span<const int32_t> positions) {
  std::vector<int32_t> old(head.num_entries);
  ReadPositions(head, old);
  const auto first = std::ranges::lower_bound(old, positions.front()) - old.begin();
  first_page = static_cast<size_t>(first) / kMaxPageEntries;
  auto next = positions.begin();
  for (auto i = static_cast<uint32_t>(first_page * kMaxPageEntries); i < old.size(); ++i) {
    for (; next != positions.end() && *next < old[i]; ++next) Add(*next, kNewEntry);
    PITH_CHECK(next == positions.end() || *next != old[i]);
    Add(old[i], i);
  }
  for (; next != positions.end(); ++next) Add(*next, kNewEntry);
}

bool PageList::ReserveInsert(const ListInsertion& insertion) {
  replaces_last_ = false;
  return ReservePages(insertion.positions, kMaxPageEntries);
}

// The pages from the first one that changes on are written anew, through the canonical layout,
// which is exact.
void PageList::CommitInsert(const ListInsertion& insertion) {
  PITH_CHECK(layout_->side_blocks.empty());
  const auto first = static_cast<std::ptrdiff_t>(insertion.first_page);
  const std::vector<Page*> old_pages(pages_.begin() + first, pages_.end());
  const std::vector<PageView> old_views(views_.begin() + first, views_.end());
  for (const PageView& view : old_views) size_ -= view.count;
  pages_.resize(insertion.first_page);
  views_.resize(insertion.first_page);
  CommitPages(insertion.positions, kMaxPageEntries, 0);

  const Form& form = *layout_->form;
  const size_t bytes = form.canonical_bytes(layout_->dim);
  const auto old_begin = static_cast<uint32_t>(insertion.first_page * kMaxPageEntries);
  std::span<const uint32_t> sources = insertion.sources;
  for (size_t p = insertion.first_page; p < pages_.size(); ++p) {
    const uint32_t count = views_[p].count;
    std::vector<std::byte> buffer(count * bytes);  // zeros where entries are new
    for (uint32_t i = 0; i < count; ++i) {
      if (sources[i] == kNewEntry) continue;
      const uint32_t source = sources[i] - old_begin;
      uint32_t run = 1;
      while (i + run < count && sources[i + run] == sources[i] + run &&
             (source + run) % kMaxPageEntries != 0) {
        ++run;
      }
      const PageView& from = old_views[source / kMaxPageEntries];
      form.export_entries(layout_->side, from.data, from.shape, source % kMaxPageEntries, run,
                          buffer.data() + i * bytes);
      i += run - 1;
    }
    form.import_entries(layout_->side, pages_[p]->data, views_[p].shape, 0, count, buffer.data());
    sources = sources.subspan(count);
  }
  for (Page* page : old_pages) Release(page);
}

void EntryList::CommitInsert(const ListInsertion& insertion) {
  PITH_CHECK(size() == tail_.size());
  ChangedFrom(insertion.first_page * kMaxPageEntries);
  tail_.CommitInsert(insertion);
  Refresh();
}

Status SequenceCache::InsertLayer(uint32_t layer, std::span<const int32_t> positions) {
  const CachePlan& plan = *impl_->plan;
  PITH_CHECK(plan.spec.keys.scope == OwnerScope::kHead &&
             plan.spec.values.scope == OwnerScope::kHead);
  const uint32_t num_heads = plan.spec.num_kv_heads;
  bool behind_all = true;
  for (uint32_t head = 0; head < num_heads; ++head) {
    const EntryList& keys = impl_->KeysOf(impl_->HeadNumber(layer, head));
    behind_all = behind_all && (positions.empty() || keys.last_position() < positions.front());
  }
  if (behind_all) return ExtendLayer(layer, positions);

  std::vector<ListInsertion> insertions;
  bool complete = true;
  for (uint32_t head = 0; head < num_heads; ++head) {
    insertions.emplace_back(Head(layer, head), positions);
    for (EntryList* list : {&impl_->KeysOf(impl_->HeadNumber(layer, head)),
                            &impl_->ValuesOf(impl_->HeadNumber(layer, head))}) {
      complete = complete && list->ReserveInsert(insertions.back());
    }
  }
  for (uint32_t head = 0; head < num_heads; ++head) {
    for (EntryList* list : {&impl_->KeysOf(impl_->HeadNumber(layer, head)),
                            &impl_->ValuesOf(impl_->HeadNumber(layer, head))}) {
      complete ? list->CommitInsert(insertions[head]) : list->Cancel();
    }
  }
  impl_->pool->Trim();
  if (!complete) return impl_->NoMemory();
  impl_->RefreshHeads(layer, layer + 1);
  return {};
}

}  // namespace pith
