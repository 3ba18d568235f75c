#include <algorithm>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "floor",
     .type = ParameterType::kNumber,
     .default_value = "0.2",
     .min = 0,
     .max = 1,
     .meaning = "share of the budget that every head gets alike; 1: all heads get the same"},
};

void AllocateLayer(std::span<const std::vector<float>> scores, uint64_t budget, double floor,
                   std::span<uint64_t> entries) {
  std::vector<uint64_t> kept_anyway(scores.size());
  uint64_t total = budget * scores.size();
  for (size_t h = 0; h < scores.size(); ++h) {
    kept_anyway[h] = CountProtected(scores[h]);
    total -= std::min(total, kept_anyway[h]);
  }
  const std::vector<uint64_t> best = CountBest(scores, total);
  const double equal = static_cast<double>(total) / static_cast<double>(scores.size());
  std::vector<double> shares(scores.size());
  for (size_t h = 0; h < scores.size(); ++h) {
    shares[h] = (1 - floor) * static_cast<double>(best[h]) + floor * equal;
  }
  const std::vector<uint64_t> whole = LargestRemainder(shares);
  for (size_t h = 0; h < scores.size(); ++h) entries[h] = kept_anyway[h] + whole[h];
}

void Allocate(const AllocInput& input, Parameters p, std::span<uint64_t> entries) {
  for (size_t first = 0; first < entries.size(); first += input.num_kv_heads) {
    AllocateLayer(input.scores.subspan(first, input.num_kv_heads), input.budget, p[0].number,
                  entries.subspan(first, input.num_kv_heads));
  }
}

}  // namespace

const MethodInfo& AdaKvMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kAlloc,
       .name = "ada",
       .summary = "the heads of a layer share its budget as its best entries lie in them",
       .parameters = kParameters,
       .allocate = Allocate,
       .ragged = true},
  };
  static constexpr MethodInfo kInfo = {
      .name = "adakv",
      .summary =
          "Within a layer each head gets as many entries as it has among the layer's best, above a "
          "floor that all get alike; the sum is exact. The scores of the heads must be comparable, "
          "as those of SnapKV are.",
      .paper =
          "Ada-KV: Optimizing KV Cache Eviction by Adaptive Budget Allocation for Efficient "
          "LLM Inference",
      .arxiv = "2407.11550",
      .parts = kParts,
      .recipe = "score=snapkv(first=reduce) + alloc=ada",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
