#include "eval/task/prompt.h"

#include <algorithm>

#include "text/utf8.h"

namespace pith {
namespace {

Status Append(const Tokenizer& tokenizer, std::string_view text, bool add_special,
              bool parse_special, std::vector<int32_t>* tokens) {
  if (text.empty() && !add_special) return {};
  PITH_ASSIGN(const std::vector<int32_t> more,
              tokenizer.Tokenize(text, add_special, parse_special));
  tokens->insert(tokens->end(), more.begin(), more.end());
  return {};
}

// The template's beginning, and before it the model's own begin-of-text unless the template writes
// it. What the model wants behind a text stays away.
Result<std::vector<int32_t>> Beginning(const Tokenizer& tokenizer, const TemplateParts& parts) {
  PITH_ASSIGN(std::vector<int32_t> tokens, tokenizer.Tokenize(parts.before, false, true));
  PITH_ASSIGN(const std::vector<int32_t> special, tokenizer.Tokenize("", true, false));
  const int32_t bos = tokenizer.bos();
  const bool wants_bos = !special.empty() && special.front() == bos;
  if (wants_bos && (tokens.empty() || tokens.front() != bos)) tokens.insert(tokens.begin(), bos);
  return tokens;
}

std::string Detokenize(const Tokenizer& tokenizer, std::span<const int32_t> tokens) {
  std::string text;
  for (const int32_t token : tokens) text += tokenizer.Piece(token);
  return ReplaceInvalidUtf8(text);
}

}  // namespace

bool AsksLikelihood(const Item& item) {
  return !item.metrics.empty() && item.metrics.front() == "likelihood";
}

TemplateParts NoTemplate() { return {"", "\n"}; }

Result<TemplateParts> ChatTemplateParts(const Tokenizer& tokenizer) {
  if (!tokenizer.has_chat_template()) return NoTemplate();
  auto parts = tokenizer.UserTurn();
  if (!parts) parts.error().hint = "Use --no-template to feed the text as it stands.";
  return parts;
}

Result<uint32_t> TemplateTokens(const Tokenizer& tokenizer, const TemplateParts& parts) {
  PITH_ASSIGN(std::vector<int32_t> tokens, Beginning(tokenizer, parts));
  PITH_TRY(Append(tokenizer, parts.after, false, true, &tokens));
  return static_cast<uint32_t>(tokens.size());
}

Result<EvalPrompt> PreparePrompt(const Tokenizer& tokenizer, const Item& item,
                                 const TemplateParts& parts, bool query_aware) {
  EvalPrompt prompt;
  const bool likelihood = AsksLikelihood(item);
  const bool plain = likelihood || !item.chat_template;
  const TemplateParts around = plain ? NoTemplate() : parts;
  PITH_ASSIGN(prompt.context, Beginning(tokenizer, around));
  if (likelihood) {
    PITH_TRY(Append(tokenizer, item.context, false, false, &prompt.context));
    PITH_TRY(Append(tokenizer, item.answers.at(0), false, false, &prompt.scored));
    return prompt;
  }
  PITH_TRY(Append(tokenizer, query_aware ? item.context + item.question : item.context, false,
                  false, &prompt.context));
  const std::string question = query_aware ? std::string() : item.question;
  if (around.before.empty()) {  // all of it is plain text, and one text
    PITH_TRY(Append(tokenizer, question + around.after + item.answer_prefix, false, false,
                    &prompt.rest));
    return prompt;
  }
  PITH_TRY(Append(tokenizer, question, false, false, &prompt.rest));
  PITH_TRY(Append(tokenizer, around.after, false, true, &prompt.rest));
  PITH_TRY(Append(tokenizer, item.answer_prefix, false, false, &prompt.rest));
  return prompt;
}

Result<bool> CutMiddle(const Tokenizer& tokenizer, const TemplateParts& parts, uint32_t max_tokens,
                       Item* item) {
  PITH_ASSIGN(const EvalPrompt prompt, PreparePrompt(tokenizer, *item, parts, false));
  const size_t total = prompt.context.size() + prompt.rest.size() + prompt.scored.size();
  if (total <= max_tokens) return false;
  PITH_ASSIGN(const std::vector<int32_t> context, tokenizer.Tokenize(item->context, false, false));
  const size_t around = total - context.size();
  if (around >= max_tokens / 2) {
    return InputError("the question alone takes half of " + std::to_string(max_tokens) + " tokens",
                      item->task + " " + item->id, "Give a longer --max-context.");
  }
  // A cut inside a character, and the seam, may take more tokens than what they are made of.
  for (size_t half = max_tokens / 2; half > around;) {
    // The last half is counted from the prompt's end, where the question stands.
    item->context = Detokenize(tokenizer, std::span(context).first(half)) +
                    Detokenize(tokenizer, std::span(context).last(half - around));
    PITH_ASSIGN(const EvalPrompt cut, PreparePrompt(tokenizer, *item, parts, false));
    const size_t tokens = cut.context.size() + cut.rest.size() + cut.scored.size();
    if (tokens <= max_tokens) return true;
    half -= std::min(half, (tokens - max_tokens + 1) / 2);
  }
  return InputError("the context cannot be cut to " + std::to_string(max_tokens) + " tokens",
                    item->task + " " + item->id, "Give a longer --max-context.");
}

}  // namespace pith
