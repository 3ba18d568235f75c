#include <algorithm>

#include "method/window_score.h"

namespace pith {
namespace {

constexpr std::string_view kPools[] = {"max", "mean"};
constexpr std::string_view kReductions[] = {"mean", "max"};
constexpr std::string_view kOrders[] = {"pool", "reduce"};
constexpr ParameterInfo kParameters[] = {
    WindowParameter("32"),
    KernelParameter("7", "entries that are pooled, so that neighbours stay together"),
    {.name = "pool",
     .type = ParameterType::kWord,
     .default_value = "max",
     .words = kPools,
     .meaning = "how they are pooled"},
    {.name = "reduce",
     .type = ParameterType::kWord,
     .default_value = "mean",
     .words = kReductions,
     .meaning = "how the query heads of a KV head are taken together"},
    {.name = "first",
     .type = ParameterType::kWord,
     .default_value = "pool",
     .words = kOrders,
     .meaning = "which of the two comes first"},
};

WindowScore FromParameters(Parameters p) {
  return {.window = static_cast<uint32_t>(p[0].number),
          .kernel = static_cast<uint32_t>(p[1].number),
          .pool_max = p[2].word == "max",
          .reduce_max = p[3].word == "max",
          .reduce_first = p[4].word == "reduce"};
}

// Reduces `values` of one more query head into `sum`.
void Reduce(std::span<const float> values, bool max, std::span<float> sum) {
  for (size_t j = 0; j < sum.size(); ++j) {
    sum[j] = max ? std::max(sum[j], values[j]) : sum[j] + values[j];
  }
}

}  // namespace

void ScoreByWindow(const HeadInput& head, const WindowScore& how, std::span<float> scores) {
  const size_t n = scores.size();
  const size_t body = n - std::min<size_t>(n, how.window);
  std::fill(scores.begin() + static_cast<std::ptrdiff_t>(body), scores.end(), kProtected);
  if (body == 0) return;
  const auto out = scores.first(body);
  std::ranges::fill(out, 0.0f);  // probabilities are never below it, so it serves the maximum too

  const uint32_t rows = WindowRows(head, how.window);
  std::vector<float> sums(body), pooled(body);
  const auto pool = [&](std::span<const float> in, std::span<float> to) {
    how.pool_max ? MaxPool(in, how.kernel, to) : MeanPool(in, how.kernel, to);
  };
  VisitWindow(head, how.window, [&](uint32_t, uint32_t row, std::span<const float> probabilities) {
    if (row == 0) std::ranges::fill(sums, 0.0f);
    for (size_t j = 0; j < body; ++j) sums[j] += probabilities[j];
    if (row + 1 < rows) return;
    for (float& s : sums) s /= static_cast<float>(rows);
    if (!how.reduce_first) pool(sums, pooled);
    Reduce(how.reduce_first ? sums : pooled, how.reduce_max, out);
  });
  if (!how.reduce_max) {
    for (float& s : out) s /= static_cast<float>(head.group);
  }
  if (how.reduce_first) {
    pool(out, pooled);
    std::ranges::copy(pooled, out.begin());
  }
}

const MethodInfo& SnapKvMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "snapkv",
       .summary = "what the last queries attend to, pooled over neighbours",
       .parameters = kParameters,
       .needs = "the queries of the window",
       .protects = "the window",
       .gather = [](Parameters p) { return Needs{.window = static_cast<uint32_t>(p[0].number)}; },
       .num_protected = [](Parameters p, uint64_t) { return static_cast<uint64_t>(p[0].number); },
       .score = [](const HeadInput& head, Parameters p,
                   std::span<float> scores) { ScoreByWindow(head, FromParameters(p), scores); }},
  };
  static constexpr MethodInfo kInfo = {
      .name = "snapkv",
      .summary =
          "The last queries of a prompt already attend to what its answer will need. Each entry is "
          "scored by the mean attention of the window's queries, pooled so that neighbours survive "
          "together; the best stay, and the window itself. Strong where the question is part of "
          "the "
          "prompt, weak where it comes later.",
      .paper = "SnapKV: LLM Knows What You are Looking for Before Generation",
      .arxiv = "2404.14469",
      .parts = kParts,
      .recipe = "score=snapkv",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
