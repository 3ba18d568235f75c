#include "text/vocab_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pith {
namespace {

constexpr const char* kModelKey = "tokenizer.ggml.model";
constexpr const char* kPreKey = "tokenizer.ggml.pre";
constexpr const char* kTokensKey = "tokenizer.ggml.tokens";
constexpr const char* kScoresKey = "tokenizer.ggml.scores";
constexpr const char* kTypesKey = "tokenizer.ggml.token_type";
constexpr const char* kMergesKey = "tokenizer.ggml.merges";

// Those that decide about the text around a prompt and about where generation ends.
constexpr std::array<const char*, 11> kSpecialTokenKeys = {
    "tokenizer.ggml.bos_token_id",     "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",     "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.fim_pre_token_id",
    "tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.fim_mid_token_id",
    "tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id"};
constexpr std::array<const char*, 3> kFlagKeys = {"tokenizer.ggml.add_bos_token",
                                                  "tokenizer.ggml.add_eos_token",
                                                  "tokenizer.ggml.add_space_prefix"};

// Pre-tokenizers that work on raw text instead of the byte alphabet: libllama asserts that their
// words hold no space.
constexpr std::array<std::string_view, 4> kRawTextPreTokenizers = {
    "gemma4", "granite-embed-multi-311m", "sarvam-moe", "whitespace"};

constexpr int64_t kLastTokenType = 6;  // LLAMA_TOKEN_TYPE_BYTE
constexpr int64_t kByteTokenType = 6;

constexpr std::string_view kReconvert =
    "Convert the model again or take the file from another source.";

class Checker {
 public:
  explicit Checker(const GgufFile& file) : file_(file), vocabulary_(gguf_init_empty()) {}

  Result<GgufContextPtr> Run() {
    PITH_TRY(CheckModel());
    PITH_TRY(CheckTokens());
    PITH_TRY(CheckTypes());
    PITH_TRY(CheckScores());
    PITH_TRY(CheckMerges());
    PITH_TRY(CheckSpecialTokens());
    for (const char* key : kFlagKeys) {
      if (file_.Find(key) == nullptr) continue;
      PITH_ASSIGN(const bool flag, file_.BoolOr(key, false));
      gguf_set_val_bool(vocabulary_.get(), key, flag);
    }
    PITH_TRY(CopyString("general.architecture"));
    // libllama reads the name: "phi3" in it changes how special tokens strip spaces.
    if (file_.Find("general.name") != nullptr) PITH_TRY(CopyString("general.name"));
    return std::move(vocabulary_);
  }

 private:
  tl::unexpected<Error> Bad(std::string what, std::string_view key) const {
    return InputError(std::move(what), fmt::format("{}, key {}", file_.path(), key),
                      std::string(kReconvert));
  }

  Status CopyString(const char* key) {
    PITH_ASSIGN(const std::string_view value, file_.String(key));
    gguf_set_val_str(vocabulary_.get(), key, std::string(value).c_str());
    return {};
  }

  void CopyStrings(const char* key, const std::vector<std::string>& strings) {
    std::vector<const char*> pointers;
    pointers.reserve(strings.size());
    for (const std::string& s : strings) pointers.push_back(s.c_str());
    gguf_set_arr_str(vocabulary_.get(), key, pointers.data(), pointers.size());
  }

  Status CheckModel() {
    if (file_.Find(kModelKey) == nullptr) {
      return Bad("the file has no tokenizer: a key is missing", kModelKey);
    }
    PITH_ASSIGN(const std::string_view model, file_.String(kModelKey));
    if (model == "none" || model == "no_vocab") {
      return Bad(fmt::format("the file has no tokenizer: its tokenizer is \"{}\"", model),
                 kModelKey);
    }
    if (model != "llama" && model != "gpt2") {
      return InputError(fmt::format("the tokenizer \"{}\" is not supported", model),
                        fmt::format("{}, key {}", file_.path(), kModelKey),
                        "Supported are \"llama\" (SentencePiece) and \"gpt2\" (byte-level BPE).");
    }
    is_bpe_ = model == "gpt2";
    PITH_TRY(CopyString(kModelKey));
    if (file_.Find(kPreKey) == nullptr) return {};
    PITH_ASSIGN(const std::string_view pre, file_.String(kPreKey));
    if (std::ranges::find(kRawTextPreTokenizers, pre) != kRawTextPreTokenizers.end()) {
      return InputError(fmt::format("the pre-tokenizer \"{}\" is not supported", pre),
                        fmt::format("{}, key {}", file_.path(), kPreKey),
                        "It belongs to models that are not supported either.");
    }
    return CopyString(kPreKey);
  }

