#include "eval/task/passage.h"

#include <gtest/gtest.h>

#include "eval/task/task_fixture.h"

namespace pith {
namespace {

// Four sentences of 10, 10, 20 and 10 tokens, the third a new paragraph.
Passage Four() {
  return {{{"A.", " ", 0}, {"B.", " ", 10}, {"C.", "\n\n", 20}, {"D.", " ", 40}}, 50};
}

TEST(Passage, DepthInsideASentence_MovesToTheNearestEnd) {
  EXPECT_EQ(Four().SentenceAt(0), 0u);
  EXPECT_EQ(Four().SentenceAt(0.09), 0u);
  EXPECT_EQ(Four().SentenceAt(0.1), 0u);  // 5 tokens from either end: the lower one
  EXPECT_EQ(Four().SentenceAt(0.11), 1u);
  EXPECT_EQ(Four().SentenceAt(0.4), 2u);
  EXPECT_EQ(Four().SentenceAt(0.59), 2u);
  EXPECT_EQ(Four().SentenceAt(0.61), 3u);
  EXPECT_EQ(Four().SentenceAt(0.99), 4u);
  EXPECT_EQ(Four().SentenceAt(1), 4u);
  EXPECT_DOUBLE_EQ(Four().MeasuredDepth(2), 0.4);
  EXPECT_DOUBLE_EQ(Four().MeasuredDepth(4), 1);
}

TEST(Passage, Needles_StandBetweenSentences) {
  const auto with = [](std::vector<Needle> needles, std::string_view around) {
    return Four().WithNeedles(needles, around);
  };
  EXPECT_EQ(with({}, " "), "A. B.\n\nC. D.");
  EXPECT_EQ(with({{"N.", 0}}, " "), "N. A. B.\n\nC. D.");
  EXPECT_EQ(with({{"N.", 2}}, " "), "A. B. N.\n\nC. D.");
  EXPECT_EQ(with({{"N.", 1}, {"M.", 1}, {"L.", 4}}, " "), "A. N. M. B.\n\nC. D. L.");
  EXPECT_EQ(with({{"N.", 1}}, "\n\n"), "A.\n\nN.\n\nB.\n\nC. D.");
}

TEST(Passage, NoSentences_HoldsTheNeedleAlone) {
  const Passage empty({}, 0);
  EXPECT_EQ(empty.SentenceAt(0.5), 0u);
  EXPECT_EQ(empty.WithNeedles(std::vector<Needle>{{"N.", 0}}), "N.");
}

TEST(PassageSource, Take_StaysWithinTokensAndFillsThem) {
  const TaskRequest request = NanoRequest(1000, 1);
  PassageSource source(request);
  const size_t first = source.FirstSentence(3);
  const Passage passage = source.Take(first, 600);
  EXPECT_LE(passage.tokens(), 600u);
  EXPECT_GT(passage.tokens() + source.SentenceTokens(first + passage.num_sentences()), 600u);
  EXPECT_EQ(passage.WithNeedles({}), source.Text(first, first + passage.num_sentences()));
}

}  // namespace
}  // namespace pith
