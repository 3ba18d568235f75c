#include "calibrate/repetition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "calibrate/test_engine.h"
#include "make_model/hand_made.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint32_t kContext = 4 * 60 + 1;

// One layer of three heads; `first` tokens, then 5 others four times over.
RepetitionScores SeeRows(size_t first, const std::function<std::vector<float>(size_t)>& row_of) {
  ModelShape shape;
  shape.num_layers = 1;
  shape.num_query_heads = 3;
  RepetitionScores scores(shape, first, 5);
  for (size_t row = 0; row < first + 20; ++row) scores.See(1, row_of(row));
  return scores;
}

TEST(RepetitionScores, AllOnTheLastCopyOfTheToken_IsEcho) {
  for (const size_t first : {0u, 1u}) {
    const auto scores = SeeRows(first, [&](size_t row) {
      std::vector<float> probabilities(row + 1);
      probabilities[row < first + 5 ? 0 : row - 5] = 1;
      return probabilities;
    });
    EXPECT_THAT(scores.Echo(), ElementsAre(0, 1, 0));
    EXPECT_THAT(scores.Induction(), Each(0));
  }
}

TEST(RepetitionScores, AllOnWhatFollowedTheFirstCopy_IsInduction) {
  const auto scores = SeeRows(1, [](size_t row) {
    std::vector<float> probabilities(row + 1);
    probabilities[row < 6 ? 0 : (row - 1) % 5 + 1 + 1] = 1;
    return probabilities;
  });
  EXPECT_THAT(scores.Echo(), Each(0));
  EXPECT_THAT(scores.Induction(), ElementsAre(0, 1, 0));
}

TEST(RepetitionScores, EvenAttention_CountsCopies) {
  const auto scores =
      SeeRows(0, [](size_t row) { return std::vector<float>(row + 1, 1.0f / float(row + 1)); });
  double expected = 0;
  for (size_t row = 5; row < 20; ++row) expected += double(row / 5) / double(row + 1) / 15;
  EXPECT_NEAR(scores.Echo()[1], expected, 1e-6);
  EXPECT_NEAR(scores.Induction()[1], expected, 1e-6);
}

TEST(RepetitionScores, TheFirstCopy_IsNotJudged) {
  const auto scores = SeeRows(1, [](size_t row) {
    return std::vector<float>(row + 1, row < 6 ? 1.0f : 0.0f);  // all of it everywhere
  });
  EXPECT_THAT(scores.Echo(), Each(0));
}

TEST(MakeRepeatedTokens, DifferentOrdinaryTokens_FourTimes) {
  const auto engine = MadeEngine(MakeHandMadeModel);
  const Tokenizer& tokenizer = engine->tokenizer();
  const RepeatedTokens made = MakeRepeatedTokens(tokenizer, 1, 1024).value();
  EXPECT_EQ(made.first, 1u);
  EXPECT_EQ(made.length, 255u);
  ASSERT_EQ(made.tokens.size(), 1 + 4 * made.length);
  EXPECT_EQ(made.tokens[0], tokenizer.bos());
  std::set<int32_t> different;
  for (size_t i = 1; i < made.tokens.size(); ++i) {
    EXPECT_EQ(made.tokens[i], made.tokens[(i - 1) % made.length + 1]);
    EXPECT_FALSE(tokenizer.IsControl(made.tokens[i]));
    different.insert(made.tokens[i]);
  }
  EXPECT_EQ(different.size(), made.length);
  EXPECT_EQ(MakeRepeatedTokens(tokenizer, 1, 1024)->tokens, made.tokens);
  EXPECT_NE(MakeRepeatedTokens(tokenizer, 2, 1024)->tokens, made.tokens);
  // No more than 2,500, nor than the vocabulary has: all but the three control tokens here.
  EXPECT_EQ(MakeRepeatedTokens(tokenizer, 1, 1 << 20)->length, 509u);
  EXPECT_THAT(MakeRepeatedTokens(tokenizer, 1, 32).error().Message(), HasSubstr("--ctx"));
}

TEST(CalibrateEcho, HandMadeHeads_ScoreAsTheyWereMade) {
  const auto engine = MadeEngine(MakeHandMadeModel);
  const HeadProfile heads = CalibrateEcho(*engine, 1, kContext)->heads;
  ASSERT_EQ(heads.echo.size(), 8u);
  ASSERT_EQ(heads.induction.size(), 8u);
  // 0-1 shares its attention with the token itself: 1/2, 2/3 and 3/4 for the three later copies.
  EXPECT_NEAR(heads.echo[1], 23.0 / 36, 1e-5);
  EXPECT_NEAR(heads.induction[6], 1, 1e-5);
  // Heads that look at all tokens alike: BOS and so far `row` others.
  double even = 0;
  for (size_t row = 60; row < 240; ++row) even += double(row / 60) / double(row + 2) / 180;
  for (const size_t head : {3u, 5u}) {
    EXPECT_NEAR(heads.echo[head], even, 1e-5);
    EXPECT_NEAR(heads.induction[head], even, 1e-5);
  }
  for (const size_t head : {0u, 2u, 4u, 6u, 7u}) EXPECT_LT(heads.echo[head], 1e-6) << head;
  for (const size_t head : {0u, 1u, 2u, 4u, 7u}) EXPECT_LT(heads.induction[head], 1e-6) << head;
}

TEST(CalibrateEcho, ThreadsAndChunks_MakeNoDifference) {
  const auto make = [](const std::string& path) {
    MakeModelOptions options;
    options.query_heads = 8;
    return MakeModel(options, path);
  };
  const Profile one = CalibrateEcho(*MadeEngine(make), 1, kContext).value();
  EXPECT_GT(std::ranges::max(one.heads.echo), 0);
  for (const auto& [threads, chunk] : {std::pair(2, 512), {3, 17}}) {
    const Profile other = CalibrateEcho(*MadeEngine(make, threads, chunk), 1, kContext).value();
    EXPECT_EQ(other.heads.echo, one.heads.echo);
    EXPECT_EQ(other.heads.induction, one.heads.induction);
  }
}

TEST(CalibrateEcho, Origin_SaysHowItWasMade) {
  const auto engine = MadeEngine(MakeHandMadeModel);
  const Profile profile = CalibrateEcho(*engine, 7, kContext).value();
  EXPECT_EQ(profile.heads.sections(), kProfileEcho);
  for (const char* part : {".gguf", "60 random tokens, 4 times", "seed 7"}) {
    EXPECT_THAT(profile.origins[2], HasSubstr(part));
  }
}

TEST(CalibrateEcho, Progress_GrowsToTheEndAndCanStop) {
  const auto engine = MadeEngine(MakeHandMadeModel, 1, 50);
  size_t last = 0;
  ASSERT_TRUE(CalibrateEcho(*engine, 1, kContext, [&](size_t done, size_t total) {
    EXPECT_GT(done, last);
    EXPECT_EQ(total, kContext);
    last = done;
    return true;
  }));
  EXPECT_EQ(last, kContext);
  const auto stopped = CalibrateEcho(*engine, 1, kContext, [](size_t, size_t) { return false; });
  EXPECT_EQ(stopped.error().what, "interrupted");
}

}  // namespace
}  // namespace pith
