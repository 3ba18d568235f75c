#include <algorithm>
#include <functional>

#include "base/check.h"
#include "cache/cache.h"
#include "cache/list.h"
#include "cache/page.h"
#include "cache/sequence.h"

namespace pith {

Status SequenceCache::Keep(uint32_t layer, uint32_t kv_head, std::span<const uint32_t> entries) {
  const CachePlan& plan = *impl_->plan;
  const uint32_t head = impl_->HeadNumber(layer, kv_head);
  // One set of entries for all that a list serves, and for keys and values alike.
  PITH_CHECK(plan.spec.keys.scope == plan.spec.values.scope);
  PITH_CHECK(plan.key_map.owner_of_list[plan.key_map.list_of_head[head]] == head);
  EntryList& keys = impl_->KeysOf(head);
  EntryList& values = impl_->ValuesOf(head);
  PITH_CHECK(!keys.merges());
  PITH_CHECK(keys.size() == values.size());
  PITH_CHECK(entries.empty() || entries.back() < keys.size());
  PITH_CHECK(std::adjacent_find(entries.begin(), entries.end(), std::greater_equal<>()) ==
             entries.end());
  if (entries.size() == keys.size()) return {};

  const bool complete = keys.ReserveKeep(entries) && values.ReserveKeep(entries);
  for (EntryList* list : {&keys, &values}) complete ? list->CommitKeep(entries) : list->Cancel();
  impl_->pool->Trim();
  if (!complete) return impl_->NoMemory();
  for (EntryList* list :
       {&keys, &values}) {  // after the trim, so that the pool's peak does not grow
    list->Shrink();
    impl_->pool->Trim();
  }
  impl_->RefreshHeads(layer, layer + 1);
  return {};
}

}  // namespace pith
