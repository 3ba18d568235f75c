// The inside of a SequenceCache, shared by cache.cc, keep.cc, seal.cc and save.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cache/cache.h"
#include "cache/list.h"

namespace pith {

// Which list serves a head, and which head owns a list: the first one that it serves. Lists lie in
// the order of their owners. A head's number is layer * num_kv_heads + kv_head.
struct ListMap {
  ListMap(const CacheSpec& spec, OwnerScope scope);

  std::vector<uint32_t> list_of_head;         // [num_layers * num_kv_heads]
  std::vector<uint32_t> owner_of_list;        // [lists] head numbers
  std::vector<uint32_t> first_list_of_layer;  // [num_layers + 1] by the owner's layer
};

// What a spec says, worked out once and shared by all forks.
struct CachePlan {
  explicit CachePlan(const CacheSpec& s);

  CacheSpec spec;
  ListMap key_map, value_map;
  std::vector<ListLayouts> key_layouts, value_layouts;  // [lists]
};

struct SequenceCache::Impl {
  Impl(PagePool* pool_of_pages, std::shared_ptr<const CachePlan> shared_plan);
  ~Impl();

  uint32_t HeadNumber(uint32_t layer, uint32_t kv_head) const;
  EntryList& KeysOf(uint32_t head) { return key_lists[plan->key_map.list_of_head[head]]; }
  EntryList& ValuesOf(uint32_t head) { return value_lists[plan->value_map.list_of_head[head]]; }

  // Sinks that are in the tail of the head's list.
  uint64_t NewSinks(uint32_t head, Side side);

  // Appends to the lists that layers [begin, end) own.
  Status Extend(uint32_t begin, uint32_t end, std::span<const int32_t> positions);
  // Points the head views of layers [begin, end) at the lists' views; of all layers where layers
  // share lists.
  void RefreshHeads(uint32_t begin, uint32_t end);

  // The error for a pool that has no more memory.
  tl::unexpected<Error> NoMemory() const;

  PagePool* pool;
  std::shared_ptr<const CachePlan> plan;
  HeldBytes held;
  std::vector<EntryList> key_lists, value_lists;
  std::vector<HeadView> heads;  // [num_layers][num_kv_heads]
};

}  // namespace pith
