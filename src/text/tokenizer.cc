#include "text/tokenizer.h"

#include <fmt/format.h>
#include <llama.h>

#include <algorithm>
#include <bitset>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "text/big_stack.h"
#include "text/utf8.h"
#include "text/vocab_check.h"

namespace pith {
namespace {

struct ModelDeleter {
  void operator()(llama_model* model) const { llama_model_free(model); }
};
using ModelPtr = std::unique_ptr<llama_model, ModelDeleter>;

// libllama says what it does not like only in its log; the first error is the cause.
thread_local std::string first_llama_error;

void OnLlamaLog(ggml_log_level level, const char* text, void*) {
  if (level != GGML_LOG_LEVEL_WARN && level != GGML_LOG_LEVEL_ERROR) return;
  std::string line(text);
  while (!line.empty() && line.back() == '\n') line.pop_back();
  Log(LogLevel::kInfo, "libllama: " + line);
  if (level == GGML_LOG_LEVEL_ERROR && first_llama_error.empty()) {
    first_llama_error = std::move(line);
  }
}

void RouteLlamaLog() {
  static std::once_flag once;
  std::call_once(once, [] { llama_log_set(OnLlamaLog, nullptr); });
}

// libllama splits text for BPE with std::regex, which recurses once per character of a match (some
// 300 bytes of stack each, measured); a match lies within a run of spaces or of other characters.
constexpr size_t kShortRun = 4096;  // fits on any stack
constexpr size_t kLongestRun = 1 << 20;
constexpr size_t kStackBytes = 8 << 20;
constexpr size_t kStackBytesPerCharacter = 1024;

size_t LongestRun(std::string_view text) {
  size_t longest = 0, length = 0;
  bool spaces = false;
  for (const char c : text) {
    const bool is_space = c == ' ' || (c >= '\t' && c <= '\r');
    length = is_space == spaces ? length + 1 : 1;
    spaces = is_space;
    longest = std::max(longest, length);
  }
  return longest;
}

Result<ModelPtr> LoadVocabulary(const GgufFile& file) {
  PITH_ASSIGN(const GgufContextPtr metadata, CheckedVocabulary(file));
  RouteLlamaLog();
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  params.n_gpu_layers = 0;
  first_llama_error.clear();
  ModelPtr model(llama_model_init_from_user(metadata.get(), nullptr, nullptr, params));
  if (model == nullptr) {
    return InputError("libllama refuses the tokenizer: " + first_llama_error, file.path(),
                      "Convert the model again or take the file from another source.");
  }
  return model;
}

}  // namespace

struct Tokenizer::Impl {
  Status Init(const GgufFile& file);
  Result<std::vector<int32_t>> RunTokenizer(std::string_view text, bool add_special,
                                            bool parse_special) const;
  std::string Piece(int32_t token, bool special) const;
  Status CheckNothingLost(std::string_view text, bool parse_special) const;
  tl::unexpected<Error> CannotExpress(std::string_view text) const;

  std::string path;
  ModelPtr model;
  const llama_vocab* vocab = nullptr;
  bool is_bpe = false;
  int32_t bos = -1, eos = -1;
  int32_t assumed_eos = -1;   // what libllama takes for EOS although the file names none
  std::bitset<256> has_byte;  // a token stands for this single byte
  std::string chat_template;
};

Tokenizer::Tokenizer() : impl_(std::make_unique<Impl>()) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::Load(const GgufFile& file) {
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer());
  PITH_TRY(tokenizer->impl_->Init(file));
  return tokenizer;
}

