// Expected percents of code_sim: Python 3.11, round(100 * difflib.SequenceMatcher(None, a,
// b).ratio()); those of code_sim_indel: 2 * (longest common subsequence) / (both lengths), by hand.
#include <gtest/gtest.h>

#include "eval/metric/scores.h"

namespace pith {
namespace {

double Difflib(std::string_view prediction, std::string reference) {
  Item item;
  item.answers = {std::move(reference)};
  return CodeSimDifflib(prediction, item);
}

double Indel(std::string_view prediction, std::string reference) {
  Item item;
  item.answers = {std::move(reference)};
  return CodeSimIndel(prediction, item);
}

std::string Repeat(std::string_view text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

TEST(CodeSim, FirstLine_SkipsCommentsAndFences) {
  EXPECT_EQ(Difflib("# x\nreturn a", "return a"), 1);
  EXPECT_EQ(Difflib("\n\n```python\n// no\nreturn a\nreturn b", "return a"), 1);
  EXPECT_EQ(Difflib("x = 1  # note\ny", "y"), 1);
  EXPECT_EQ(Difflib("# only", "return a"), 0);
  EXPECT_EQ(Difflib("x\n\nreturn a", "return a"), 0);  // a line that is no comment, "x", counts
  EXPECT_EQ(Difflib("# only", ""), 1);                 // equal, though both are empty
}

TEST(CodeSim, Lines_AreLikeDifflibsRatio) {
  EXPECT_EQ(Difflib("abcd", "bcde"), 0.75);
  EXPECT_EQ(Difflib("return self.value", "return self._value()"), 0.92);
  EXPECT_EQ(Difflib("int x = compute(a, b);", "int y = compute(b, a);"), 0.86);
  EXPECT_EQ(Difflib("ababab", "bababa"), 0.83);
  EXPECT_EQ(Difflib("for i in range(10):", "for (int i = 0; i < 10; i++) {"), 0.45);
  EXPECT_EQ(Difflib("na\u00efve = gr\u00f6\u00dfe", "naive = groesse"), 0.71);  // characters
}

TEST(CodeSim, Halves_AreRoundedToEven) {
  EXPECT_EQ(Difflib("axxxxxxx", "ayyyyyyy"), 0.12);  // 12.5
  EXPECT_EQ(Difflib("abcxxxxx", "abcyyyyy"), 0.38);  // 37.5
  EXPECT_EQ(Difflib("abcdexxx", "abcdeyyy"), 0.62);  // 62.5
}

TEST(CodeSim, FrequentCharactersOfALongReference_BeginNoBlock) {
  const std::string short_reference = "Z" + Repeat("ab", 99);  // 199 characters
  const std::string long_reference = short_reference + "Q";    // 200
  EXPECT_EQ(Difflib("ababab", short_reference), 0.06);
  EXPECT_EQ(Difflib("ababab", long_reference), 0);
  // From a rare character, blocks grow over frequent ones to the right and to the left.
  EXPECT_EQ(Difflib("Zababab", long_reference), 0.07);
  EXPECT_EQ(Difflib("bababQ", long_reference), 0.06);
  EXPECT_EQ(Difflib("abZab", long_reference), 0.03);
  // And from nothing where both begin.
  EXPECT_EQ(Difflib("abab", Repeat("ab", 100)), 0.04);
  EXPECT_EQ(Difflib("xabab", Repeat("ab", 100)), 0);
}

TEST(CodeSimIndel, EditDistance_WithoutSubstitution) {
  EXPECT_EQ(Indel("abcd", "bcde"), 0.75);
  EXPECT_EQ(Indel("abxcd", "acbd"), 0.67);              // "acd": 6 of 9
  EXPECT_EQ(Indel("ababab", Repeat("ab", 100)), 0.06);  // no characters are left out: 12 of 206
}

}  // namespace
}  // namespace pith
