#include "eval/task/duo.h"

#include <gtest/gtest.h>

#include <sstream>

#include "eval/task/fit.h"
#include "eval/task/task_fixture.h"
#include "eval/task/words.h"

namespace pith {
namespace {

TaskRequest SmallRequest(uint32_t length, uint32_t samples) {
  TaskRequest request = NanoRequest(length, samples);
  request.settings.passkeys = 4;
  request.settings.passkey_words = 5;
  return request;
}

std::vector<std::string> Split(const std::string& words) {
  std::istringstream stream(words);
  std::vector<std::string> split;
  for (std::string word; stream >> word;) split.push_back(word);
  return split;
}

TEST(Duo, AnyLength_KeepsTheLengthRule) {
  ExpectWellFormed("duo/passkey", SmallRequest(1024, 8), 0.9);
  ExpectWellFormed("duo/passkey", SmallRequest(2048, 3), 0.9);
}

TEST(Duo, Samples_AreReproducible) { ExpectReproducible("duo/passkey", SmallRequest(1024, 3)); }

TEST(Duo, Items_AnswerIsTheAskedPasskey) {
  const char* const ordinals[] = {"first", "second", "third", "fourth"};
  const std::vector<Item> items = Items("duo/passkey", SmallRequest(1500, 8));
  ASSERT_EQ(items.size(), 8u);
  const std::set<std::string_view> alphabet(SpellingAlphabet().begin(), SpellingAlphabet().end());
  for (size_t i = 0; i < items.size(); ++i) {
    const Item& item = items[i];
    const std::string ordinal = ordinals[i % 4];
    EXPECT_EQ(item.question, "Based on the content of the book, what is the " + ordinal +
                                 " passkey to the vault?");
    ASSERT_EQ(item.answers.size(), 1u);
    const std::vector<std::string> words = Split(item.answers[0]);
    EXPECT_EQ(words.size(), 5u);
    for (const std::string& word : words) EXPECT_TRUE(alphabet.contains(word)) << word;
    EXPECT_EQ(
        Occurrences(item.context, "\n\nRemember this sequence of words, it is the " + ordinal +
                                      " passkey to the vault: " + item.answers[0] + "\n\n"),
        1u);
    EXPECT_TRUE(item.context.starts_with("This is a very long story book: <book> "));
    EXPECT_TRUE(item.context.ends_with(" </book>.\n\n"));
  }
}

TEST(Duo, AllQuestions_KeepTheLengthWithTheirAnswersAndStandInOrder) {
  const TaskRequest request = SmallRequest(2000, 1);
  PassageSource source(request);
  const auto sample = MakeDuoSample(request, source, 6, DuoQuestions::kAll);
  ASSERT_TRUE(sample.has_value()) << sample.error().Message();
  const DuoSample::Dialogue dialogue = sample->AllQuestions();
  const size_t tokens = request.Count(sample->context + dialogue.text);
  EXPECT_LE(tokens, 2000u);
  EXPECT_GE(tokens, 1800u);
  ASSERT_EQ(sample->passkeys.size(), 4u);
  ASSERT_EQ(dialogue.answers.size(), 4u);
  size_t from = 0;
  double depth = 0.05;
  for (size_t i = 0; i < 4; ++i) {
    const DuoPasskey& passkey = sample->passkeys[i];
    const auto [begin, end] = dialogue.answers[i];
    EXPECT_EQ(dialogue.text.substr(begin, end - begin), " " + passkey.words);
    EXPECT_EQ(dialogue.text.substr(end, 2), "\n\n");
    const size_t at = sample->context.find(passkey.needle, from);
    ASSERT_NE(at, std::string::npos);
    from = at + passkey.needle.size();
    EXPECT_GE(passkey.depth, depth);
    EXPECT_LE(passkey.depth, 0.95);
    EXPECT_NEAR(passkey.depth, passkey.measured_depth, 0.05);
    depth = passkey.depth;
  }
  EXPECT_EQ(dialogue.text.substr(0, sample->passkeys[0].question.size() + 9),
            sample->passkeys[0].question + "\nPasskey:");
}

TEST(Duo, TooManyPasskeys_ErrorNamesNumbersThatFit) {
  TaskRequest request = NanoRequest(500, 1);
  request.settings.passkeys = 10;
  request.settings.passkey_words = 32;
  const auto items = TryItems("duo/passkey", request);
  ASSERT_FALSE(items.has_value());
  const std::string hint = items.error().hint;
  unsigned fewer = 0, shorter = 0;
  ASSERT_EQ(
      std::sscanf(hint.c_str(), "Take a greater length, %u passkeys, or passkeys of %u words.",
                  &fewer, &shorter),
      2)
      << items.error().Message();
  request.settings.passkeys = fewer;
  EXPECT_TRUE(TryItems("duo/passkey", request).has_value());
  ++request.settings.passkeys;
  EXPECT_FALSE(TryItems("duo/passkey", request).has_value());
  request.settings.passkeys = 10;
  request.settings.passkey_words = shorter;
  EXPECT_TRUE(TryItems("duo/passkey", request).has_value());
  ++request.settings.passkey_words;
  EXPECT_FALSE(TryItems("duo/passkey", request).has_value());
}

TEST(Duo, BadSettings_InputError) {
  TaskRequest request = NanoRequest(1024, 1);
  request.settings.passkeys = 21;
  ExpectInputError("duo/passkey", request, "21 passkeys cannot be asked for (duo/passkey). Take 1");
  request.settings.passkeys = 1;
  request.settings.passkey_words = 0;
  ExpectInputError("duo/passkey", request, "a passkey of no words");
  request.settings.passkey_words = 500;
  ExpectInputError("duo/passkey", request, "1 passkeys of 500 words do not fit");
}

}  // namespace
}  // namespace pith
