#include "engine/token_kinds.h"

#include <gtest/gtest.h>

namespace pith {
namespace {

TEST(TokenKinds, Nano_MarksAndPunctuation) {
  const auto file = GgufFile::Open(PITH_SOURCE_DIR "/models/nano/nano.gguf");
  ASSERT_TRUE(file);
  const auto tokenizer = Tokenizer::Load(*file).value();
  const std::vector<TokenKind> kinds = TokenKinds(*tokenizer);
  ASSERT_EQ(kinds.size(), tokenizer->vocabulary_size());
  const auto kind_of = [&](const char* text) {
    const auto tokens = tokenizer->Tokenize(text, false, false).value();
    EXPECT_EQ(tokens.size(), 1u) << text;
    return kinds[static_cast<size_t>(tokens.at(0))];
  };
  for (const char* text : {".", ",", ":", "?", "!", ";", "\n"}) {
    EXPECT_EQ(kind_of(text), TokenKind::kPunctuation) << text;
  }
  for (const char* text : {"a", "7", "-"}) EXPECT_EQ(kind_of(text), TokenKind::kOrdinary) << text;
  EXPECT_EQ(kinds[static_cast<size_t>(tokenizer->eos())], TokenKind::kSpecial);
}

}  // namespace
}  // namespace pith
