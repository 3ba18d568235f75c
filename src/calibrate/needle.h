// The texts with needles on which HeadKV judges heads (arXiv 2410.19258): 5 lengths x 10 depths x
// 2 questions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "eval/task/haystack.h"
#include "text/tokenizer.h"

namespace pith {

// What is hidden and asked for: a task of the evaluation.
struct NeedleKind {
  std::string_view name;  // "reasoning": an option's value
  std::string_view task;  // "reason/needle"
  bool in_pairs;          // two questions at each place of a text; else two texts
};
std::span<const NeedleKind> NeedleKinds();  // the hardest first
const NeedleKind* FindNeedleKind(std::string_view name);

struct NeedleSample {
  std::vector<int32_t> prompt;
  size_t begin = 0, end = 0;  // the prompt's tokens that answer the question
  std::string answer;         // their text
  uint32_t max_steps = 0;     // as many tokens as the answer has, at most 50
};

struct NeedleRequest {
  const Tokenizer& tokenizer;
  const NeedleKind& kind;
  const Haystack& haystack;
  uint64_t seed = 42;
  uint32_t context = 0;  // tokens of the longest text, its answer included
};

// From 1,000 tokens, or half of a small context, to the whole of it in equal steps.
std::vector<uint32_t> NeedleLengths(uint32_t context);

// Input error if a text cannot be made so short.
Result<std::vector<NeedleSample>> MakeNeedleSamples(const NeedleRequest& request);

}  // namespace pith
