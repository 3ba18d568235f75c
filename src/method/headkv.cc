#include <algorithm>
#include <cmath>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "beta",
     .type = ParameterType::kNumber,
     .default_value = "1.01",
     .min = 1,
     .max = 1000,
     .meaning = "1/beta of the budget is shared out by importance, the rest equally"},
};

// Importance of each KV head, with the sum 1: the budgets of its query heads are averaged, so their
// importance is.
std::vector<double> Importance(const AllocInput& input) {
  const HeadProfile& profile = *input.profile;
  const size_t heads = size_t{input.num_layers} * input.num_kv_heads;
  const size_t group = profile.retrieval.size() / heads;
  std::vector<double> importance(heads);
  double sum = 0;
  for (size_t i = 0; i < profile.retrieval.size(); ++i) {
    importance[i / group] += double{profile.retrieval[i]};
    sum += double{profile.retrieval[i]};
  }
  for (double& x : importance) x /= sum;
  return importance;
}

// Cuts shares to the room of their heads and gives what is left over to the others, by importance
// (equally if they have none), until nothing is left over or no head has room.
void MakeFit(std::span<const double> room, std::span<const double> importance,
             std::span<double> shares) {
  while (true) {
    double surplus = 0, weight = 0, open = 0;
    for (size_t i = 0; i < shares.size(); ++i) {
      surplus += std::max(0.0, shares[i] - room[i]);
      shares[i] = std::min(shares[i], room[i]);
      if (shares[i] == room[i]) continue;
      weight += importance[i];
      open += 1;
    }
    if (surplus == 0 || open == 0) return;
    for (size_t i = 0; i < shares.size(); ++i) {
      if (shares[i] == room[i]) continue;
      shares[i] += surplus * (weight > 0 ? importance[i] / weight : 1 / open);
    }
  }
}

// With q = floor(base / beta), where base is the budget without what is protected: each head gets
// base - q, and its share of the pool that the q of all heads make.
void Allocate(const AllocInput& input, Parameters p, std::span<uint64_t> entries) {
  const auto heads = static_cast<double>(entries.size());
  std::vector<double> room(entries.size());
  double total = static_cast<double>(input.budget) * heads;
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i] = CountProtected(input.scores[i]);
    room[i] = static_cast<double>(input.scores[i].size() - entries[i]);
    total -= static_cast<double>(entries[i]);
  }
  const double base = std::max(0.0, total) / heads;
  const double pooled = std::floor(base / p[0].number);
  const std::vector<double> importance = Importance(input);
  std::vector<double> shares(entries.size());
  for (size_t i = 0; i < shares.size(); ++i) {
    shares[i] = base - pooled + importance[i] * pooled * heads;
  }
  MakeFit(room, importance, shares);
  const std::vector<uint64_t> whole = LargestRemainder(shares);
  for (size_t i = 0; i < entries.size(); ++i) entries[i] += whole[i];
}

}  // namespace

const MethodInfo& HeadKvMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kAlloc,
       .name = "headkv",
       .summary = "heads that retrieve keep more, as measured once per model",
       .parameters = kParameters,
       .needs = "the head scores of a profile",
       .gather = [](Parameters) { return Needs{.profile = kProfileRetrieval}; },
       .allocate = Allocate,
       .ragged = true},
  };
  static constexpr MethodInfo kInfo = {
      .name = "headkv",
      .summary =
          "How much each head retrieves is measured once per model; budgets follow it, over all "
          "layers, and SnapKV's scores choose the entries. The sum is exactly that of equal "
          "budgets: what a head cannot use, because the text is shorter than its share, goes to "
          "the others by importance. The paper's code leaves that unused.",
      .paper =
          "Not All Heads Matter: A Head-Level KV Cache Compression Method with Integrated "
          "Retrieval and Reasoning",
      .arxiv = "2410.19258",
      .parts = kParts,
      .recipe = "score=snapkv(window=8) + alloc=headkv",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
