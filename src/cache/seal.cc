// Ageing: the oldest entries of the tails go into the sealed form.
#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"
#include "cache/cache.h"
#include "cache/for_each.h"
#include "cache/list.h"
#include "cache/page.h"
#include "cache/sequence.h"

namespace pith {
Status SequenceCache::Seal(std::span<const SealRequest> requests, const RunParallel& run) {
  const CachePlan& plan = *impl_->plan;
  std::vector<EntryList*> lists;
  std::vector<uint64_t> sinks;
  std::vector<const SealRequest*> asked;
  for (const SealRequest& request : requests) {
    const uint32_t head = impl_->HeadNumber(request.layer, request.kv_head);
    const bool keys = request.side == Side::kKeys;
    const ListMap& map = keys ? plan.key_map : plan.value_map;
    PITH_CHECK(map.owner_of_list[map.list_of_head[head]] == head);
    EntryList& list = keys ? impl_->KeysOf(head) : impl_->ValuesOf(head);
    const uint64_t new_sinks = impl_->NewSinks(head, request.side);
    PITH_CHECK(list.sealed() != nullptr && !list.merges());
    PITH_CHECK(request.count <= list.tail().size() - new_sinks);
    if (request.count == 0) continue;
    lists.push_back(&list);
    sinks.push_back(new_sinks);
    asked.push_back(&request);
  }
  std::vector<const EntryList*> distinct(lists.begin(), lists.end());
  std::sort(distinct.begin(), distinct.end(), std::less<>());
  PITH_CHECK(std::adjacent_find(distinct.begin(), distinct.end()) == distinct.end());

  bool complete = true;
  for (size_t i = 0; i < lists.size() && complete; ++i) {
    std::vector<uint32_t> exact(static_cast<size_t>(sinks[i]));
    std::iota(exact.begin(), exact.end(), 0u);
    complete =
        lists[i]->ReserveSeal(std::move(exact), sinks[i] + asked[i]->count, asked[i]->channels);
  }
  if (!complete) {
    for (EntryList* list : lists) list->Cancel();
    impl_->pool->Trim();
    return impl_->NoMemory();
  }
  for (EntryList* list : lists) list->CommitSeal();
  ForEach(lists.size(), run, [&lists](size_t i) { lists[i]->EncodeSeal(); });
  for (EntryList* list : lists) list->FinishSeal();
  impl_->pool->Trim();  // before the last pages shrink, so that the pool's peak does not grow
  for (EntryList* list : lists) list->ShrinkTail();
  impl_->pool->Trim();
  impl_->RefreshHeads(0, plan.spec.num_layers);
  return {};
}

const ChannelList* SequenceCache::KeyChannels(uint32_t layer, uint32_t kv_head) const {
  return impl_->KeysOf(impl_->HeadNumber(layer, kv_head)).channels();
}

uint64_t SequenceCache::num_sealed(uint32_t layer, uint32_t kv_head, Side side) const {
  const uint32_t head = impl_->HeadNumber(layer, kv_head);
  return (side == Side::kKeys ? impl_->KeysOf(head) : impl_->ValuesOf(head)).num_sealed();
}

uint64_t SequenceCache::num_unsealed(uint32_t layer, uint32_t kv_head, Side side) const {
  const uint32_t head = impl_->HeadNumber(layer, kv_head);
  const EntryList& list = side == Side::kKeys ? impl_->KeysOf(head) : impl_->ValuesOf(head);
  return list.tail().size() - impl_->NewSinks(head, side);
}

// Positions are those of the keys, which may be sealed at other times. Sinks
// lie in the tail until the first entries behind them are sealed.
uint64_t SequenceCache::Impl::NewSinks(uint32_t head, Side side) {
  const EntryList& list = side == Side::kKeys ? KeysOf(head) : ValuesOf(head);
  if (list.exact() == nullptr || list.merges()) return 0;
  return KeysOf(head).CountBefore(static_cast<int32_t>(plan->spec.num_sinks)) - list.num_exact();
}

}  // namespace pith
