#include <cmath>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {SinksParameter("0"), RecentParameter("0")};

// Minus the cosine between a key and the mean of all keys' directions. A key of length zero has no
// direction: its cosine is 0.
void Score(const HeadInput& head, Parameters parameters, std::span<float> scores) {
  const uint32_t dim = head.key_dim;
  const size_t n = scores.size();
  std::vector<double> mean(dim);
  std::vector<double> inverse(n);
  for (size_t j = 0; j < n; ++j) {
    const auto key = head.keys.subspan(j * dim, dim);
    double sum = 0;
    for (const float x : key) sum += double{x} * x;
    inverse[j] = sum > 0 ? 1 / std::sqrt(sum) : 0;
    for (uint32_t c = 0; c < dim; ++c) mean[c] += key[c] * inverse[j];
  }
  double squares = 0;
  for (const double x : mean) squares += x * x;
  const double inverse_mean = squares > 0 ? 1 / std::sqrt(squares) : 0;
  for (size_t j = 0; j < n; ++j) {
    double dot = 0;
    for (uint32_t c = 0; c < dim; ++c) dot += head.keys[j * dim + c] * mean[c];
    scores[j] = static_cast<float>(-dot * inverse[j] * inverse_mean);
  }
  ProtectSinksAndRecent(head, parameters, scores);
}

}  // namespace

const MethodInfo& KeyDiffMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "keydiff",
       .summary = "keys that point away from the mean direction matter",
       .parameters = kParameters,
       .needs = "keys",
       .protects = "sinks and recent entries, as far as asked for",
       .gather = [](Parameters) { return Needs{.keys = true}; },
       .num_protected = NumSinksAndRecent,
       .score = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "keydiff",
      .summary =
          "Keeps the keys that differ most from the others: those with the smallest cosine to the "
          "mean of all key directions of their head. It needs no queries. Nothing protects recent "
          "entries; a chat wants recent=32 or more.",
      .paper =
          "KeyDiff: Key Similarity-Based KV Cache Eviction for Long-Context LLM Inference in "
          "Resource-Constrained Environments",
      .arxiv = "2504.15364",
      .parts = kParts,
      .recipe = "score=keydiff",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
