#include <algorithm>
#include <cmath>

#include "method/window_score.h"

namespace pith {
namespace {

constexpr std::string_view kNorms[] = {"none", "age"};
constexpr ParameterInfo kParameters[] = {
    {.name = "recent",
     .type = ParameterType::kNumber,
     .default_value = "0.5",
     .min = 0,
     .max = 1,
     .meaning = "share of the budget that the newest entries get, whatever their scores"},
    {.name = "norm",
     .type = ParameterType::kWord,
     .default_value = "none",
     .words = kNorms,
     .meaning = "age: divide the sum by the number of tokens that could see the entry"},
};

uint64_t NumRecent(Parameters p, uint64_t budget) {
  return static_cast<uint64_t>(std::floor(p[0].number * static_cast<double>(budget) + 1e-6));
}

void Score(const HeadInput& head, Parameters p, std::span<float> scores) {
  p[1].word == "age" ? ScoreByMeanAttention(head, scores) : ScoreByColumnSums(head, scores);
  Protect(head, 0, NumRecent(p, head.budget), scores);
}

}  // namespace

void ScoreByColumnSums(const HeadInput& head, std::span<float> scores) {
  std::ranges::fill(scores, 0.0f);
  for (const std::vector<float>& sums : head.column_sums) {
    for (size_t j = 0; j < scores.size(); ++j) scores[j] += sums[j];
  }
  for (float& s : scores) s /= static_cast<float>(head.group);
}

void ScoreByMeanAttention(const HeadInput& head, std::span<float> scores) {
  ScoreByColumnSums(head, scores);
  for (size_t j = 0; j < scores.size(); ++j) {
    scores[j] /= static_cast<float>(head.length - head.positions[j]);
  }
}

const MethodInfo& H2oMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "h2o",
       .summary = "the attention that an entry got from all tokens so far",
       .parameters = kParameters,
       .needs = "column sums: a second pass over the scores of attention",
       .protects = "the recent share of the budget",
       .gather = [](Parameters) { return Needs{.column_sums = true}; },
       .num_protected = NumRecent,
       .score = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "h2o",
      .summary =
          "Heavy hitters: the entries that got the most attention in sum, and a window of recent "
          "ones. Early tokens were seen by more queries, which favours the beginning; norm=age "
          "takes that out. It goes on while text is generated.",
      .paper =
          "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language "
          "Models",
      .arxiv = "2306.14048",
      .parts = kParts,
      .recipe = "score=h2o + when=decode",
      .identity = "a budget of at least the whole text's length",
  };
  return kInfo;
}

}  // namespace pith
