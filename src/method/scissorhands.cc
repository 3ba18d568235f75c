#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "history",
     .type = ParameterType::kInteger,
     .default_value = "400",
     .min = 1,
     .max = 4096,
     .meaning = "last queries that are asked"},
    RecentParameter("10"),
};

// A query passes an entry over if it gives it less than an equal share of all tokens before it.
// Scores are the number of queries (of all heads of the group) that did not; what they gave on
// average stands behind the point and breaks ties.
void Score(const HeadInput& head, Parameters p, std::span<float> scores) {
  const auto history = static_cast<uint32_t>(p[0].number);
  const uint32_t rows = WindowRows(head, history);
  const auto positions = head.query_positions.last(rows);
  std::vector<uint32_t> counts(scores.size());
  std::vector<double> sums(scores.size());
  VisitWindow(head, history, [&](uint32_t, uint32_t row, std::span<const float> probabilities) {
    const float equal_share = 1.0f / (static_cast<float>(positions[row]) + 1);
    for (size_t j = 0; j < counts.size(); ++j) {
      const bool seen = head.positions[j] <= positions[row];
      counts[j] += seen && probabilities[j] < equal_share ? 0 : 1;
      sums[j] += probabilities[j];
    }
  });
  for (size_t j = 0; j < scores.size(); ++j) {
    // Half of it, so that it stays below 1.
    const double mean = sums[j] / (static_cast<double>(head.group) * rows);
    scores[j] = static_cast<float>(counts[j] + 0.5 * mean);
  }
  Protect(head, 0, static_cast<uint64_t>(p[1].number), scores);
}

}  // namespace

const MethodInfo& ScissorhandsMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "scissorhands",
       .summary = "how many of the last queries did not pass the entry over",
       .parameters = kParameters,
       .needs = "the queries of the history",
       .protects = "recent entries",
       .gather = [](Parameters p) { return Needs{.window = static_cast<uint32_t>(p[0].number)}; },
       .num_protected = [](Parameters p, uint64_t) { return static_cast<uint64_t>(p[1].number); },
       .score = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "scissorhands",
      .summary =
          "What was unimportant lately stays unimportant. Each of the last queries passes an entry "
          "over if it gives it less than an equal share; the entries passed over most often go, of "
          "equally many those with less attention. While text is generated, many are dropped at "
          "once whenever the budget is exceeded.",
      .paper =
          "Scissorhands: Exploiting the Persistence of Importance Hypothesis for LLM KV Cache "
          "Compression at Test Time",
      .arxiv = "2305.17118",
      .parts = kParts,
      .recipe = "score=scissorhands + when=batch(drop=0.5)",
      .identity = "a budget of at least the whole text's length",
  };
  return kInfo;
}

}  // namespace pith
