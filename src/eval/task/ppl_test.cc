#include <gtest/gtest.h>

#include "eval/task/task_fixture.h"

namespace pith {
namespace {

using Tokens = std::vector<int32_t>;

Tokens Tokenize(std::string_view text) { return *NanoTokenizer().Tokenize(text, false, false); }

TEST(Ppl, AnyLength_KeepsTheLengthRule) {
  TaskRequest request = NanoRequest(1024, 4);
  request.settings.score_tokens = 100;
  request.reserved = 10;
  ExpectWellFormed("ppl/score", request, 0.85);
  ExpectWellFormed("ppl/chunked", request, 0.45);
}

TEST(Ppl, Windows_AreReproducible) {
  TaskRequest request = NanoRequest(800, 3);
  request.settings.score_tokens = 200;
  ExpectReproducible("ppl/score", request);
  ExpectReproducible("ppl/chunked", request);
}

TEST(Ppl, Cut_GivesTheTokensOfTheWhole) {
  TaskRequest request = NanoRequest(800, 6);
  request.settings.score_tokens = 200;
  for (const std::string_view name : {"ppl/score", "ppl/chunked"}) {
    for (const Item& item : Items(name, request)) {
      const Tokens whole = Tokenize(item.context + item.answers.at(0));
      Tokens parts = Tokenize(item.context);
      EXPECT_EQ(parts.size(), item.meta.at("context_tokens").get<size_t>());
      const Tokens scored = Tokenize(item.answers[0]);
      EXPECT_EQ(scored.size(), item.meta.at("scored_tokens").get<size_t>());
      parts.insert(parts.end(), scored.begin(), scored.end());
      EXPECT_EQ(parts, whole);
      EXPECT_EQ(item.max_new_tokens, 0u);
      EXPECT_FALSE(item.chat_template);
    }
  }
}

TEST(PplScore, Windows_HaveTheTokensOfTheSettingsAndTheirStride) {
  TaskRequest request = NanoRequest(900, 6);
  request.settings.score_tokens = 150;
  size_t window = 0;
  for (const Item& item : Items("ppl/score", request)) {
    const size_t context = item.meta.at("context_tokens"), scored = item.meta.at("scored_tokens");
    EXPECT_LE(context, 750u);
    EXPECT_GT(context, 700u);  // cut at a word, so at most a word less
    EXPECT_LE(scored, 150u);
    EXPECT_GT(scored, 100u);
    EXPECT_EQ(item.meta.at("protocol"), "prefill-then-score");
    EXPECT_LE(item.meta.at("first_token"), 150 * window);
    EXPECT_GT(item.meta.at("first_token"), 150.0 * static_cast<double>(window) - 120);
    ++window;
  }
  EXPECT_EQ(window, 6u);
}

// Chunks of n tokens, the first one BOS: n / 2 in the context, n - n / 2 - 1 are scored.
TEST(PplChunked, Chunks_AreHalfScored) {
  for (const Item& item : Items("ppl/chunked", NanoRequest(512, 4))) {
    EXPECT_LE(item.meta.at("context_tokens"), 256);
    EXPECT_GT(item.meta.at("context_tokens"), 206);
    EXPECT_LE(item.meta.at("scored_tokens"), 255);
    EXPECT_GT(item.meta.at("scored_tokens"), 205);
    EXPECT_EQ(item.meta.at("protocol"), "chunked");
  }
}

TEST(PplScore, SmallHaystack_ContinuesWhereTheContextEnds) {
  const std::string text = "Cows sleep. Goats jump. Hens run.";
  const Haystack haystack = Haystack::FromText(text, "farm");
  TaskRequest request = NanoRequest(120, 1);
  request.settings.score_tokens = 20;
  request.haystack = &haystack;
  std::string endless;
  for (int i = 0; i < 50; ++i) endless += text + " ";
  const Item item = Items("ppl/score", request).at(0);
  std::string given = item.context + item.answers.at(0);
  for (size_t at; (at = given.find("\n\n")) != std::string::npos;) given.replace(at, 2, " ");
  EXPECT_TRUE(endless.starts_with(given)) << given;
  EXPECT_EQ(item.answers[0].front(), ' ');
  EXPECT_EQ(item.meta.at("haystack"), "farm");
}

TEST(Ppl, BadInput_InputError) {
  TaskRequest request = NanoRequest(512, 1);
  ExpectInputError("ppl/score", request, "512 scored tokens leave no room for a context");
  request.settings.score_tokens = 0;
  ExpectInputError("ppl/score", request, "no tokens to score");
  ExpectInputError("ppl/chunked", NanoRequest(63, 1), "the length is too short for ppl/chunked");
}

}  // namespace
}  // namespace pith
