#include <cmath>

#include "method/window_score.h"

namespace pith {
namespace {

constexpr std::string_view kHosts[] = {"h2o", "snapkv"};
constexpr ParameterInfo kParameters[] = {
    {.name = "over",
     .type = ParameterType::kWord,
     .default_value = "h2o",
     .words = kHosts,
     .meaning = "the score that is multiplied by the values' size"},
    {.name = "sinks",
     .type = ParameterType::kInteger,
     .default_value = "20",
     .min = 0,
     .max = 4096,
     .meaning = "first tokens of the text that are never dropped; their values are small"},
    {.name = "recent",
     .type = ParameterType::kNumber,
     .default_value = "0.5",
     .min = 0,
     .max = 1,
     .meaning = "over=h2o: share of the budget that the newest entries get"},
    {.name = "window",
     .type = ParameterType::kInteger,
     .default_value = "32",
     .min = 1,
     .max = 512,
     .meaning = "over=snapkv: newest entries, which are kept and judge the others"},
};

bool OverSnapKv(Parameters p) { return p[0].word == "snapkv"; }

uint64_t NumRecent(Parameters p, uint64_t budget) {
  if (OverSnapKv(p)) return static_cast<uint64_t>(p[3].number);
  return static_cast<uint64_t>(std::floor(p[2].number * static_cast<double>(budget) + 1e-6));
}

void Score(const HeadInput& head, Parameters p, std::span<float> scores) {
  if (OverSnapKv(p)) {
    ScoreByWindow(head, {.window = static_cast<uint32_t>(p[3].number)}, scores);
  } else {
    ScoreByColumnSums(head, scores);
  }
  for (size_t j = 0; j < scores.size(); ++j) {
    if (scores[j] == kProtected) continue;
    float sum = 0;
    for (const float x : head.values.subspan(j * head.value_dim, head.value_dim))
      sum += std::abs(x);
    scores[j] *= sum;
  }
  Protect(head, static_cast<uint64_t>(p[1].number), NumRecent(p, head.budget), scores);
}

Needs Gather(Parameters p) {
  if (OverSnapKv(p)) return {.window = static_cast<uint32_t>(p[3].number), .values = true};
  return {.column_sums = true, .values = true};
}

}  // namespace

const MethodInfo& VatpMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "vatp",
       .summary = "attention times the size of the value",
       .parameters = kParameters,
       .needs = "values, and what the score it builds on needs",
       .protects = "sinks, and the recent share (h2o) or the window (snapkv)",
       .gather = Gather,
       .num_protected =
           [](Parameters p, uint64_t budget) {
             return static_cast<uint64_t>(p[1].number) + NumRecent(p, budget);
           },
       .score = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "vatp",
      .summary =
          "An entry matters by the attention it gets times what that attention brings: the score "
          "of "
          "H2O or SnapKV is multiplied by the L1 norm of the value. Sinks get much attention and "
          "have small values, so they are protected.",
      .paper =
          "Attention Score is not All You Need for Token Importance Indicator in KV Cache "
          "Reduction: Value Also Matters",
      .arxiv = "2406.12335",
      .parts = kParts,
      .recipe = "score=vatp",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
