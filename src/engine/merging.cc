#include "engine/merging.h"

#include <algorithm>
#include <array>

namespace pith {
namespace {

uint64_t NumToMerge(uint64_t tail, uint32_t residual, bool prompt_read) {
  const uint64_t old = tail - std::min<uint64_t>(tail, residual);
  return prompt_read || old >= residual ? old : 0;
}

// Of the entries [first, first + count) of a KV head's keys or values, between the layers [begin,
// end).
std::vector<float> Distances(const SequenceCache& cache, uint32_t begin, uint32_t end,
                             uint32_t head, Side side, uint64_t first, uint64_t count,
                             const Part& part) {
  constexpr uint64_t kRows = 128;
  const uint32_t dim = side == Side::kKeys ? cache.spec().keys.dim : cache.spec().values.dim;
  std::vector<std::vector<float>> rows(end - begin, std::vector<float>(kRows * dim));
  std::vector<const float*> entry(rows.size());
  std::vector<float> distances;
  while (distances.size() < count) {
    const auto here = static_cast<uint32_t>(std::min(kRows, count - distances.size()));
    for (size_t l = 0; l < rows.size(); ++l) {
      ReadRows(cache.Head(begin + static_cast<uint32_t>(l), head), side, first + distances.size(),
               here, rows[l].data());
    }
    for (size_t i = 0; i < here; ++i) {
      for (size_t l = 0; l < rows.size(); ++l) entry[l] = &rows[l][i * dim];
      distances.push_back(part.distance(entry, dim));
    }
  }
  return distances;
}

MergeRange Widened(MergeRange range, std::span<const float> distances) {
  for (const float d : distances) {
    range = {std::min(range.least, d), std::max(range.greatest, d)};
  }
  return range;
}

// Which of the oldest request->count entries of the tails stay exact.
void Choose(const SequenceCache& cache, const Part& part, const MergeRule& rule,
            MergeRequest* request) {
  const uint32_t layer = request->layer, head = request->kv_head;
  const uint64_t entries = cache.num_entries(layer, head);
  const uint64_t first = entries - cache.num_unsealed(layer, head, Side::kKeys);
  std::array<std::vector<float>, 2> distances;
  std::array<MergeDistances, 2> sides;
  for (const Side side : {Side::kKeys, Side::kValues}) {
    const auto s = static_cast<size_t>(side);
    MergeRange& range = side == Side::kKeys ? request->keys : request->values;
    distances[s] = Distances(cache, layer, cache.spec().GroupEnd(layer), head, side, first,
                             request->count, part);
    range = Widened(cache.merge_range(layer, head, side), distances[s]);
    sides[s] = {distances[s], range.least, range.greatest};
  }
  std::vector<int32_t> positions(entries);
  cache.Positions(layer, head, positions);
  part.retain(rule, std::span(positions).subspan(first, request->count), sides, &request->exact);
}

}  // namespace

std::vector<uint32_t> MergedLayers(const Plan& plan, uint32_t num_layers,
                                   const HeadProfile* profile) {
  const MergeRule rule = plan.merge_rule();
  if (!rule.merges()) return {};
  std::vector<uint32_t> first_of(num_layers);
  plan.merge.part->group_layers(rule, profile, first_of);
  for (uint32_t layer = 0; layer < num_layers; ++layer) {
    if (first_of[layer] != layer) return first_of;
  }
  return {};
}

Status MergeTails(const Plan& plan, bool prompt_read, const RunParallel& run,
                  SequenceCache& cache) {
  const CacheSpec& spec = cache.spec();
  const MergeRule rule = plan.merge_rule();
  const Part* const part = plan.merge.part;
  const MergeFunctions functions{
      .direction = [&](std::span<const float* const> rows,
                       std::span<float> direction) { part->direction(rule, rows, direction); },
      .norm = [&](std::span<const float> row,
                  std::span<const float> direction) { return part->norm(rule, row, direction); }};
  for (uint32_t layer = 0; layer < spec.merged_with.size(); layer = spec.GroupEnd(layer)) {
    if (!spec.Merges(layer)) continue;
    std::vector<MergeRequest> requests;
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      const uint64_t tail = cache.num_unsealed(layer, head, Side::kKeys);
      const uint64_t count = NumToMerge(tail, rule.residual, prompt_read);
      if (count > 0) requests.push_back({.layer = layer, .kv_head = head, .count = count});
    }
    if (requests.empty()) continue;
    run([&](int thread, int num_threads) {
      for (auto i = static_cast<size_t>(thread); i < requests.size();
           i += static_cast<size_t>(num_threads)) {
        Choose(cache, *part, rule, &requests[i]);
      }
    });
    PITH_TRY(cache.Merge(requests, functions, run));
  }
  return {};
}

}  // namespace pith
