#include "engine/attention_rows.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernel/probability.h"

namespace pith {
namespace {

// With fewer rows, reading the keys costs more than multiplying with them: they are read once for
// all query heads of a group.
constexpr size_t kManyRows = 16;

// Query heads [begin, end) of one KV head.
struct Heads {
  uint32_t begin, end, kv_head;
};

void VisitHeads(const HeadView& view, std::span<const EntryRun> runs, const Heads& heads,
                const QueryRows& queries, const SeeRow& see) {
  uint32_t entries = 0;
  for (const EntryRun& run : runs) entries += run.count;
  const uint32_t dim = view.keys.front().dim();
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  std::vector<float> key_rows(size_t{entries} * dim);
  float* out = key_rows.data();
  for (const EntryRun& run : runs) {
    ReadRows(view, Side::kKeys, run.first, run.count, out);
    out += size_t{run.count} * dim;
  }
  const PackedKeys keys(key_rows, dim);
  const size_t stride = keys.padded_count();
  std::vector<float> probabilities(kProbabilityRows * stride);
  for (uint32_t head = heads.begin; head < heads.end; ++head) {
    for (size_t first = 0; first < queries.count; first += kProbabilityRows) {
      ProbabilityQuery asked[kProbabilityRows];
      const size_t count = std::min(kProbabilityRows, queries.count - first);
      for (size_t i = 0; i < count; ++i) {
        asked[i] = {queries.Row(head, first + i), entries - queries.count + first + i + 1};
      }
      Probabilities(keys, {asked, count}, scale, probabilities.data(), stride);
      for (size_t i = 0; i < count; ++i) {
        see(head, first + i, std::span(probabilities).subspan(i * stride, asked[i].visible));
      }
    }
  }
}

}  // namespace

void VisitAttentionRows(const SequenceCache& cache, uint32_t layer, uint32_t num_query_heads,
                        const QueryRows& queries, int thread, int num_threads, const SeeRow& see) {
  VisitAttentionRows(cache, layer, num_query_heads, {}, queries, thread, num_threads, see);
}

void VisitAttentionRows(const SequenceCache& cache, uint32_t layer, uint32_t num_query_heads,
                        std::span<const EntryRun> runs, const QueryRows& queries, int thread,
                        int num_threads, const SeeRow& see) {
  const uint32_t group = num_query_heads / cache.spec().num_kv_heads;
  const uint32_t together = queries.count < kManyRows ? group : 1;
  for (uint32_t head = static_cast<uint32_t>(thread) * together; head < num_query_heads;
       head += static_cast<uint32_t>(num_threads) * together) {
    const HeadView view = cache.Head(layer, head / group);
    const EntryRun all{0, static_cast<uint32_t>(view.num_entries)};
    VisitHeads(view, runs.empty() ? std::span(&all, 1) : runs,
               {head, head + together, head / group}, queries, see);
  }
}

}  // namespace pith
