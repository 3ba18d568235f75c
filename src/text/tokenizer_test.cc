#include "text/tokenizer.h"

#include <fmt/format.h>
#include <gguf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>

#include "text/vocab_check.h"

namespace pith {
namespace {

const char kNano[] = PITH_SOURCE_DIR "/models/nano/nano.gguf";

using Tokens = std::vector<int32_t>;

// A model file of metadata only, gone at the end of the test.
class TempModel {
 public:
  explicit TempModel(const gguf_context* metadata)
      : path_(fmt::format("{}/tokenizer-{}.gguf", std::filesystem::temp_directory_path().string(),
                          ::getpid())) {
    EXPECT_TRUE(gguf_write_to_file(metadata, path_.c_str(), true));
  }
  ~TempModel() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

GgufContextPtr NanoMetadata() {
  GgufContextPtr file(gguf_init_from_file(kNano, {.no_alloc = true, .ctx = nullptr}));
  GgufContextPtr metadata(gguf_init_empty());
  gguf_set_kv(metadata.get(), file.get());
  return metadata;
}

Result<std::unique_ptr<Tokenizer>> LoadFrom(const gguf_context* metadata) {
  const TempModel model(metadata);
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(model.path()));
  return Tokenizer::Load(file);
}

std::unique_ptr<Tokenizer> Nano() {
  auto file = GgufFile::Open(kNano);
  EXPECT_TRUE(file.has_value());
  auto tokenizer = Tokenizer::Load(*file);
  EXPECT_TRUE(tokenizer.has_value()) << tokenizer.error().Message();
  return std::move(*tokenizer);
}

std::string Join(const Tokenizer& tokenizer, const Tokens& tokens) {
  std::string text;
  for (const int32_t token : tokens) text += tokenizer.Piece(token);
  return text;
}

void SetStrings(gguf_context* metadata, const char* key, const std::vector<std::string>& strings) {
  std::vector<const char*> pointers;
  for (const std::string& s : strings) pointers.push_back(s.c_str());
  gguf_set_arr_str(metadata, key, pointers.data(), pointers.size());
}

std::vector<std::string> GetStrings(const gguf_context* metadata, const char* key) {
  const int64_t id = gguf_find_key(metadata, key);
  std::vector<std::string> strings;
  for (size_t i = 0; i < gguf_get_arr_n(metadata, id); ++i) {
    strings.emplace_back(gguf_get_arr_str(metadata, id, i));
  }
  return strings;
}

// A SentencePiece vocabulary: <unk> <s> </s>, 256 bytes, and a few words; `skipped` byte is left
// out.
GgufContextPtr SentencePieceMetadata(int skipped = -1) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {2, 3, 3};
  std::vector<float> scores = {0, 0, 0};
  for (int byte = 0; byte < 256; ++byte) {
    if (byte == skipped) continue;
    tokens.push_back(fmt::format("<0x{:02X}>", byte));
    types.push_back(6);
    scores.push_back(0);
  }
  for (const char* word : {"\xE2\x96\x81", "a", "b", "ab",
                           "\xE2\x96\x81"
                           "ab"}) {
    tokens.emplace_back(word);
    types.push_back(1);
    scores.push_back(-static_cast<float>(tokens.size()));
  }
  GgufContextPtr metadata(gguf_init_empty());
  gguf_set_val_str(metadata.get(), "general.architecture", "llama");
  gguf_set_val_str(metadata.get(), "tokenizer.ggml.model", "llama");
  SetStrings(metadata.get(), "tokenizer.ggml.tokens", tokens);
  gguf_set_arr_data(metadata.get(), "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(),
                    types.size());
  gguf_set_arr_data(metadata.get(), "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(),
                    scores.size());
  return metadata;
}

TEST(Tokenizer, NanoTexts_ComeBackByteForByte) {
  const auto tokenizer = Nano();
  EXPECT_EQ(tokenizer->vocabulary_size(), 7149u);
  EXPECT_EQ(tokenizer->bos(), 7147);
  EXPECT_EQ(tokenizer->eos(), 7148);
  std::string all_ascii;
  for (char c = 1; c < 127; ++c) all_ascii += c;
  for (const std::string& text :
       {std::string("The shy owl of Nina is dark. What is the bird at the gate?"),
        std::string("  two  spaces\n\n\ttabs\r\n"), std::string("na\xC3\xAFve \xE2\x82\xAC 5"),
        std::string("\xF0\x9F\x98\x80\xE4\xBD\xA0\xE5\xA5\xBD"), std::string("a\0b", 3), all_ascii,
        std::string("<|not a token|>"), std::string(5000, 'x'), std::string()}) {
    const auto tokens = tokenizer->Tokenize(text, false, false);
    ASSERT_TRUE(tokens.has_value()) << tokens.error().Message();
    EXPECT_EQ(Join(*tokenizer, *tokens), text);
  }
}

TEST(Tokenizer, AddSpecial_PutsTheBosInFront) {
  const auto tokenizer = Nano();
  const auto plain = tokenizer->Tokenize("The bird", false, false);
  const auto special = tokenizer->Tokenize("The bird", true, false);
  Tokens expected = {7147};
  expected.insert(expected.end(), plain->begin(), plain->end());
  EXPECT_EQ(*special, expected);
  EXPECT_EQ(tokenizer->Tokenize("", true, false).value(), Tokens{7147});
}

TEST(Tokenizer, ControlTokens_ShownAndReadOnRequestOnly) {
  const auto tokenizer = Nano();
  EXPECT_EQ(tokenizer->Piece(7148), "");
  const std::string eos = tokenizer->Piece(7148, true);
  EXPECT_FALSE(eos.empty());
  EXPECT_EQ(tokenizer->Tokenize(eos, false, true).value(), Tokens{7148});
  EXPECT_GT(tokenizer->Tokenize(eos, false, false)->size(), 1u);
  EXPECT_TRUE(tokenizer->IsEndOfGeneration(7148));
  EXPECT_FALSE(tokenizer->IsEndOfGeneration(0));
  EXPECT_THROW(tokenizer->Piece(7149), std::logic_error);
  EXPECT_THROW(tokenizer->Piece(-1), std::logic_error);
}

TEST(Tokenizer, InvalidUtf8_RefusedWithItsOffset) {
  const auto tokens = Nano()->Tokenize("good \xFF bad", false, false);
  ASSERT_FALSE(tokens.has_value());
  EXPECT_EQ(tokens.error().kind, ErrorKind::kInput);
  EXPECT_EQ(tokens.error().Message(),
            "the text is not valid UTF-8 (byte offset 5). Convert it to UTF-8 first.");
}

TEST(Tokenizer, MissingByteOfBpe_RefusedInsteadOfDropped) {
  const GgufContextPtr metadata = NanoMetadata();
  std::vector<std::string> tokens = GetStrings(metadata.get(), "tokenizer.ggml.tokens");
  ASSERT_EQ(std::erase(tokens, "x"), 1u);
  tokens.insert(tokens.begin(), "unlikely");  // the others keep their numbers, more or less
  SetStrings(metadata.get(), "tokenizer.ggml.tokens", tokens);
  const auto tokenizer = LoadFrom(metadata.get());
  ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().Message();
  const auto bad = (*tokenizer)->Tokenize("a xx b", false, false);
  ASSERT_FALSE(bad.has_value());
  EXPECT_NE(bad.error().Message().find("byte 0x78 at offset 2"), std::string::npos);
  EXPECT_TRUE((*tokenizer)->Tokenize("a b", false, false).has_value());
}

TEST(Tokenizer, SentencePiece_TokensAndBytes) {
  const GgufContextPtr metadata = SentencePieceMetadata();
  const auto tokenizer = LoadFrom(metadata.get());
  ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().Message();
  const Tokens tokens = (*tokenizer)->Tokenize("ab\xC3\xA9", true, false).value();
  EXPECT_EQ(tokens, (Tokens{1, 263, 3 + 0xC3, 3 + 0xA9}));  // BOS, " ab", two bytes
  EXPECT_EQ(Join(**tokenizer, tokens), " ab\xC3\xA9");
  EXPECT_EQ((*tokenizer)->bos(), 1);
  EXPECT_TRUE((*tokenizer)->IsEndOfGeneration(2));
}

TEST(Tokenizer, MissingByteOfSentencePiece_RefusedWhereNeeded) {
  const GgufContextPtr metadata = SentencePieceMetadata(0xC3);
  const auto tokenizer = LoadFrom(metadata.get());
  ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().Message();
  EXPECT_TRUE((*tokenizer)->Tokenize("ab", true, false).has_value());
  const auto bad = (*tokenizer)->Tokenize("ab\xC3\xA9", true, false);
  ASSERT_FALSE(bad.has_value());
  EXPECT_NE(bad.error().Message().find("byte 0xc3 at offset 2"), std::string::npos);
}

TEST(Tokenizer, LongRuns_DoNotOverflowTheStack) {
  const GgufContextPtr metadata = NanoMetadata();
  gguf_set_val_str(metadata.get(), "tokenizer.ggml.pre", "tekken");  // split with std::regex
  const auto tokenizer = LoadFrom(metadata.get()).value();
  for (const char c : {'a', ' ', '7', '!', '\n'}) {
    const std::string text(100000, c);
    const auto tokens = tokenizer->Tokenize("go " + text + " on", false, false);
    ASSERT_TRUE(tokens.has_value()) << tokens.error().Message();
    EXPECT_EQ(Join(*tokenizer, *tokens), "go " + text + " on");
  }
  const auto refused = tokenizer->Tokenize(std::string(2000000, 'a'), false, false);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().Message().find("a stretch of 2000000 bytes"), std::string::npos);
}