Status Tokenizer::Impl::Init(const GgufFile& file) {
  path = file.path();
  PITH_ASSIGN(model, LoadVocabulary(file));
  vocab = llama_model_get_vocab(model.get());
  is_bpe = llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_BPE;
  // For SentencePiece the usual 1 and 2 stand in for missing keys; for BPE libllama would take
  // token 11 for both.
  bos = llama_vocab_bos(vocab);
  eos = llama_vocab_eos(vocab);
  if (is_bpe && file.Find("tokenizer.ggml.bos_token_id") == nullptr) bos = -1;
  if (is_bpe && file.Find("tokenizer.ggml.eos_token_id") == nullptr) {
    assumed_eos = std::exchange(eos, -1);
  }
  const auto no_token = [&](std::string_view what, std::string_view key) {
    return InputError(fmt::format("the file wants {} with every text but names none", what),
                      fmt::format("{}, key {}", path, key), "Convert the model again.");
  };
  if (llama_vocab_get_add_bos(vocab) && bos < 0) {
    return no_token("a token at the beginning", "tokenizer.ggml.bos_token_id");
  }
  if (llama_vocab_get_add_eos(vocab) && eos < 0) {
    return no_token("a token at the end", "tokenizer.ggml.eos_token_id");
  }
  for (int32_t token = 0; token < llama_vocab_n_tokens(vocab); ++token) {
    const std::string piece = Piece(token, false);
    if (piece.size() == 1) has_byte.set(static_cast<uint8_t>(piece[0]));
  }
  PITH_ASSIGN(chat_template, file.StringOr("tokenizer.chat_template", ""));
  return {};
}

uint32_t Tokenizer::vocabulary_size() const {
  return static_cast<uint32_t>(llama_vocab_n_tokens(impl_->vocab));
}

std::string Tokenizer::Impl::Piece(int32_t token, bool special) const {
  PITH_CHECK(token >= 0 && token < llama_vocab_n_tokens(vocab));
  std::string piece(32, '\0');
  const auto run = [&] {
    return llama_token_to_piece(vocab, token, piece.data(), static_cast<int32_t>(piece.size()), 0,
                                special);
  };
  int32_t size = run();
  if (size < 0) {
    piece.resize(static_cast<size_t>(-size));
    size = run();
  }
  piece.resize(static_cast<size_t>(size));
  return piece;
}

tl::unexpected<Error> Tokenizer::Impl::CannotExpress(std::string_view text) const {
  size_t at = 0;
  while (at < text.size() && has_byte[static_cast<uint8_t>(text[at])]) ++at;
  const std::string where = at == text.size()
                                ? path
                                : fmt::format("{}, byte {:#04x} at offset {} of the text", path,
                                              static_cast<uint8_t>(text[at]), at);
  return InputError("the model's vocabulary has no tokens for a part of the text", where,
                    "Leave that character out.");
}

Result<std::vector<int32_t>> Tokenizer::Impl::RunTokenizer(std::string_view text, bool add_special,
                                                           bool parse_special) const {
  std::vector<int32_t> tokens(text.size() + 2);  // a token is at least a byte, BOS and EOS apart
  const auto run = [&] {
    return llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), tokens.data(),
                          static_cast<int32_t>(tokens.size()), add_special, parse_special);
  };
  bool expressible = true;
  const auto tokenize = [&] {
    try {
      int32_t count = run();
      if (count < 0) {
        tokens.resize(static_cast<size_t>(-static_cast<int64_t>(count)));
        count = run();
      }
      tokens.resize(static_cast<size_t>(count));
    } catch (const std::out_of_range&) {
      expressible = false;  // SentencePiece: a byte token is missing
    }
  };
  const size_t run_length = LongestRun(text);
  if (!is_bpe || run_length <= kShortRun) {
    tokenize();
  } else if (run_length <= kLongestRun) {
    PITH_TRY(CallWithStack(kStackBytes + run_length * kStackBytesPerCharacter, tokenize));
  } else {
    return InputError(fmt::format("a stretch of {} bytes of the text has no spaces in it, or "
                                  "nothing else; the tokenizer takes at most {}",
                                  run_length, kLongestRun),
                      path, "Break it up.");
  }
  if (!expressible) return CannotExpress(text);
  return tokens;
}

