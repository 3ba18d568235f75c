#include <algorithm>
#include <cmath>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "forget",
     .type = ParameterType::kNumber,
     .default_value = "0.95",
     .min = 0,
     .max = 0.99,
     .meaning = "what a query counts compared with the one after it"},
    SinksParameter("0"),
    RecentParameter("16"),
};

// Queries that matter: all older ones together give an entry less than 1e-4.
uint32_t NumRows(Parameters p) {
  const double forget = p[0].number;
  if (forget == 0) return 1;
  return static_cast<uint32_t>(std::ceil(std::log(1e-4 * (1 - forget)) / std::log(forget)));
}

void Score(const HeadInput& head, Parameters p, std::span<float> scores) {
  const uint32_t rows = WindowRows(head, NumRows(p));
  std::ranges::fill(scores, 0.0f);
  VisitWindow(head, rows, [&](uint32_t, uint32_t row, std::span<const float> probabilities) {
    const auto weight = static_cast<float>(std::pow(p[0].number, rows - 1 - row));
    for (size_t j = 0; j < scores.size(); ++j) scores[j] += weight * probabilities[j];
  });
  for (float& s : scores) s /= static_cast<float>(head.group);
  ProtectSinksAndRecent(head, p.subspan(1), scores);
}

}  // namespace

const MethodInfo& A2sfMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "a2sf",
       .summary = "the attention that an entry got lately: older queries count less and less",
       .parameters = kParameters,
       .needs = "the last queries, as many as still count",
       .protects = "recent entries, and sinks if asked for",
       .gather = [](Parameters p) { return Needs{.window = NumRows(p)}; },
       .num_protected = [](Parameters p,
                           uint64_t budget) { return NumSinksAndRecent(p.subspan(1), budget); },
       .score = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "a2sf",
      .summary =
          "Accumulated attention with a forgetting factor, so that old entries have no advantage "
          "over young ones. Queries whose weights sum to less than 1e-4 are left out, so only the "
          "last ones are asked. forget=0 asks the last query alone. It goes on while text is "
          "generated.",
      .paper =
          "A2SF: Accumulative Attention Scoring with Forgetting Factor for Token Pruning in "
          "Transformer Decoder",
      .arxiv = "2407.20485",
      .parts = kParts,
      .recipe = "score=a2sf + when=decode",
      .identity = "a budget of at least the whole text's length",
  };
  return kInfo;
}

}  // namespace pith