TEST(Tokenizer, NoEosKeyInBpe_NoTokenEndsGeneration) {
  const GgufContextPtr metadata = NanoMetadata();
  gguf_remove_key(metadata.get(), "tokenizer.ggml.eos_token_id");
  // A control token whose text says that it ends a text would be recognised.
  std::vector<std::string> tokens = GetStrings(metadata.get(), "tokenizer.ggml.tokens");
  tokens.back() = "<|something|>";
  SetStrings(metadata.get(), "tokenizer.ggml.tokens", tokens);
  const auto tokenizer = LoadFrom(metadata.get());
  ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().Message();
  EXPECT_EQ((*tokenizer)->eos(), -1);
  for (int32_t token = 0; token < 7149; ++token) {
    EXPECT_FALSE((*tokenizer)->IsEndOfGeneration(token)) << token;
  }
}

struct Damage {
  std::string name;
  std::function<void(gguf_context*)> apply;
  std::string message;  // a part of the error
};

TEST(Tokenizer, DamagedMetadata_RefusedByName) {
  const auto set_array = [](gguf_context* m, const char* key, auto values, gguf_type type) {
    gguf_set_arr_data(m, key, type, values.data(), values.size());
  };
  const auto change_token = [](gguf_context* m, size_t at, const std::string& text) {
    std::vector<std::string> tokens = GetStrings(m, "tokenizer.ggml.tokens");
    tokens[at] = text;
    SetStrings(m, "tokenizer.ggml.tokens", tokens);
  };
  const std::vector<Damage> damages = {
      {"no tokenizer", [](auto* m) { gguf_remove_key(m, "tokenizer.ggml.model"); },
       "the file has no tokenizer"},
      {"none", [](auto* m) { gguf_set_val_str(m, "tokenizer.ggml.model", "none"); },
       "its tokenizer is \"none\""},
      {"unknown", [](auto* m) { gguf_set_val_str(m, "tokenizer.ggml.model", "t5"); },
       "the tokenizer \"t5\" is not supported"},
      {"model type", [](auto* m) { gguf_set_val_u32(m, "tokenizer.ggml.model", 3); },
       "tokenizer.ggml.model"},
      {"unknown pre", [](auto* m) { gguf_set_val_str(m, "tokenizer.ggml.pre", "nonsense"); },
       "unknown pre-tokenizer type: 'nonsense'"},
      {"raw pre", [](auto* m) { gguf_set_val_str(m, "tokenizer.ggml.pre", "whitespace"); },
       "the pre-tokenizer \"whitespace\" is not supported"},
      {"no tokens", [](auto* m) { gguf_remove_key(m, "tokenizer.ggml.tokens"); },
       "tokenizer.ggml.tokens"},
      {"empty", [](auto* m) { SetStrings(m, "tokenizer.ggml.tokens", {}); },
       "the vocabulary is empty"},
      {"tokens are numbers",
       [&](auto* m) {
         set_array(m, "tokenizer.ggml.tokens", std::vector<int32_t>(7149), GGUF_TYPE_INT32);
       },
       "tokenizer.ggml.tokens"},
      {"duplicate",
       [&](auto* m) { change_token(m, 10, GetStrings(m, "tokenizer.ggml.tokens")[7]); },
       "tokens 7 and 10 are the same"},
      {"duplicate of an empty token",
       [&](auto* m) {
         change_token(m, 5, "");
         change_token(m, 9, "[EMPTY_5]");
       },
       "tokens 5 and 9 are the same"},
      {"short types",
       [&](auto* m) {
         set_array(m, "tokenizer.ggml.token_type", std::vector<int32_t>(10, 1), GGUF_TYPE_INT32);
       },
       "tokenizer.ggml.token_type"},
      {"float types",
       [&](auto* m) {
         set_array(m, "tokenizer.ggml.token_type", std::vector<float>(7149), GGUF_TYPE_FLOAT32);
       },
       "tokenizer.ggml.token_type"},
      {"unknown type",
       [&](auto* m) {
         set_array(m, "tokenizer.ggml.token_type", std::vector<int32_t>(7149, 9), GGUF_TYPE_INT32);
       },
       "token 0 has the unknown type 9"},
      {"bytes that are none",
       [&](auto* m) {
         set_array(m, "tokenizer.ggml.token_type", std::vector<int32_t>(7149, 6), GGUF_TYPE_INT32);
       },
       "token 0 is said to be a byte"},
      {"short scores",
       [&](auto* m) {
         set_array(m, "tokenizer.ggml.scores", std::vector<float>(7), GGUF_TYPE_FLOAT32);
       },
       "tokenizer.ggml.scores"},
      {"NaN score",
       [&](auto* m) {
         set_array(m, "tokenizer.ggml.scores", std::vector<float>(7149, NAN), GGUF_TYPE_FLOAT32);
       },
       "the score of token 0 is not a number"},
      {"no merges", [](auto* m) { gguf_remove_key(m, "tokenizer.ggml.merges"); },
       "tokenizer.ggml.merges"},
      {"one-part merge", [](auto* m) { SetStrings(m, "tokenizer.ggml.merges", {"a b", "ab"}); },
       "merge 1 is not two parts"},
      {"half merge", [](auto* m) { SetStrings(m, "tokenizer.ggml.merges", {"ab "}); },
       "merge 0 is not two parts"},
      {"empty merge", [](auto* m) { SetStrings(m, "tokenizer.ggml.merges", {""}); },
       "merge 0 is not two parts"},
      {"BOS out of range",
       [](auto* m) { gguf_set_val_u32(m, "tokenizer.ggml.bos_token_id", 7149); },
       "the special token 7149 is not in the vocabulary of 7149 tokens"},
      {"negative EOS", [](auto* m) { gguf_set_val_i32(m, "tokenizer.ggml.eos_token_id", -1); },
       "tokenizer.ggml.eos_token_id"},
      {"BOS wanted, none named", [](auto* m) { gguf_remove_key(m, "tokenizer.ggml.bos_token_id"); },
       "wants a token at the beginning"},
      {"flag type", [](auto* m) { gguf_set_val_u32(m, "tokenizer.ggml.add_bos_token", 1); },
       "tokenizer.ggml.add_bos_token"},
      {"template type", [](auto* m) { gguf_set_val_bool(m, "tokenizer.chat_template", true); },
       "tokenizer.chat_template"},
      {"no architecture", [](auto* m) { gguf_remove_key(m, "general.architecture"); },
       "general.architecture"},
  };
  for (const Damage& damage : damages) {
    const GgufContextPtr metadata = NanoMetadata();
    damage.apply(metadata.get());
    const auto tokenizer = LoadFrom(metadata.get());
    ASSERT_FALSE(tokenizer.has_value()) << damage.name;
    EXPECT_EQ(tokenizer.error().kind, ErrorKind::kInput) << damage.name;
    EXPECT_NE(tokenizer.error().Message().find(damage.message), std::string::npos)
        << damage.name << ": " << tokenizer.error().Message();
  }
}

