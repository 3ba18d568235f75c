#include "calibrate/duo_text.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "eval/task/task_fixture.h"
#include "eval/task/words.h"

namespace pith {
namespace {

TEST(DuoSchedule, LongContexts_AreThoseOfThePaper) {
  const DuoSchedule schedule(32000, 1);
  EXPECT_EQ(schedule.window().sinks, 128u);
  EXPECT_EQ(schedule.window().recent, 256u);
  std::set<uint32_t> lengths;
  for (uint32_t step = 0; step < 2000; ++step) lengths.insert(schedule.Length(step));
  EXPECT_EQ(lengths.size(), 50u);
  EXPECT_EQ(*lengths.begin(), 1000u);
  EXPECT_EQ(*lengths.rbegin(), 32000u);
  EXPECT_EQ(DuoSchedule::Passkeys(32000), 10u);
  EXPECT_EQ(DuoSchedule::PasskeyWords(32000), 32u);
}

TEST(DuoSchedule, ShortContexts_ScaleEverythingAndTheWindowIsAQuarterAtMost) {
  for (const uint32_t context : {512u, 700u, 1024u, 2048u, 4096u, 32000u}) {
    const DuoSchedule schedule(context, 5);
    uint32_t shortest = context;
    for (uint32_t step = 0; step < 500; ++step) {
      shortest = std::min(shortest, schedule.Length(step));
      EXPECT_LE(schedule.Length(step), context);
    }
    EXPECT_GT(schedule.window().sinks, 0u);
    EXPECT_LE(2 * (schedule.window().sinks + schedule.window().recent), shortest) << context;
  }
  EXPECT_EQ(DuoSchedule::Passkeys(192), 2u);
  EXPECT_EQ(DuoSchedule::PasskeyWords(192), 4u);
  EXPECT_EQ(DuoSchedule::Passkeys(2048), 4u);
  EXPECT_EQ(DuoSchedule::PasskeyWords(2048), 16u);
}

// What the tokens of the answers say.
std::string AnswerText(const DuoText& text) {
  std::string answers;
  for (const int32_t i : text.answers) {
    answers += NanoTokenizer().Piece(text.tokens[static_cast<size_t>(i)]);
  }
  return answers;
}

TEST(DuoSchedule, AnswersAreTheWordsOfEveryPasskeyInTheirOrder) {
  const DuoSchedule schedule(1024, 3);
  ASSERT_TRUE(schedule.Check(NanoTokenizer()));
  const std::set<std::string_view> alphabet(SpellingAlphabet().begin(), SpellingAlphabet().end());
  for (uint32_t step = 0; step < 8; ++step) {
    const uint32_t length = schedule.Length(step);
    const auto text = schedule.MakeText(NanoTokenizer(), step);
    ASSERT_TRUE(text) << text.error().Message();
    EXPECT_LE(text->tokens.size(), length);
    EXPECT_GE(text->tokens.size(), length - length / 4);
    std::istringstream words(AnswerText(*text));
    std::string whole;
    for (const int32_t token : text->tokens) whole += NanoTokenizer().Piece(token);
    std::vector<std::string> passkeys;
    std::string passkey;
    const uint32_t num_words = DuoSchedule::PasskeyWords(length);
    uint32_t count = 0;
    for (std::string word; words >> word; ++count) {
      EXPECT_TRUE(alphabet.contains(word)) << word;
      passkey += " " + word;
      if ((count + 1) % num_words != 0) continue;
      passkeys.push_back(passkey);
      passkey.clear();
    }
    EXPECT_EQ(count, DuoSchedule::Passkeys(length) * num_words);
    for (const std::string& found : passkeys) {
      EXPECT_NE(whole.find("passkey to the vault:" + found), std::string::npos) << found;
      EXPECT_NE(whole.find("Passkey:" + found), std::string::npos) << found;
    }
    EXPECT_EQ(text->tokens.front(), NanoTokenizer().bos());
  }
}

TEST(DuoSchedule, AStepsTextDependsOnItAndTheSeedAlone) {
  const DuoSchedule schedule(512, 3), same(512, 3), other(512, 4);
  const auto text = [](const DuoSchedule& from, uint32_t step) {
    return from.MakeText(NanoTokenizer(), step)->tokens;
  };
  const auto seventh = text(schedule, 7);
  EXPECT_NE(text(schedule, 6), seventh);
  EXPECT_EQ(text(same, 7), seventh);
  EXPECT_NE(text(other, 7), seventh);
}

}  // namespace
}  // namespace pith
