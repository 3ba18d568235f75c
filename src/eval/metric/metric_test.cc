// Worked examples, computed by hand from the metrics' definitions unless a comment says otherwise.
#include "eval/metric/metric.h"

#include <gtest/gtest.h>

#include <set>

#include "eval/metric/scores.h"

namespace pith {
namespace {

Item WithAnswers(std::vector<std::string> answers) {
  Item item;
  item.answers = std::move(answers);
  return item;
}

double ScoreItemBy(std::string_view metric, std::string_view prediction, const Item& item) {
  const MetricInfo* info = FindMetric(metric);
  if (info == nullptr) return -1;
  return ScoreItem(*info, prediction, item);
}

double ScoreOf(std::string_view metric, std::string_view prediction,
               std::vector<std::string> answers) {
  return ScoreItemBy(metric, prediction, WithAnswers(std::move(answers)));
}

TEST(MetricTable, Names_AreUniqueAndFound) {
  std::set<std::string_view> names;
  for (const MetricInfo& metric : Metrics()) {
    EXPECT_TRUE(names.insert(metric.name).second) << metric.name;
    EXPECT_EQ(FindMetric(metric.name), &metric);
    EXPECT_FALSE(metric.summary.empty());
  }
  EXPECT_EQ(FindMetric("likelihood"), nullptr);  // it scores no text; the runner handles it
}

TEST(MetricTable, OddTexts_EveryScoreIsFromZeroToOne) {
  for (const MetricInfo& metric : Metrics()) {
    for (const char* prediction : {"", "\n", ".", "\xff\xfe", "A", "####", "\\boxed{", "7"}) {
      for (const auto& answers : {std::vector<std::string>{}, {""}, {"."}, {"A"}, {"\xff"}}) {
        const double score = ScoreOf(metric.name, prediction, answers);
        EXPECT_GE(score, 0) << metric.name;
        EXPECT_LE(score, 1) << metric.name;
      }
    }
  }
}

TEST(IsNullPrediction, WhiteSpace_IsNull) {
  EXPECT_TRUE(IsNullPrediction(""));
  EXPECT_TRUE(IsNullPrediction(" \n\t\u3000"));
  EXPECT_FALSE(IsNullPrediction(" 0 "));
}

TEST(ScoreItem, FirstLine_CutsAfterLeadingNewlines) {
  Item item = WithAnswers({"blue"});
  EXPECT_NEAR(ScoreItemBy("qa_f1", "\n\nblue\nred red red", item), 2 * 0.25 / 1.25, 1e-12);
  item.meta["first_line"] = true;
  EXPECT_EQ(ScoreItemBy("qa_f1", "\n\nblue\nred red red", item), 1);
  EXPECT_EQ(ScoreItemBy("qa_f1", "\n\n", item), 0);
  item.meta["first_line"] = false;
  EXPECT_LT(ScoreItemBy("qa_f1", "\n\nblue\nred red red", item), 1);
}

TEST(Chars, DecodeAndLower_MatchUnicode) {
  EXPECT_EQ(DecodeUtf8("a\u00e9\u6bb5\U0001F600\xff"), U"a\u00e9\u6bb5\U0001F600\uFFFD");
  // Expected: str.lower() of Python 3.11.
  EXPECT_EQ(Lower(U"ABZ[ \u00c4\u00d7\u00de \u0100\u0139\u0147\u0160\u0178\u017d \u0391\u03a9 "
                  U"\u0401\u042f \uff21"),
            U"abz[ \u00e4\u00d7\u00fe \u0101\u013a\u0148\u0161\u00ff\u017e \u03b1\u03c9 "
            U"\u0451\u044f \uff41");
}

TEST(StringMatch, SomeReferences_AllIsTheirShareAndPartIsOne) {
  EXPECT_EQ(ScoreOf("string_match_all", "... 123 ... 456", {"123", "789"}), 0.5);
  EXPECT_EQ(ScoreOf("string_match_part", "... 123 ... 456", {"123", "789"}), 1);
  EXPECT_EQ(ScoreOf("string_match_part", "... 456", {"123", "789"}), 0);
}

TEST(StringMatch, CaseAndPlaceInWord_DoNotCount) {
  EXPECT_EQ(ScoreOf("string_match_all", "He said ALPHABET.", {"alpha", "Bet"}), 1);
  EXPECT_EQ(ScoreOf("string_match_part", "\u00c9COLE", {"\u00e9cole"}), 1);
}

TEST(StringMatch, ControlCharacter_BecomesLineEnd) {
  EXPECT_EQ(ScoreOf("string_match_all", "one\ttwo", {"one\ntwo"}), 1);
  EXPECT_EQ(ScoreOf("string_match_all", "one\ttwo", {"onetwo"}), 0);
}

TEST(Niah, Contains_CountsContentWordsBeyondTheQuestion) {
  Item item = WithAnswers({"The best snack in the harbour is a salted plum on rye."});
  item.question = "What is the best snack in the harbour?";
  // Content: salted, plum, rye.
  EXPECT_NEAR(ScoreItemBy("niah_contains", "A plum, Salted.", item), 2.0 / 3, 1e-12);
  EXPECT_EQ(ScoreItemBy("niah_contains", "salted plums on ryes", item), 1.0 / 3);
  EXPECT_EQ(ScoreItemBy("niah_contains", "the best snack in the harbour", item), 0);
  item.question = item.answers[0];  // nothing is left: all words count
  EXPECT_EQ(ScoreItemBy("niah_contains", "the best snack in harbour is a salted plum on rye", item),
            1);
}

TEST(Niah, KeyPhrase_IsStrictAndPrefersThePhrases) {
  EXPECT_EQ(ScoreOf("niah_key_phrase", "eat a SALTED PLUM now", {"Whole sentence.", "salted plum"}),
            1);
  EXPECT_EQ(ScoreOf("niah_key_phrase", "salted, plum", {"Whole sentence.", "salted plum"}), 0);
  EXPECT_EQ(ScoreOf("niah_key_phrase", "whole sentence.", {"Whole sentence.", "salted plum"}), 0);
  EXPECT_EQ(ScoreOf("niah_key_phrase", "> whole sentence.", {"Whole sentence."}), 1);
}

TEST(NormalizeAnswer, Articles_GoAfterPunctuation) {
  EXPECT_EQ(NormalizeAnswer(U"The  cat, a dog!"), U"cat dog");
  EXPECT_EQ(NormalizeAnswer(U"th.e a-n"), U"");  // "the" and "an" once the marks are gone
  EXPECT_EQ(NormalizeAnswer(U"a_b theme 1a"), U"ab theme 1a");
  EXPECT_EQ(NormalizeAnswer(U"the\u2014cat"), U"\u2014cat");  // only ASCII marks are deleted
  EXPECT_EQ(NormalizeAnswer(U"caf\u00e9 an\u00e9"), U"caf\u00e9 an\u00e9");
}

TEST(QaF1, SharedWords_GiveF1) {
  EXPECT_NEAR(ScoreOf("qa_f1", "the cat sat", {"A cat"}), 0.6667, 5e-5);
  EXPECT_EQ(ScoreOf("qa_f1", "dog", {"A cat"}), 0);
  EXPECT_EQ(ScoreOf("qa_f1", "the", {"a"}), 0);  // both are empty after normalisation
  // Repeated words count as often as both have them: 2 of 3 and 2 of 2.
  EXPECT_NEAR(ScoreOf("qa_f1", "no no no", {"no no"}), 0.8, 1e-12);
}

TEST(QaF1, SeveralReferences_BestCounts) {
  EXPECT_EQ(ScoreOf("qa_f1", "Paris", {"in the city of Paris", "paris!"}), 1);
}

TEST(QaF1Zh, Characters_StandForWords) {
  // 2 of 3 characters, 2 of 2; marks, case and spaces do not count.
  EXPECT_NEAR(ScoreOf("qa_f1_zh", "\u5317\u4eac\u3002\u5e02", {"\u5317 \u4eac"}), 0.8, 1e-12);
  EXPECT_EQ(ScoreOf("char_f1_zh", "GPT\uff0c\u300a\u4e66\u300b", {"gpt\u4e66"}), 1);
}

TEST(RougeL, Pieces_AreUnitedOverUniqueWords) {
  EXPECT_NEAR(ScoreOf("rouge_l", "a b c. d e", {"a c. d"}), 0.75, 1e-7);
}

TEST(RougeL, CaseMarksAndRepeats_Count) {
  // {The,cat,sat} against {the,cat,sat,}: only "cat".
  EXPECT_NEAR(ScoreOf("rouge_l", "The cat sat", {"the cat sat,"}), 1.0 / 3, 1e-7);
  // Distinct words only: {x} of {x} and of {x, y}.
  EXPECT_NEAR(ScoreOf("rouge_l", "x x x", {"x y"}), 2.0 / 3, 1e-7);
}

TEST(RougeL, BlankPieces_HoldOneEmptyWordAndNoPieceScoresZero) {
  // "a. ." has the pieces "a" and " " (an empty word): common {a}, n = 2, m = 1.
  EXPECT_NEAR(ScoreOf("rouge_l", "a. .", {"a"}), 2 * 0.5 / 1.5, 1e-7);
  // Both have the empty word, which then is common.
  EXPECT_NEAR(ScoreOf("rouge_l", "a. ", {"a. "}), 1, 1e-7);
  EXPECT_EQ(ScoreOf("rouge_l", "", {"a"}), 0);
  EXPECT_EQ(ScoreOf("rouge_l", "...", {"a"}), 0);
}

TEST(RougeL, TiedSubsequences_FollowTheReferencesWalk) {
  // Reference "a b" against "b a": T[1][2] == T[2][1], so the walk back leaves the prediction's
  // last word first and takes "b". Against "b c" too: U = {b}; m = 2, n = 3.
  EXPECT_NEAR(ScoreOf("rouge_l", "b a.b c", {"a b"}), 2 * (1.0 / 3) * 0.5 / (1.0 / 3 + 0.5), 1e-7);
}

TEST(RougeLZh, Characters_StandForWords) {
  EXPECT_NEAR(ScoreOf("rouge_l_zh", "\u5929\u6c14\u597d", {"\u5929 \u597d"}), 0.8, 1e-7);
}

TEST(Classification, ClassInsideTheReference_IsRemoved) {
  Item item = WithAnswers({"LOC:city"});
  item.all_classes = {"LOC", "LOC:city", "NUM"};
  EXPECT_EQ(ScoreItemBy("classification", "LOC:city", item), 1);
  EXPECT_EQ(ScoreItemBy("classification", "LOC NUM", item), 0);
  EXPECT_EQ(ScoreItemBy("classification", "LOC:city NUM", item), 0.5);
  EXPECT_EQ(ScoreItemBy("classification", "loc:city", item), 0);
}

TEST(Classification, ElementAfterARemovedOne_IsSkipped) {
  // "a" is removed, "ab" is skipped and stays, "abc" is the reference: 1/2, not 1.
  Item item = WithAnswers({"abc"});
  item.all_classes = {"a", "ab", "abc"};
  EXPECT_EQ(ScoreItemBy("classification", "abc", item), 0.5);
}

TEST(Retrieval, Numbers_ShareThatIsRight) {
  EXPECT_EQ(ScoreOf("retrieval", "Paragraph 3 or 13", {"Paragraph 3"}), 0.5);
  EXPECT_EQ(ScoreOf("retrieval", "3", {"Paragraph 3"}), 1);
  EXPECT_EQ(ScoreOf("retrieval", "03", {"Paragraph 3"}), 0);  // compared as text
  EXPECT_EQ(ScoreOf("retrieval", "none", {"Paragraph 3"}), 0);
  EXPECT_EQ(ScoreOf("retrieval_zh", "\u6bb5\u843d7, 7, 8, 9", {"\u6bb5\u843d7"}), 0.5);
}

TEST(Count, Numbers_ShareThatIsRight) {
  EXPECT_NEAR(ScoreOf("count", "4 4 5", {"4"}), 0.6667, 5e-5);
  EXPECT_EQ(ScoreOf("count", "", {"4"}), 0);
}

TEST(FirstDigits, FirstRun_IsComparedAsText) {
  EXPECT_EQ(ScoreOf("first_digits", "key is 01234, 99", {"01234"}), 1);
  EXPECT_EQ(ScoreOf("first_digits", "key is 1234", {"01234"}), 0);
  EXPECT_EQ(ScoreOf("first_digits", "99, 01234", {"01234"}), 0);
  EXPECT_EQ(ScoreOf("first_digits", "012345", {"01234"}), 0);
}

TEST(Integers, FirstAndLast_AreComparedAsNumbers) {
  EXPECT_EQ(ScoreOf("first_integer", "It is 042, not 7", {"42"}), 1);
  EXPECT_EQ(ScoreOf("first_integer", "7 or 42", {"42"}), 0);
  EXPECT_EQ(ScoreOf("last_integer", "func_3(2) = -5.", {"-5"}), 1);
  EXPECT_EQ(ScoreOf("last_integer", "func_3(2) = 5", {"-5"}), 0);
  EXPECT_EQ(ScoreOf("last_integer", "between 3-5", {"5"}), 1);  // a range, no sign
  EXPECT_EQ(ScoreOf("last_integer", "-0", {"0"}), 1);
  EXPECT_EQ(ScoreOf("last_integer", "none", {"0"}), 0);
}

TEST(KvWord, Value_IsAWholeWord) {
  EXPECT_EQ(ScoreOf("kv_word", "{\"a\": \"0f-1b\"}", {"0f-1b"}), 1);
  EXPECT_EQ(ScoreOf("kv_word", "0f-1bc", {"0f-1b"}), 0);
  EXPECT_EQ(ScoreOf("kv_word", "0F-1B", {"0f-1b"}), 0);
}

TEST(ValueSubstring, Value_InAnyCase) {
  EXPECT_EQ(ScoreOf("value_substring", "x0F-1Bc", {"0f-1b"}), 1);
  EXPECT_EQ(ScoreOf("dialogue_contains", "It was BOB.", {"ALICE", "Bob"}), 1);
  EXPECT_EQ(ScoreOf("dialogue_contains", "It was B.", {"ALICE", "Bob"}), 0);
}

TEST(MathCalc, MatchedPrefix_OverAllValues) {
  EXPECT_EQ(ScoreOf("math_calc", "3, 7, 5, 9", {"3 7 4 9"}), 0.5);
  EXPECT_EQ(ScoreOf("math_calc", "03 7", {"[3, 7, 4, 9]"}), 0.5);
  EXPECT_EQ(ScoreOf("math_calc", "3 7 4 9 1", {"3", "7", "4", "9"}), 1);
  EXPECT_EQ(ScoreOf("math_calc", "1 3 7 4 9", {"3 7 4 9"}), 0);
}

TEST(Babilong, Labels_ExactlyTheTargetRemains) {
  Item item = WithAnswers({"kitchen"});
  item.all_classes = {"bathroom", "garden", "kitchen", "office"};
  item.question = "Where was the ball before the garden?";
  EXPECT_EQ(ScoreItemBy("babilong", "In the Kitchen. Not the office", item), 1);
  EXPECT_EQ(ScoreItemBy("babilong", "the kitchen or the office", item), 0);
  EXPECT_EQ(ScoreItemBy("babilong", "the garden, then the kitchen", item), 1);  // garden was asked
  EXPECT_EQ(ScoreItemBy("babilong", "kitchen <example> office", item), 1);
  EXPECT_EQ(ScoreItemBy("babilong", "", item), 0);
  item.answers = {"kitchen,office"};
  EXPECT_EQ(ScoreItemBy("babilong", "office and kitchen", item), 1);
  EXPECT_EQ(ScoreItemBy("babilong", "office", item), 0);
}

TEST(Duo, Words_LongestCommonPrefix) {
  const std::vector<std::string> key = {"alpha bravo alpha zulu"};
  EXPECT_EQ(ScoreOf("duo_prefix", "Alpha bravo, alpha zulu. The end", key), 1);
  EXPECT_EQ(ScoreOf("duo_strict", "Alpha bravo, alpha zulu. The end", key), 1);
  EXPECT_EQ(ScoreOf("duo_prefix", "alpha bravo zulu alpha", key), 0.5);
  EXPECT_EQ(ScoreOf("duo_strict", "alpha bravo zulu alpha", key), 0);
  EXPECT_EQ(ScoreOf("duo_prefix", "bravo alpha zulu", key), 0);
}

TEST(Gsm8k, Number_AfterTheMarkOrTheLast) {
  EXPECT_EQ(ScoreOf("gsm8k", "2 + 2 = 4\n#### $1,200.50\nQ: 7", {"so\n#### 1200.5"}), 1);
  EXPECT_EQ(ScoreOf("gsm8k", "He has 3 apples, so 12.", {"12"}), 1);
  EXPECT_EQ(ScoreOf("gsm8k", "It costs $18.00 ...", {"18"}), 1);
  EXPECT_EQ(ScoreOf("gsm8k", "That is 25%.", {"25"}), 1);
  EXPECT_EQ(ScoreOf("gsm8k", "#### -3", {"3"}), 0);
  EXPECT_EQ(ScoreOf("gsm8k", "pages 3-5", {"5"}), 1);
  EXPECT_EQ(ScoreOf("gsm8k", "#### none, 4", {"4"}), 1);
  EXPECT_EQ(ScoreOf("gsm8k", "no number", {"4"}), 0);
}

TEST(Boxed, LastBox_WithBalancedBraces) {
  EXPECT_EQ(ScoreOf("boxed", "\\boxed{1} so \\boxed{ \\frac{1}{2} }.", {"\\frac{1}{2}"}), 1);
  EXPECT_EQ(ScoreOf("boxed", "\\boxed{2} so \\boxed{1}", {"2"}), 0);
  EXPECT_EQ(ScoreOf("boxed", "\\boxed{2", {"2"}), 0);  // cut off by the token limit
  EXPECT_EQ(ScoreOf("boxed", "2", {"2"}), 0);
}

TEST(Choice, Letter_LastStandaloneThenFirst) {
  const std::vector<std::string> answers = {"the red door", "C"};
  EXPECT_EQ(ScoreOf("choice_abcd", "A? No, (C).", answers), 1);
  EXPECT_EQ(ScoreOf("choice_abcd", "C, not B", answers), 0);
  EXPECT_EQ(ScoreOf("choice_abcd", "Certainly", answers), 1);  // its first letter
  EXPECT_EQ(ScoreOf("choice_abcd", "I think the answer is: The red door", answers), 1);
  EXPECT_EQ(ScoreOf("choice_abcd", "I think it is the red door", answers), 0);
  EXPECT_EQ(ScoreOf("choice_abcd", "", answers), 0);
}

TEST(CodeDebug, LetterOrFunction_IsRight) {
  const std::vector<std::string> answers = {"parse_row", "D"};
  EXPECT_EQ(ScoreOf("code_debug", "Option D", answers), 1);
  EXPECT_EQ(ScoreOf("code_debug", "`parse_row` is broken", answers), 1);
  EXPECT_EQ(ScoreOf("code_debug", "D or J", answers), 0);
  EXPECT_EQ(ScoreOf("code_debug", "see parse_row", answers), 0);
  EXPECT_EQ(ScoreOf("code_debug", "Debugging", answers), 0);
}

TEST(LongBenchV2Choice, Sentence_NamesTheLetter) {
  EXPECT_EQ(ScoreOf("longbench_v2_choice", "The correct answer is **(B)**.", {"B"}), 1);
  EXPECT_EQ(ScoreOf("longbench_v2_choice", "The correct answer is B", {"B"}), 1);
  EXPECT_EQ(ScoreOf("longbench_v2_choice", "The correct answer is A (B)", {"B"}), 0);
  EXPECT_EQ(ScoreOf("longbench_v2_choice", "B", {"B"}), 0);
}

}  // namespace
}  // namespace pith
