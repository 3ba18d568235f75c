#include <algorithm>
#include <cmath>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "full",
     .type = ParameterType::kNumber,
     .default_value = "0.5",
     .min = 0,
     .max = 1,
     .meaning = "share of the heads that keep everything: those with the highest gates"},
    {.name = "recent",
     .type = ParameterType::kInteger,
     .default_value = "256",
     .min = 0,
     .max = 1 << 24,
     .meaning = "newest entries that the other heads keep, beside what the score protects"},
};

void Allocate(const AllocInput& input, Parameters p, std::span<uint64_t> entries) {
  const auto count = std::llround(p[0].number * static_cast<double>(entries.size()));
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i] = CountProtected(input.scores[i]) + static_cast<uint64_t>(p[1].number);
  }
  for (const uint32_t head : TopIndices(input.profile->gates, static_cast<size_t>(count))) {
    entries[head] = input.scores[head].size();
  }
}

}  // namespace

const MethodInfo& DuoMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kAlloc,
       .name = "duo",
       .summary = "some heads keep everything, the others a few recent entries",
       .parameters = kParameters,
       .needs = "the gates of a profile",
       .gather = [](Parameters) { return Needs{.profile = kProfileGates}; },
       .allocate = Allocate,
       .ragged = true,
       .takes_budget = false},
  };
  static constexpr MethodInfo kInfo = {
      .name = "duo",
      .summary =
          "A gate per KV head, learnt once per model, says whether the head needs the whole text. "
          "The heads with the highest gates keep everything, the others the first tokens and the "
          "newest, from chunk to chunk and at every generated token, so that half of the cache "
          "does not grow.",
      .paper =
          "DuoAttention: Efficient Long-Context LLM Inference with Retrieval and Streaming Heads",
      .arxiv = "2410.10819",
      .parts = kParts,
      .recipe = "score=streaming(sinks=64) + alloc=duo + when=always",
      .identity = "full=1",
  };
  return kInfo;
}

}  // namespace pith
