#include <algorithm>

#include "method/support.h"

namespace pith {
namespace {

constexpr std::string_view kPositions[] = {"text", "cache"};
constexpr ParameterInfo kParameters[] = {
    {.name = "sinks",
     .type = ParameterType::kInteger,
     .default_value = "4",
     .min = 0,
     .max = 128,
     .meaning = "first tokens of the text that are never dropped"},
    {.name = "positions",
     .type = ParameterType::kWord,
     .default_value = "text",
     .words = kPositions,
     .meaning = "where an entry stands for the model: where it stood in the text, or where it "
                "stands in the cache, sinks right before the window"},
};

uint64_t Sinks(Parameters p) { return static_cast<uint64_t>(p[0].number); }

// Newer is better. Sinks are known by their place: their positions may have moved.
void Score(const HeadInput& head, Parameters p, std::span<float> scores) {
  for (size_t j = 0; j < scores.size(); ++j) scores[j] = static_cast<float>(j);
  const bool moved = p[1].word == "cache";
  Protect(head, moved ? 0 : Sinks(p), 0, scores);
  if (moved) std::ranges::fill(scores.first(std::min<size_t>(scores.size(), Sinks(p))), kProtected);
}

}  // namespace

const MethodInfo& StreamingMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "streaming",
       .summary = "newer entries matter more, and the first ones always",
       .parameters = kParameters,
       .protects = "the sinks",
       .num_protected = [](Parameters p, uint64_t) { return Sinks(p); },
       .score = Score,
       .num_moved =
           [](Parameters p) { return p[1].word == "cache" ? static_cast<uint32_t>(Sinks(p)) : 0; }},
  };
  static constexpr MethodInfo kInfo = {
      .name = "streaming",
      .summary =
          "The first few tokens, which attention uses as a sink, and a window of the newest; what "
          "lies between is forgotten. With positions=text keys stay where they stood, so that the "
          "text stays bounded by the context of the model. With positions=cache, as in the paper, "
          "sinks follow the window, and with when=always a text may be as long as you like.",
      .paper = "Efficient Streaming Language Models with Attention Sinks",
      .arxiv = "2309.17453",
      .parts = kParts,
      .recipe = "score=streaming + when=decode",
      .identity = "a budget of at least the prompt's length, and when=prompt",
  };
  return kInfo;
}

}  // namespace pith
