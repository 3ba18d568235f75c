#include <algorithm>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "beta",
     .type = ParameterType::kNumber,
     .default_value = "20",
     .min = 1,
     .max = 1000,
     .meaning = "the last layer gets 1/beta of the mean; 1: all layers get the same"},
};

// An arithmetic series over the layers for what is not protected, with the sum of an equal share.
// As long as the text is not twice the budget there is too little to distribute.
void Allocate(const AllocInput& input, Parameters p, std::span<uint64_t> entries) {
  const uint32_t layers = input.num_layers, heads = input.num_kv_heads;
  size_t longest = 0, protected_entries = 0;
  for (const auto& scores : input.scores) {
    longest = std::max(longest, scores.size());
    protected_entries = std::max(protected_entries, CountProtected(scores));
  }
  const uint64_t w = std::min<uint64_t>(input.budget, protected_entries);
  const uint64_t base = input.budget - w;
  if (layers == 1 || longest < 2 * base) {
    std::ranges::fill(entries, input.budget);
    return;
  }
  const double mean = static_cast<double>(base);
  const double room = static_cast<double>(longest - w);
  const double highest = std::min(2 * mean - mean / p[0].number, room);
  const double lowest = 2 * mean - highest;
  std::vector<double> shares(layers);
  for (uint32_t l = 0; l < layers; ++l) shares[l] = highest - l * (highest - lowest) / (layers - 1);
  const std::vector<uint64_t> whole = LargestRemainder(shares);
  for (uint32_t l = 0; l < layers; ++l) {
    std::ranges::fill(entries.subspan(size_t{l} * heads, heads), whole[l] + w);
  }
}

}  // namespace

const MethodInfo& PyramidKvMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kAlloc,
       .name = "pyramid",
       .summary = "lower layers keep more, in equal steps down to the last",
       .parameters = kParameters,
       .allocate = Allocate},
  };
  static constexpr MethodInfo kInfo = {
      .name = "pyramidkv",
      .summary =
          "Lower layers attend broadly, upper ones narrowly: SnapKV's scores with a budget that "
          "falls from layer to layer. The sum is exactly that of equal budgets. While the text is "
          "shorter than twice the budget, all layers get the same.",
      .paper = "PyramidKV: Dynamic KV Cache Compression based on Pyramidal Information Funneling",
      .arxiv = "2406.02069",
      .parts = kParts,
      .recipe = "score=snapkv(window=8) + alloc=pyramid",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
