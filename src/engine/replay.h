// KVzip's repetition (arXiv 2505.23416): the model is asked to repeat the text, with the text
// itself as the answer, and what each entry of the cache is attended with meanwhile is noted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/step.h"

namespace pith {

// What the model reads before a piece of the text, in its tokens.
struct ReplayText {
  std::vector<int32_t> first;  // before the first piece
  std::vector<int32_t> later;  // before others; the end of the piece before follows
  std::vector<int32_t> turn;   // then: the user's turn ends, the model's begins
};
// Says so in the log if the model has a chat template that cannot be used.
Result<ReplayText> MakeReplayText(const Tokenizer& tokenizer);

struct ReplayTools {
  StepRunner& runner;
  const ModelShape& shape;
  const ReplayText& text;
  uint32_t context = 0;    // tokens that the text and the repetition must fit
  uint32_t step_rows = 1;  // tokens per step
  FeedProgress progress;   // of the tokens of all repetitions
};

// [layer][kv_head][n]: the highest probability that any token of the repetitions gives to each
// entry, over all query heads of the group, 0..1. A token's softmax is over the entries before
// `sinks`, the pinned ones, those of its piece of `chunk` tokens, and the repetition up to itself.
// Sinks and pinned tokens are not repeated. The sequence stays as it is: a fork reads, and is
// dropped. Input error if the context has no room for a piece behind the text; kFailure
// "interrupted" if progress said so.
Result<std::vector<std::vector<float>>> Replay(const ReplayTools& tools, const Sequence& sequence,
                                               uint32_t chunk, uint32_t sinks);

}  // namespace pith
