#include <algorithm>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "chunk",
     .type = ParameterType::kInteger,
     .default_value = "2000",
     .min = 1,
     .max = 65536,
     .meaning = "tokens of the text that are repeated at a time; the context needs room for them"},
    SinksParameter("4"),
};

void Score(const HeadInput& head, Parameters p, std::span<float> scores) {
  std::ranges::copy(head.replay, scores.begin());
  Protect(head, static_cast<uint64_t>(p[1].number), 0, scores);
}

// One threshold for all heads of all layers. Where every head has the same share of protected
// entries this is a plain top-k; in any case the sum is exact.
void Allocate(const AllocInput& input, Parameters, std::span<uint64_t> entries) {
  uint64_t left = input.budget * entries.size();
  for (size_t h = 0; h < entries.size(); ++h) {
    entries[h] = CountProtected(input.scores[h]);
    left -= std::min(left, entries[h]);
  }
  const std::vector<uint64_t> best = CountBest(input.scores, left);
  for (size_t h = 0; h < entries.size(); ++h) entries[h] += best[h];
}

}  // namespace

const MethodInfo& KvZipMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "kvzip",
       .summary = "the highest attention that an entry gets while the model repeats the text",
       .parameters = kParameters,
       .needs = "one or two more readings of the text, with room for a chunk in the context",
       .protects = "the first sinks tokens",
       .gather =
           [](Parameters p) {
             return Needs{.replay = static_cast<uint32_t>(p[0].number),
                          .replay_sinks = static_cast<uint32_t>(p[1].number)};
           },
       .num_protected = [](Parameters p, uint64_t) { return static_cast<uint64_t>(p[1].number); },
       .score = Score},
      {.stage = Stage::kAlloc,
       .name = "global",
       .summary = "the best entries of all layers and heads together stay",
       .allocate = Allocate,
       .ragged = true},
  };
  static constexpr MethodInfo kInfo = {
      .name = "kvzip",
      .summary =
          "Entries matter that are needed to write the text down again. The model is asked to "
          "repeat it, chunk by chunk, with the text itself as the answer; the highest attention "
          "that an entry gets from the request and the repetition is its score, and one threshold "
          "holds for all heads. It asks no question of the text, so that one compressed cache "
          "serves many.",
      .paper = "KVzip: Query-Agnostic KV Cache Compression with Context Reconstruction",
      .arxiv = "2505.23416",
      .parts = kParts,
      .recipe = "score=kvzip + alloc=global",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