TEST(Tokenizer, ChatTemplate_AppliedWhereKnown) {
  const GgufContextPtr metadata = NanoMetadata();
  gguf_set_val_str(metadata.get(), "tokenizer.chat_template",
                   "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>");
  const auto tokenizer = LoadFrom(metadata.get());
  ASSERT_TRUE(tokenizer.has_value());
  EXPECT_TRUE((*tokenizer)->has_chat_template());
  const std::string question(3000, 'q');  // longer than the first buffer
  const std::vector<ChatMessage> messages = {{"system", "Be brief."}, {"user", question}};
  EXPECT_EQ((*tokenizer)->ApplyChatTemplate(messages, true).value(),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n" + question +
                "<|im_end|>\n<|im_start|>assistant\n");
  const std::vector<ChatMessage> zero = {{"user", std::string("a\0b", 3)}};
  EXPECT_FALSE((*tokenizer)->ApplyChatTemplate(zero, true).has_value());
}

TEST(Tokenizer, ChatTemplate_UnknownOrMissingRefusedWithTheWayOut) {
  const std::vector<ChatMessage> messages = {{"user", "hello"}};
  const auto none = Nano()->ApplyChatTemplate(messages, true);
  ASSERT_FALSE(none.has_value());
  EXPECT_NE(none.error().Message().find("the model has no chat template"), std::string::npos);
  EXPECT_NE(none.error().Message().find("--raw"), std::string::npos);

  const GgufContextPtr metadata = NanoMetadata();
  gguf_set_val_str(metadata.get(), "tokenizer.chat_template", "{{ something\nvery unusual }}");
  const auto unknown = LoadFrom(metadata.get()).value()->ApplyChatTemplate(messages, true);
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().kind, ErrorKind::kInput);
  EXPECT_NE(unknown.error().Message().find("begins \"{{ something very unusual }}\""),
            std::string::npos);
  EXPECT_NE(unknown.error().Message().find("--raw"), std::string::npos);
}

}  // namespace
}  // namespace pith
