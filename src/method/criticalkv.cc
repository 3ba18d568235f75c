#include <algorithm>
#include <cmath>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "share",
     .type = ParameterType::kNumber,
     .default_value = "0.5",
     .min = 0,
     .max = 1,
     .meaning = "part of what a head may keep that goes by the score alone"},
    {.name = "eps",
     .type = ParameterType::kNumber,
     .default_value = "1e-4",
     .min = 0,
     .max = 1,
     .meaning = "added to the scores before they are multiplied"},
};

// The best by score, then the best of the rest by score times weight. What is protected comes
// before both and takes no part of the share.
std::vector<uint32_t> SelectHead(std::span<const float> scores, std::span<const float> weights,
                                 uint64_t entries, double share, double eps) {
  const uint64_t taken = CountProtected(scores);
  const uint64_t room = entries - std::min(entries, taken);
  const auto by_score = static_cast<uint64_t>(std::floor(share * static_cast<double>(room) + 1e-6));
  std::vector<float> combined(scores.size());
  for (size_t j = 0; j < scores.size(); ++j) {
    combined[j] = static_cast<float>((scores[j] + eps) * weights[j]);
  }
  for (const uint32_t j : TopIndices(scores, taken + by_score)) combined[j] = kProtected;
  return TopIndices(combined, entries);
}

void Select(const SelectInput& input, Parameters p, std::span<std::vector<uint32_t>> kept) {
  for (size_t h = 0; h < kept.size(); ++h) {
    kept[h] =
        SelectHead(input.scores[h], input.weights[h], input.entries[h], p[0].number, p[1].number);
  }
}

void Weigh(const HeadInput& head, Parameters, std::span<float> weights) {
  std::ranges::copy(head.output_norms, weights.begin());
}

}  // namespace

const MethodInfo& CriticalKvMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kSelect,
       .name = "critical",
       .summary = "half by score, the rest by score times how much the value moves the output",
       .parameters = kParameters,
       .needs = "values, and their products with the layer's output matrix",
       .gather = [](Parameters) { return Needs{.output_norms = true}; },
       .select = Select,
       .weigh = Weigh},
  };
  static constexpr MethodInfo kInfo = {
      .name = "criticalkv",
      .summary =
          "Dropping an entry changes a layer's output by at most its attention times the size of "
          "its value behind the output matrix. Half of the budget goes by attention alone, the "
          "other half by that product. The score must be attention, as those of snapkv, h2o, tova, "
          "a2sf, cake or expected(values=none) are.",
      .paper =
          "Identify Critical KV Cache in LLM Inference from an Output Perturbation Perspective",
      .arxiv = "2502.03805",
      .parts = kParts,
      .recipe = "score=snapkv + select=critical",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
