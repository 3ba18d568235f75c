#include "eval/task/haystack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <unordered_set>

#include "eval/task/word_list.h"
#include "eval/task/words.h"

namespace pith {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class TempText {
 public:
  TempText(const std::string& name, const std::string& text)
      : path_(testing::TempDir() + "haystack-" + name) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TempText() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(SplitSentences, StopsBeforeCapitalQuoteOrDigit) {
  EXPECT_THAT(SplitSentences("It rained. We left!  Why? \"Because.\" 3 came."),
              ElementsAre("It rained.", "We left!", "Why?", "\"Because.\"", "3 came."));
}

TEST(SplitSentences, AbbreviationsInitialsAndLowerCase_NoStop) {
  EXPECT_THAT(
      SplitSentences("Dr. Moss met J. Reed at St. Anne's. He paid 3.50 and, e.g. Tea, etc. too"),
      ElementsAre("Dr. Moss met J. Reed at St. Anne's.", "He paid 3.50 and, e.g. Tea, etc. too"));
  EXPECT_THAT(SplitSentences("So did I. We slept."), ElementsAre("So did I.", "We slept."));
}

TEST(SplitSentences, Empty_None) { EXPECT_TRUE(SplitSentences(" \n ").empty()); }

TEST(BuiltinProse, FiftyThousandSentences_NoneTwiceNoDigitNoKeyWord) {
  const Haystack prose = Haystack::Builtin();
  std::set<std::string> keys;
  for (const auto list :
       {KeyAdjectives(), KeyNouns(), KeyVerbs(), PersonNames(), CityNames(), SpellingAlphabet()}) {
    for (const std::string_view word : list) keys.insert(LowerCase(word));
  }
  std::unordered_set<std::string> seen;
  for (size_t i = 0; i < 50'000; ++i) {
    const std::string& sentence = prose.Sentence(i);
    ASSERT_TRUE(seen.insert(sentence).second) << sentence;
    ASSERT_TRUE(std::none_of(sentence.begin(), sentence.end(), [](unsigned char c) {
      return std::isdigit(c) != 0;
    })) << sentence;
    std::string letters = LowerCase(sentence);
    for (char& c : letters) c = c < 'a' || c > 'z' ? ' ' : c;
    for (const std::string_view word : SplitWords(letters)) {
      ASSERT_EQ(keys.count(std::string(word)), 0u) << sentence;
    }
  }
}

TEST(BuiltinProse, Paragraphs_ThreeToSevenSentences) {
  const Haystack prose = Haystack::Builtin();
  ASSERT_TRUE(prose.BeginsParagraph(0));
  std::set<size_t> lengths;
  size_t start = 0;
  for (size_t i = 1; i < 2000; ++i) {
    if (!prose.BeginsParagraph(i)) continue;
    lengths.insert(i - start);
    start = i;
  }
  EXPECT_THAT(lengths, ElementsAre(3, 4, 5, 6, 7));
}

TEST(BuiltinProse, SplitSentences_FindsEachAgain) {
  const Haystack prose = Haystack::Builtin();
  std::string text;
  for (size_t i = 0; i < 500; ++i) text += prose.Sentence(i) + " ";
  const std::vector<std::string> sentences = SplitSentences(text);
  ASSERT_EQ(sentences.size(), 500u);
  for (size_t i = 0; i < 500; ++i) EXPECT_EQ(sentences[i], prose.Sentence(i));
}

TEST(BuiltinProse, Streams_SameAgainAndDifferentFromEachOther) {
  const Haystack one = Haystack::Builtin(), again = Haystack::Builtin(),
                 other = Haystack::Builtin(1);
  EXPECT_EQ(one.Sentence(300), again.Sentence(300));
  EXPECT_EQ(one.Sentence(2), again.Sentence(2));  // whatever was asked for first
  EXPECT_NE(one.Sentence(300), other.Sentence(300));
  EXPECT_EQ(one.source(), "builtin");
}

TEST(BuiltinProse, Articles_AgreeWithTheNextWord) {
  const Haystack prose = Haystack::Builtin();
  for (size_t i = 0; i < 5000; ++i) {
    const std::string text = " " + LowerCase(prose.Sentence(i));
    for (const char vowel : std::string("aeiou")) {
      EXPECT_EQ(text.find(std::string(" a ") + vowel), std::string::npos) << text;
    }
    const size_t an = text.find(" an ");
    if (an != std::string::npos && text.compare(an, 8, " an hour") != 0) {
      EXPECT_NE(std::string("aeiou").find(text[an + 4]), std::string::npos) << text;
    }
  }
}

TEST(Haystack, FromText_ParagraphsWordsAndRepetition) {
  const Haystack text = Haystack::FromText("One two.  Three\nfour.\n\nFive six.\n", "test");
  EXPECT_EQ(text.Sentence(0), "One two.");
  EXPECT_EQ(text.Sentence(1), "Three four.");
  EXPECT_EQ(text.Sentence(2), "Five six.");
  EXPECT_EQ(text.Sentence(3), "One two.");
  EXPECT_TRUE(text.BeginsParagraph(0));
  EXPECT_FALSE(text.BeginsParagraph(1));
  EXPECT_TRUE(text.BeginsParagraph(2));
  EXPECT_TRUE(text.BeginsParagraph(3));
  EXPECT_EQ(text.Words(0), "");
  EXPECT_EQ(text.Words(3), "One two. Three");
  EXPECT_EQ(text.Words(8), "One two. Three four. Five six. One two.");
}

TEST(Haystack, FromFiles_NamesAndHashInSource) {
  const TempText first("first.txt", "Alpha came."), second("second.txt", "Bravo left.");
  const auto both = Haystack::FromFiles({first.path(), second.path()});
  ASSERT_TRUE(both.has_value()) << both.error().Message();
  EXPECT_EQ(both->Words(4), "Alpha came. Bravo left.");
  EXPECT_THAT(both->source(), HasSubstr("haystack-first.txt haystack-second.txt (xxh3 "));
  const auto swapped = Haystack::FromFiles({second.path(), first.path()});
  EXPECT_NE(swapped->source().substr(swapped->source().find("xxh3")),
            both->source().substr(both->source().find("xxh3")));
}

TEST(Haystack, FromFiles_BadFile_InputErrorThatNamesIt) {
  const TempText empty("empty.txt", " \n"), invalid("invalid.txt", "ab\xff");
  for (const std::string& path : {empty.path(), invalid.path(), std::string("/nowhere/text")}) {
    const auto haystack = Haystack::FromFiles({path});
    ASSERT_FALSE(haystack.has_value());
    EXPECT_EQ(haystack.error().kind, ErrorKind::kInput);
    EXPECT_THAT(haystack.error().Message(), HasSubstr(path));
  }
}

}  // namespace
}  // namespace pith
