#include "method/method.h"

namespace pith {

const MethodInfo& LessMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kFold,
       .name = "less",
       .summary = "a sum of a few learned features of each key, with and without its value; "
                  "attention weighs it by the features of the query",
       .needs = "the fold networks of a profile",
       .gather = [](Parameters) { return Needs{.profile = kProfileFold}; },
       .folds = true},
  };
  static constexpr MethodInfo kInfo = {
      .name = "less",
      .summary =
          "What eviction drops is folded into a state of constant size for each KV head, by small "
          "networks that were taught to make products of features stand for the exponentials of "
          "scores. A query sees the kept entries as ever, and the state as one more. Any way of "
          "choosing entries can go before it.",
      .paper =
          "Get More with LESS: Synthesizing Recurrence with KV Cache Compression for Efficient LLM "
          "Inference",
      .arxiv = "2402.09398",
      .parts = kParts,
      .recipe = "score=h2o + when=decode + fold=less",
      .identity = "a budget of at least the whole text's length",
  };
  return kInfo;
}

}  // namespace pith
