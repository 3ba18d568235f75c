// Text to tokens and back: an adapter over libllama's vocabulary, which is loaded from the same
// GGUF file. What the file says about its tokenizer is checked before libllama sees it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "gguf/gguf.h"

namespace pith {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// What a chat template puts around a user's message: its turn before, and after it the end of the
// turn and the beginning of the answer.
struct TemplateParts {
  std::string before, after;
};

class Tokenizer {
 public:
  static Result<std::unique_ptr<Tokenizer>> Load(const GgufFile& file);
  ~Tokenizer();

  uint32_t vocabulary_size() const;

  // Tokens of UTF-8 text (invalid UTF-8 is an input error that gives the byte offset).
  // `add_special` puts the tokens that the model wants around a text (BOS); `parse_special` reads
  // "<|eot|>" and the like as control tokens.
  Result<std::vector<int32_t>> Tokenize(std::string_view text, bool add_special,
                                        bool parse_special) const;

  // The bytes a token stands for; may be a part of a UTF-8 character. Control tokens give nothing
  // unless `special`.
  std::string Piece(int32_t token, bool special = false) const;

  bool IsEndOfGeneration(int32_t token) const;
  bool IsControl(int32_t token) const;  // not text: a mark of the model's own, such as BOS
  int32_t bos() const;                  // -1 if the model has none
  int32_t eos() const;

  // The model's chat template over `messages`, ready for Tokenize(..., parse_special = true). An
  // input error if the model has none or one that libllama does not recognise; the hint names the
  // way round it (a raw prompt).
  Result<std::string> ApplyChatTemplate(std::span<const ChatMessage> messages,
                                        bool add_generation_prompt) const;
  bool has_chat_template() const;
  // Of a single message. An input error as above, or if the template does not repeat the message.
  Result<TemplateParts> UserTurn() const;

 private:
  Tokenizer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pith
