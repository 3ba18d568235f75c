// From an item to the tokens that a model is fed, under one of the two protocols.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "eval/task/item.h"
#include "text/tokenizer.h"

namespace pith {

// The tokens of an item in the order in which they are fed. Joined, they are the prompt:
// [template][context][question][end of the template, or a line end][answer prefix].
struct EvalPrompt {
  std::vector<int32_t>
      context;                  // read first, then compressed; begins with BOS if the model has one
  std::vector<int32_t> rest;    // fed after that; empty for likelihood items
  std::vector<int32_t> scored;  // likelihood items: the text whose probability is asked
};

// Whether the item asks for the likelihood of a text instead of an answer.
bool AsksLikelihood(const Item& item);

// Around an item of the kind "fed as it stands": nothing before, a line end after.
TemplateParts NoTemplate();
// Input error if the model has a template that libllama does not know; NoTemplate() if it has none.
Result<TemplateParts> ChatTemplateParts(const Tokenizer& tokenizer);
// How many tokens it takes: what tasks must leave room for.
Result<uint32_t> TemplateTokens(const Tokenizer& tokenizer, const TemplateParts& parts);

// `query_aware`: the question belongs to what is compressed. The context and what follows are
// tokenized apart, so that the context's tokens are the same for every question.
Result<EvalPrompt> PreparePrompt(const Tokenizer& tokenizer, const Item& item,
                                 const TemplateParts& parts, bool query_aware);

// Cuts the middle out of the item's context so that the prompt has at most `max_tokens` tokens: the
// first and the last halves of that many tokens stay, as LongBench does it. True if it had to.
Result<bool> CutMiddle(const Tokenizer& tokenizer, const TemplateParts& parts, uint32_t max_tokens,
                       Item* item);

}  // namespace pith
