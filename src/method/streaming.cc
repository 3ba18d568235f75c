#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {SinksParameter("4")};

uint64_t Sinks(Parameters parameters) { return static_cast<uint64_t>(parameters[0].number); }

// Newer is better.
void Score(const HeadInput& head, Parameters parameters, std::span<float> scores) {
  for (size_t j = 0; j < scores.size(); ++j) scores[j] = static_cast<float>(j);
  Protect(head, Sinks(parameters), 0, scores);
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
       .score = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "streaming",
      .summary =
          "The first few tokens, which attention uses as a sink, and a window of the newest. Keys "
          "keep their original positions, so that the text stays bounded by the context of the "
          "model; what lies between sinks and window is forgotten.",
      .paper = "Efficient Streaming Language Models with Attention Sinks",
      .arxiv = "2309.17453",
      .parts = kParts,
      .recipe = "score=streaming + when=decode",
      .identity = "a budget of at least the prompt's length, and when=prompt",
  };
  return kInfo;
}

}  // namespace pith
