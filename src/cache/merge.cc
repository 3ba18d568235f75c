// Merging: the oldest entries of several layers' tails share directions from then on.
#include <algorithm>
#include <vector>

#include "base/check.h"
#include "cache/cache.h"
#include "cache/for_each.h"
#include "cache/list.h"
#include "cache/page.h"
#include "cache/sequence.h"

namespace pith {

void EntryList::EncodeMerge(std::span<EntryList* const> group, const MergeFunctions& functions) {
  EntryList& first = *group.front();
  const Side side = first.tail_.layout().side;
  const uint32_t dim = first.tail_.layout().dim;
  const std::span<const uint32_t> moved = first.seal_moved_;
  std::vector<std::vector<float>> rows(group.size());
  const auto read = [&](uint64_t begin, uint32_t count) {
    for (size_t l = 0; l < group.size(); ++l) {
      rows[l].resize(size_t{count} * dim);
      group[l]->ReadTail(moved.subspan(begin, count), rows[l].data());
    }
  };
  std::vector<const float*> entry(group.size());
  first.sealed_->StoreLast(moved.size(), [&](uint64_t begin, uint32_t count, float* directions) {
    read(begin, count);
    for (size_t i = 0; i < count; ++i) {
      for (size_t l = 0; l < group.size(); ++l) entry[l] = &rows[l][i * dim];
      functions.direction(entry, {directions + i * dim, dim});
    }
  });
  // By what the form made of directions.
  const std::span<const PageView> pages = first.sealed_->views();
  std::vector<float> stored;
  uint64_t end = moved.size();
  for (size_t p = pages.size(); end > 0; end -= pages[p].count) {
    const PageView& page = pages[--p];
    stored.resize(size_t{page.count} * dim);
    page.form->load(side, page.data, page.shape, 0, page.count, stored.data(), dim);
    read(end - page.count, page.count);
    for (size_t l = 0; l < group.size(); ++l) {
      F16* const norms = group[l]->sealed_->NewNorms(p);
      for (size_t i = 0; i < page.count; ++i) {
        norms[i] = StoredNorm(functions.norm({&rows[l][i * dim], dim}, {&stored[i * dim], dim}));
      }
    }
  }
  for (EntryList* list : group) {
    list->StoreExact();
    list->tail_.MoveKept(list->seal_kept_);
  }
}

void EntryList::FinishMerge(std::span<EntryList* const> group) {
  for (EntryList* list : group) {
    if (list != group.front()) list->sealed_->SharePages(*group.front()->sealed_);
    list->FinishSeal();
  }
}

Status SequenceCache::Merge(std::span<const MergeRequest> requests, const MergeFunctions& functions,
                            const RunParallel& run) {
  const CacheSpec& spec = impl_->plan->spec;
  std::vector<std::vector<EntryList*>> groups;  // keys, then values of every request
  for (const MergeRequest& request : requests) {
    PITH_CHECK(spec.Merges(request.layer) && spec.merged_with[request.layer] == request.layer);
    for (const Side side : {Side::kKeys, Side::kValues}) {
      auto& group = groups.emplace_back();
      for (uint32_t l = request.layer; l < spec.GroupEnd(request.layer); ++l) {
        const uint32_t head = impl_->HeadNumber(l, request.kv_head);
        group.push_back(side == Side::kKeys ? &impl_->KeysOf(head) : &impl_->ValuesOf(head));
        PITH_CHECK(group.back()->tail().size() == group.front()->tail().size());
      }
    }
  }
  const auto for_all = [&](const auto& visit) {
    for (size_t g = 0; g < groups.size(); ++g) {
      for (EntryList* list : groups[g]) visit(*list, requests[g / 2]);
    }
  };
  bool complete = true;
  for_all([&complete](EntryList& list, const MergeRequest& request) {
    complete = complete && list.ReserveSeal(request.exact, request.count, nullptr);
  });
  if (!complete) {
    for_all([](EntryList& list, const MergeRequest&) { list.Cancel(); });
    impl_->pool->Trim();
    return impl_->NoMemory();
  }
  for_all([](EntryList& list, const MergeRequest&) { list.CommitSeal(); });
  ForEach(groups.size(), run, [&](size_t g) { EntryList::EncodeMerge(groups[g], functions); });
  for (size_t g = 0; g < groups.size(); ++g) {
    EntryList::FinishMerge(groups[g]);
    groups[g].front()->SetMergeRange(g % 2 == 0 ? requests[g / 2].keys : requests[g / 2].values);
  }
  impl_->pool->Trim();  // before the last pages shrink, so that the pool's peak does not grow
  for_all([](EntryList& list, const MergeRequest&) { list.ShrinkTail(); });
  impl_->pool->Trim();
  impl_->RefreshHeads(0, spec.num_layers);
  return {};
}

MergeRange SequenceCache::merge_range(uint32_t layer, uint32_t kv_head, Side side) const {
  const uint32_t head = impl_->HeadNumber(layer, kv_head);
  return (side == Side::kKeys ? impl_->KeysOf(head) : impl_->ValuesOf(head)).merge_range();
}

}  // namespace pith
