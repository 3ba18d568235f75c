// What a sequence's recipe reads of its cache while text is generated, and what that takes: indices
// of the keys, which follow the cache, and counters.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/cache.h"
#include "kernel/key_index.h"
#include "kernel/read_rule.h"
#include "kernel/select_entries.h"
#include "method/profile.h"

namespace pith {

// Of one KV head of a layer, over all tokens that were generated.
struct ReadCounters {
  uint64_t steps = 0;
  uint64_t held = 0, read = 0;  // entries, summed over the steps
  double kept = 0;              // Selection::kept, likewise
};

// A copy belongs to a copy of the cache.
class EntryReader {
 public:
  EntryReader() = default;  // reads everything
  // `profile` has the channels of the keys where the rule goes by labels.
  EntryReader(const ReadRule& rule, const CacheSpec& spec, const HeadProfile* profile);

  const ReadRule& rule() const { return rule_; }
  bool SelectsIn(uint32_t layer) const {
    return !rule_.reads_all() && layer >= rule_.dense_layers && layer < num_layers_;
  }

  // Chooses for the queries that share a KV head, when the keys of the step are written. Threads
  // may call it at the same time for different heads.
  void Select(uint32_t layer, uint32_t kv_head, SequenceCache& cache,
              std::span<const float* const> queries, float scale, SelectScratch* scratch,
              Selection* selection);

  std::span<const ReadCounters> counters() const { return counters_; }  // [layer][kv_head]
  const KeyIndex& index(uint32_t layer, uint32_t kv_head) const {
    return indices_[IndexNumber(layer, kv_head)];
  }
  uint64_t bytes() const;  // of the indices

 private:
  size_t IndexNumber(uint32_t layer, uint32_t kv_head) const {
    return size_t{layer - rule_.dense_layers} * num_kv_heads_ + kv_head;
  }

  ReadRule rule_;
  uint32_t num_layers_ = 0, num_kv_heads_ = 0;
  std::vector<KeyIndex> indices_;  // [layer - dense_layers][kv_head]
  std::vector<ReadCounters> counters_;
};

}  // namespace pith