  Status CheckTokens() {
    PITH_ASSIGN(const auto tokens, file_.Strings(kTokensKey));
    if (tokens.empty()) return Bad("the vocabulary is empty", kTokensKey);
    if (tokens.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
      return Bad("the vocabulary is too large", kTokensKey);
    }
    std::unordered_map<std::string, size_t> seen;
    seen.reserve(tokens.size());
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i].find('\0') != std::string_view::npos) {
        return Bad(fmt::format("token {} contains a zero byte", i), kTokensKey);
      }
      // The name libllama gives to an empty token.
      std::string text = tokens[i].empty() ? fmt::format("[EMPTY_{}]", i) : std::string(tokens[i]);
      const auto [other, is_new] = seen.emplace(text, i);
      if (!is_new) {
        return Bad(fmt::format("tokens {} and {} are the same", other->second, i), kTokensKey);
      }
      tokens_.push_back(std::move(text));
    }
    CopyStrings(kTokensKey, tokens_);
    return {};
  }

  Status CheckTypes() {
    if (file_.Find(kTypesKey) == nullptr) return {};
    PITH_ASSIGN(const auto types, file_.Integers(kTypesKey, tokens_.size()));
    std::vector<int32_t> copy;
    copy.reserve(types.size());
    for (size_t i = 0; i < types.size(); ++i) {
      if (types[i] < 0 || types[i] > kLastTokenType) {
        return Bad(fmt::format("token {} has the unknown type {}", i, types[i]), kTypesKey);
      }
      if (types[i] == kByteTokenType && !IsByteToken(tokens_[i])) {
        return Bad(fmt::format("token {} is said to be a byte but is not written like <0x0A>", i),
                   kTypesKey);
      }
      copy.push_back(static_cast<int32_t>(types[i]));
    }
    gguf_set_arr_data(vocabulary_.get(), kTypesKey, GGUF_TYPE_INT32, copy.data(), copy.size());
    return {};
  }

  static bool IsByteToken(std::string_view text) {
    const auto hex = [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; };
    return text.size() == 6 && text.starts_with("<0x") && hex(text[3]) && hex(text[4]) &&
           text[5] == '>';
  }

  Status CheckScores() {
    if (file_.Find(kScoresKey) == nullptr) {
      // Without scores SentencePiece would merge in an arbitrary order.
      if (!is_bpe_) return Bad("the vocabulary has no scores: a key is missing", kScoresKey);
      return {};
    }
    PITH_ASSIGN(const auto scores, file_.Floats(kScoresKey, tokens_.size()));
    for (size_t i = 0; i < scores.size(); ++i) {
      if (std::isnan(scores[i])) {
        return Bad(fmt::format("the score of token {} is not a number", i), kScoresKey);
      }
    }
    gguf_set_arr_data(vocabulary_.get(), kScoresKey, GGUF_TYPE_FLOAT32, scores.data(),
                      scores.size());
    return {};
  }

  Status CheckMerges() {
    if (!is_bpe_) return {};
    PITH_ASSIGN(const auto merges, file_.Strings(kMergesKey));
    std::vector<std::string> copy;
    copy.reserve(merges.size());
    for (size_t i = 0; i < merges.size(); ++i) {
      const size_t space = merges[i].find(' ', 1);
      if (space == std::string_view::npos || space + 1 == merges[i].size() ||
          merges[i].find('\0') != std::string_view::npos) {
        return Bad(fmt::format("merge {} is not two parts with a space between them", i),
                   kMergesKey);
      }
      copy.emplace_back(merges[i]);
    }
    CopyStrings(kMergesKey, copy);
    return {};
  }

  Status CheckSpecialTokens() {
    for (const char* key : kSpecialTokenKeys) {
      if (file_.Find(key) == nullptr) continue;
      PITH_ASSIGN(const uint64_t id, file_.Integer(key));
      if (id >= tokens_.size()) {
        return Bad(fmt::format("the special token {} is not in the vocabulary of {} tokens", id,
                               tokens_.size()),
                   key);
      }
      gguf_set_val_u32(vocabulary_.get(), key, static_cast<uint32_t>(id));
    }
    return {};
  }

  const GgufFile& file_;
  GgufContextPtr vocabulary_;
  bool is_bpe_ = false;
  std::vector<std::string> tokens_;
};

}  // namespace

Result<GgufContextPtr> CheckedVocabulary(const GgufFile& file) { return Checker(file).Run(); }

}  // namespace pith
