#include "eval/task/fit.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "eval/task/task_fixture.h"

namespace pith {
namespace {

TEST(SweptCell, OneRound_TakesEachCellOnce) {
  for (const uint32_t cells : {1u, 2u, 5u, 59u, 100u, 500u}) {
    std::vector<uint32_t> taken;
    for (uint64_t sample = 0; sample < cells; ++sample) taken.push_back(SweptCell(sample, cells));
    std::sort(taken.begin(), taken.end());
    for (uint32_t i = 0; i < cells; ++i) EXPECT_EQ(taken[i], i) << cells;
    EXPECT_EQ(SweptCell(cells, cells), SweptCell(0, cells));
  }
}

TEST(SweptCell, FewSamples_ReachEveryQuarter) {
  for (const uint32_t cells : {59u, 100u, 500u}) {
    std::vector<int> quarters(4);
    for (uint64_t sample = 0; sample < 8; ++sample)
      ++quarters[SweptCell(sample, cells) * 4 / cells];
    for (const int count : quarters) EXPECT_GE(count, 1) << cells;
  }
}

TEST(WholeRounds, AnyCount_RoundsUp) {
  EXPECT_EQ(WholeRounds(0, 5), 0u);
  EXPECT_EQ(WholeRounds(5, 5), 5u);
  EXPECT_EQ(WholeRounds(6, 5), 10u);
}

TEST(Occurrences, Text_CountsWithoutOverlap) {
  EXPECT_EQ(Occurrences("aXbXc", "X"), 2u);
  EXPECT_EQ(Occurrences("aaaa", "aa"), 2u);
  EXPECT_EQ(Occurrences("abc", "d"), 0u);
}

TEST(TokenSpan, SentenceInText_CoversItsBytesOnly) {
  const TaskRequest request = NanoRequest(1024, 1);
  const std::string before = "The cow is brown and old.", inside = "The goat is 17 years old.";
  const std::string text = before + " " + inside + " The end is near.";
  const size_t first = before.size() + 1;
  const auto [begin, end] = TokenSpan(request, text, first, first + inside.size());
  const auto tokens = request.tokenizer->Tokenize(text, false, false);
  ASSERT_TRUE(tokens.has_value());
  const auto join = [&](size_t from, size_t to) {
    std::string joined;
    for (size_t i = from; i < to; ++i) joined += request.tokenizer->Piece((*tokens)[i]);
    return joined;
  };
  EXPECT_NE(join(begin, end).find(inside), std::string::npos);
  EXPECT_EQ(join(begin + 1, end).find(inside), std::string::npos);
  EXPECT_EQ(join(begin, end - 1).find(inside), std::string::npos);
}

TEST(FitItem, LinesOfWords_FillsTheLengthAndNeverMore) {
  const TaskInfo task{.name = "test"};
  for (const uint32_t length : {64u, 500u, 4096u}) {
    const TaskRequest request = NanoRequest(length, 1);
    const auto item = FitItem(task, request, 1, 10, [&](size_t n) {
      Item made;
      for (size_t i = 0; i < n; ++i) made.context += "The grass is green.\n";
      made.max_new_tokens = 7;
      return made;
    });
    ASSERT_TRUE(item.has_value());
    EXPECT_LE(ItemTokens(request, *item), length);
    const size_t line = request.Count("The grass is green.\n");
    EXPECT_GE(ItemTokens(request, *item) + 2 * line + length / 100, length);
  }
}

TEST(FitItem, LeastTooLong_InputErrorWithWhatItTakes) {
  const TaskInfo task{.name = "test"};
  const auto item = FitItem(task, NanoRequest(10, 1), 0, 10, [&](size_t) {
    Item made;
    made.max_new_tokens = 11;
    return made;
  });
  ASSERT_FALSE(item.has_value());
  EXPECT_EQ(item.error().Message(),
            "the length is too short for test (10 tokens). "
            "It takes at least 11 with this model's tokenizer.");
}

}  // namespace
}  // namespace pith
