#include <algorithm>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {SinksParameter("0"), RecentParameter("0")};

void Score(const HeadInput& head, Parameters parameters, std::span<float> scores) {
  std::ranges::fill(scores, 0.0f);
  VisitWindow(head, 1, [&](uint32_t, uint32_t, std::span<const float> probabilities) {
    for (size_t j = 0; j < scores.size(); ++j) scores[j] += probabilities[j];
  });
  for (float& s : scores) s /= static_cast<float>(head.group);
  ProtectSinksAndRecent(head, parameters, scores);
}

// One set for the whole layer, by the mean of the heads' scores.
void SelectShared(const SelectInput& input, Parameters, std::span<std::vector<uint32_t>> kept) {
  std::vector<float> mean(input.scores[0].size());
  for (const auto& scores : input.scores) {
    for (size_t j = 0; j < mean.size(); ++j) mean[j] += scores[j];
  }
  const std::vector<uint32_t> indices = TopIndices(mean, input.entries[0]);
  for (auto& k : kept) k = indices;
}

}  // namespace

const MethodInfo& TovaMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "tova",
       .summary = "what the last query attends to",
       .parameters = kParameters,
       .needs = "the last query",
       .protects = "sinks and recent entries, as far as asked for",
       .gather = [](Parameters) { return Needs{.window = 1}; },
       .num_protected = NumSinksAndRecent,
       .score = Score},
      {.stage = Stage::kSelect,
       .name = "layer",
       .summary = "the entries with the highest mean score, the same ones for all heads of a layer",
       .select = SelectShared,
       .shared = true},
  };
  static constexpr MethodInfo kInfo = {
      .name = "tova",
      .summary =
          "Drops what the current query attends to least, by the mean over all heads of a layer, "
          "so "
          "that they keep the same tokens. The current token is a candidate like any other. It "
          "goes "
          "on while text is generated.",
      .paper = "Transformers are Multi-State RNNs",
      .arxiv = "2401.06104",
      .parts = kParts,
      .recipe = "score=tova + select=layer + when=decode",
      .identity = "a budget of at least the whole text's length",
  };
  return kInfo;
}

}  // namespace pith
