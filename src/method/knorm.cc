#include <cmath>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {SinksParameter("0"), RecentParameter("0")};

void Score(const HeadInput& head, Parameters parameters, std::span<float> scores) {
  for (size_t j = 0; j < scores.size(); ++j) {
    float sum = 0;
    for (const float x : head.keys.subspan(j * head.key_dim, head.key_dim)) sum += x * x;
    scores[j] = -std::sqrt(sum);
  }
  ProtectSinksAndRecent(head, parameters, scores);
}

}  // namespace

const MethodInfo& KnormMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "knorm",
       .summary = "a short key matters, a long one does not",
       .parameters = kParameters,
       .needs = "keys",
       .protects = "sinks and recent entries, as far as asked for",
       .gather = [](Parameters) { return Needs{.keys = true}; },
       .num_protected = NumSinksAndRecent,
       .score = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "knorm",
      .summary =
          "Keeps the keys with the smallest Euclidean norm, which tend to get the most attention. "
          "It needs no queries. On models that normalise their keys all norms are nearly equal, "
          "and "
          "the score says little.",
      .paper = "A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression",
      .arxiv = "2406.11430",
      .parts = kParts,
      .recipe = "score=knorm",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
