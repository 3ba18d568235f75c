#include "engine/entry_reader.h"

#include "base/check.h"

namespace pith {

EntryReader::EntryReader(const ReadRule& rule, const CacheSpec& spec, const HeadProfile* profile)
    : rule_(rule), num_layers_(spec.num_layers), num_kv_heads_(spec.num_kv_heads) {
  if (rule.reads_all()) return;
  const uint32_t dim = spec.keys.dim;
  for (uint32_t layer = rule.dense_layers; layer < num_layers_; ++layer) {
    for (uint32_t head = 0; head < num_kv_heads_; ++head) {
      std::vector<uint16_t> labels;
      if (rule.base == ReadRule::Base::kLabels) {
        PITH_CHECK(profile != nullptr &&
                   profile->labels.size() == size_t{num_layers_} * num_kv_heads_ * dim);
        const size_t number = size_t{layer} * num_kv_heads_ + head;
        labels = LargestChannels(std::span(profile->labels).subspan(number * dim, dim),
                                 rule.NumLabels(dim));
      }
      const Form* sealed = spec.keys.SealedIn(layer);
      const bool small_keys = sealed != nullptr && sealed->packing != nullptr;
      indices_.emplace_back(rule, dim, std::move(labels), small_keys);
    }
  }
  counters_.resize(size_t{num_layers_} * num_kv_heads_);
}

void EntryReader::Select(uint32_t layer, uint32_t kv_head, SequenceCache& cache,
                         std::span<const float* const> queries, float scale, SelectScratch* scratch,
                         Selection* selection) {
  KeyIndex& index = indices_[IndexNumber(layer, kv_head)];
  const HeadView head = cache.Head(layer, kv_head);
  index.Update(head, cache.TakeUnchangedKeys(layer, kv_head));
  SelectEntries(rule_, index, head, queries, scale, scratch, selection);
  ReadCounters& counters = counters_[size_t{layer} * num_kv_heads_ + kv_head];
  ++counters.steps;
  counters.held += head.num_entries;
  counters.read += selection->num_chosen;
  counters.kept += selection->kept;
}

uint64_t EntryReader::bytes() const {
  uint64_t bytes = 0;
  for (const KeyIndex& index : indices_) bytes += index.bytes();
  return bytes;
}

}  // namespace pith