// BPE drops bytes that it has no token for; that shows when the pieces are joined again.
Status Tokenizer::Impl::CheckNothingLost(std::string_view text, bool parse_special) const {
  bool all_bytes = true;
  for (const char c : text) all_bytes = all_bytes && has_byte[static_cast<uint8_t>(c)];
  if (!is_bpe || all_bytes) return {};
  PITH_ASSIGN(const std::vector<int32_t> tokens, RunTokenizer(text, false, parse_special));
  std::string joined;
  for (const int32_t token : tokens) joined += Piece(token, true);
  if (joined != text) return CannotExpress(text);
  return {};
}

Result<std::vector<int32_t>> Tokenizer::Tokenize(std::string_view text, bool add_special,
                                                 bool parse_special) const {
  if (const size_t at = FindInvalidUtf8(text); at != std::string_view::npos) {
    return InputError("the text is not valid UTF-8", fmt::format("byte offset {}", at),
                      "Convert it to UTF-8 first.");
  }
  if (text.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max()) - 2) {
    return InputError("the text is longer than 2 GiB", {}, "Give a shorter one.");
  }
  PITH_TRY(impl_->CheckNothingLost(text, parse_special));
  return impl_->RunTokenizer(text, add_special, parse_special);
}

std::string Tokenizer::Piece(int32_t token, bool special) const {
  return impl_->Piece(token, special);
}

bool Tokenizer::IsEndOfGeneration(int32_t token) const {
  if (!llama_vocab_is_eog(impl_->vocab, token)) return false;
  // Tokens that libllama recognises by their text are control tokens; a mere assumption is not.
  return token != impl_->assumed_eos || llama_vocab_is_control(impl_->vocab, token);
}

bool Tokenizer::IsControl(int32_t token) const {
  return llama_vocab_is_control(impl_->vocab, token) || IsEndOfGeneration(token);
}

int32_t Tokenizer::bos() const { return impl_->bos; }
int32_t Tokenizer::eos() const { return impl_->eos; }
bool Tokenizer::has_chat_template() const { return !impl_->chat_template.empty(); }

Result<std::string> Tokenizer::ApplyChatTemplate(std::span<const ChatMessage> messages,
                                                 bool add_generation_prompt) const {
  constexpr std::string_view kWayOut = "Give the prompt raw with --raw.";
  if (!has_chat_template()) {
    return InputError("the model has no chat template", impl_->path, std::string(kWayOut));
  }
  std::vector<llama_chat_message> chat;
  for (const ChatMessage& message : messages) {
    if (message.role.find('\0') != std::string::npos ||
        message.content.find('\0') != std::string::npos) {
      return InputError("a chat message contains a zero byte", {}, "Leave it out.");
    }
    chat.push_back({message.role.c_str(), message.content.c_str()});
  }
  std::string text(1024, '\0');
  const auto run = [&] {
    return llama_chat_apply_template(impl_->chat_template.c_str(), chat.data(), chat.size(),
                                     add_generation_prompt, text.data(),
                                     static_cast<int32_t>(text.size()));
  };
  int32_t size = run();
  if (size > static_cast<int32_t>(text.size())) {
    text.resize(static_cast<size_t>(size));
    size = run();
  }
  if (size < 0) {
    constexpr size_t kShown = 60;
    return InputError(
        fmt::format("the model's chat template is not one that libllama knows: it begins \"{}\"",
                    ReplaceInvalidUtf8(std::string_view(impl_->chat_template).substr(0, kShown))),
        impl_->path, std::string(kWayOut));
  }
  text.resize(static_cast<size_t>(size));
  return text;
}

Result<TemplateParts> Tokenizer::UserTurn() const {
  constexpr std::string_view kMessage = "\xEE\x80\x80";  // U+E000, private use
  const ChatMessage message{"user", std::string(kMessage)};
  PITH_ASSIGN(const std::string text, ApplyChatTemplate({&message, 1}, true));
  const size_t at = text.find(kMessage);
  if (at == std::string::npos) {
    return InputError("the chat template does not repeat the user's message", impl_->path,
                      "Give the prompt raw with --raw.");
  }
  return TemplateParts{text.substr(0, at), text.substr(at + kMessage.size())};
}

}  // namespace pith
