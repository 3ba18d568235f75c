#include <algorithm>
#include <cmath>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "induction",
     .type = ParameterType::kNumber,
     .default_value = "0.14",
     .min = 0,
     .max = 1,
     .meaning = "share of the heads that keep everything for their induction score"},
    {.name = "echo",
     .type = ParameterType::kNumber,
     .default_value = "0.01",
     .min = 0,
     .max = 1,
     .meaning = "share of the heads that keep everything for their echo score"},
    {.name = "local",
     .type = ParameterType::kInteger,
     .default_value = "4000",
     .min = 1,
     .max = 1 << 24,
     .meaning =
         "newest entries that the other heads keep at least, beside what the score protects"},
    {.name = "ratio",
     .type = ParameterType::kNumber,
     .default_value = "5",
     .min = 1,
     .max = 1000,
     .meaning = "of a long text they keep the newest 1/ratio"},
};

// The KV heads with the highest of `scores` [layer][query_head], a KV head counting as its best
// query head.
std::vector<uint32_t> BestHeads(std::span<const float> scores, size_t heads, double share) {
  const size_t group = scores.size() / heads;
  std::vector<float> best(heads);
  for (size_t i = 0; i < scores.size(); ++i) {
    best[i / group] = std::max(best[i / group], scores[i]);
  }
  const auto count = std::llround(share * static_cast<double>(heads));
  return TopIndices(best, static_cast<size_t>(count));
}

void Allocate(const AllocInput& input, Parameters p, std::span<uint64_t> entries) {
  const double newest =
      std::max(p[2].number, std::floor(static_cast<double>(input.budget) / p[3].number));
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i] = CountProtected(input.scores[i]) + static_cast<uint64_t>(newest);
  }
  for (const auto& [scores, share] : {std::pair(&input.profile->induction, p[0].number),
                                      std::pair(&input.profile->echo, p[1].number)}) {
    for (const uint32_t head : BestHeads(*scores, entries.size(), share)) {
      entries[head] = input.scores[head].size();
    }
  }
}

}  // namespace

const MethodInfo& RazorMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kAlloc,
       .name = "razor",
       .summary = "heads that look for earlier text keep everything, the others a local window and "
                  "one entry for the rest",
       .parameters = kParameters,
       .needs = "the echo and induction scores of a profile",
       .gather = [](Parameters) { return Needs{.profile = kProfileEcho}; },
       .allocate = Allocate,
       .ragged = true,
       .takes_budget = false,
       .compensates = true},
  };
  static constexpr MethodInfo kInfo = {
      .name = "razor",
      .summary =
          "Heads that find earlier copies of the current token (echo) or what followed them "
          "(induction) keep everything. The others keep the first tokens and the newest; what they "
          "drop lives on as one entry with the mean key and value, which attention weighs as much "
          "as all of them. Texts within the local window lose nothing.",
      .paper = "RazorAttention: Efficient KV Cache Compression Through Retrieval Heads",
      .arxiv = "2407.15891",
      .parts = kParts,
      .recipe = "score=streaming(sinks=4) + alloc=razor",
      .identity = "induction=1",
  };
  return kInfo;
}

}  // namespace pith
