#include "eval/task/words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "eval/task/prose.h"
#include "eval/task/word_list.h"

namespace pith {
namespace {

using Words = std::span<const std::string_view>;

const Words kKeys[] = {KeyAdjectives(), KeyNouns(), KeyVerbs()};
const Words kNames[] = {PersonNames(), CityNames()};

bool IsLowerCase(std::string_view word) {
  return std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

TEST(Words, Lists_SortedDistinctAndLongEnough) {
  for (const Words list : {KeyAdjectives(), KeyNouns(), KeyVerbs(), PersonNames(), CityNames(),
                           SpellingAlphabet(), ProseWords()}) {
    EXPECT_EQ(std::adjacent_find(list.begin(), list.end(), std::greater_equal<>()), list.end());
  }
  EXPECT_GE(KeyAdjectives().size(), 150u);
  EXPECT_GE(KeyNouns().size(), 290u);
  EXPECT_GE(KeyVerbs().size(), 120u);
  EXPECT_GE(PersonNames().size(), 100u);
  EXPECT_GE(CityNames().size(), 50u);
  EXPECT_EQ(SpellingAlphabet().size(), 26u);
  EXPECT_GE(ProseWords().size(), 2000u);
}

TEST(Words, Lists_OneWordInLowerCase) {
  for (const Words list : kKeys) EXPECT_TRUE(std::all_of(list.begin(), list.end(), IsLowerCase));
  for (const Words list : kNames) {
    for (const std::string_view name : list) {
      EXPECT_TRUE(name[0] >= 'A' && name[0] <= 'Z' && IsLowerCase(name.substr(1))) << name;
    }
  }
}

TEST(Words, Lists_ShareNoWord) {
  std::set<std::string> seen;
  for (const Words list : {KeyAdjectives(), KeyNouns(), KeyVerbs(), PersonNames(), CityNames(),
                           SpellingAlphabet(), ProseWords()}) {
    for (const std::string_view word : list) {
      EXPECT_TRUE(seen.insert(LowerCase(word)).second) << word;
    }
  }
  for (const char* word : {"special", "magic", "number", "numbers", "key", "keys"}) {
    EXPECT_FALSE(std::binary_search(ProseWords().begin(), ProseWords().end(), word)) << word;
  }
}

TEST(PseudoWord, ManyIndexes_DistinctSyllablesAndNoRealWord) {
  std::set<std::string> real;
  for (const Words list : {KeyAdjectives(), KeyNouns(), KeyVerbs(), PersonNames(), CityNames(),
                           SpellingAlphabet(), ProseWords()}) {
    for (const std::string_view word : list) real.insert(LowerCase(word));
  }
  std::set<std::string> seen;
  for (uint32_t i = 0; i < 600'000; ++i) {  // all of two and three syllables, and some of four
    const std::string word = PseudoWord(i);
    ASSERT_TRUE(word.size() == 4 || word.size() == 6 || word.size() == 8) << word;
    for (size_t c = 0; c < word.size(); ++c) {
      const bool vowel = std::string_view("aeiou").find(word[c]) != std::string_view::npos;
      ASSERT_EQ(vowel, c % 2 == 1) << word;
    }
    ASSERT_TRUE(seen.insert(word).second) << word;
    ASSERT_EQ(real.count(word), 0u) << word;
  }
  EXPECT_EQ(real.count("potato"), 0u);
  EXPECT_THROW(PseudoWord(UINT32_MAX), std::logic_error);
}

TEST(Prose, Frames_AtLeast200Distinct) {
  std::set<std::string_view> frames;
  size_t lines = 0;
  const std::string_view text = kProseFrames;
  for (size_t begin = 1; begin < text.size(); ++lines) {
    const size_t end = text.find('\n', begin);
    EXPECT_EQ(text[end - 1], '.');
    frames.insert(text.substr(begin, end - begin));
    begin = end + 1;
  }
  EXPECT_GE(lines, 200u);
  EXPECT_EQ(frames.size(), lines);
}

TEST(Prose, Categories_NoWordTwiceInOne) {
  for (char letter = 'A'; letter <= 'Z'; ++letter) {
    const auto& words = ProseCategory(letter);
    EXPECT_EQ(std::set<std::string>(words.begin(), words.end()).size(), words.size()) << letter;
  }
}

}  // namespace
}  // namespace pith
