#include "calibrate/retrieval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "calibrate/test_engine.h"
#include "make_model/hand_made.h"

namespace pith {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(HighestEntry, Ties_TheFirst) {
  EXPECT_EQ(HighestEntry(std::vector<float>{.1f, .4f, .1f, .4f}), 1u);
}

TEST(MassOnTarget, AllMassOnTheTarget_IsOne) {
  EXPECT_FLOAT_EQ(MassOnTarget(std::vector<float>{0, 0, .5f, .25f, .25f, 0}, 2, 5), 1);
}

TEST(MassOnTarget, OnlyTheHighestEntriesCount) {
  // The two highest are the entries 0 and 3, of which 3 is on the target.
  EXPECT_FLOAT_EQ(MassOnTarget(std::vector<float>{.4f, .1f, .2f, .3f}, 2, 4), .3f);
  EXPECT_FLOAT_EQ(MassOnTarget(std::vector<float>{.4f, .3f, .2f, .1f}, 2, 4), 0);
  // Of equal ones the first: entries 0 and 1.
  EXPECT_FLOAT_EQ(MassOnTarget(std::vector<float>{.25f, .25f, .25f, .25f}, 1, 3), .25f);
  EXPECT_FLOAT_EQ(MassOnTarget(std::vector<float>{.5f, .5f}, 0, 2), 1);
}

TEST(IsAnswered, RecallForR_F1ForR2) {
  using enum RetrievalRule;
  const char* const kAnswer = "red blue green gold";
  EXPECT_TRUE(IsAnswered(kCopy, "red blue gold", kAnswer));
  EXPECT_FALSE(IsAnswered(kCopy, "red blue", kAnswer));  // one half is not more than it
  // Recall does not mind what is said beside the answer, F1 does: 2 * .3 / 1.3.
  const char* const kLong = "red blue gold one two three four five six seven";
  EXPECT_TRUE(IsAnswered(kCopy, kLong, kAnswer));
  EXPECT_FALSE(IsAnswered(kMass, kLong, kAnswer));
  EXPECT_TRUE(IsAnswered(kMass, "red blue gold", kAnswer));
  EXPECT_FALSE(IsAnswered(kMass, "", kAnswer));
}

constexpr size_t kBefore = 40, kAnswerTokens = 4;

// A text of words that all differ, and at its end the word in front of the answer again.
NeedleSample Sample(const Engine& engine, int32_t shift = 0) {
  NeedleSample sample;
  sample.prompt.push_back(engine.tokenizer().bos());
  for (int32_t i = 0; i < 150; ++i) {
    sample.prompt.push_back(HandMadeModel::kFirstWord + (i * 7 + shift) % 229);
  }
  sample.begin = kBefore;
  sample.end = kBefore + kAnswerTokens;
  sample.prompt.push_back(sample.prompt[kBefore - 1]);
  for (size_t i = sample.begin; i < sample.end; ++i) {
    sample.answer += engine.tokenizer().Piece(sample.prompt[i]);
  }
  sample.max_steps = kAnswerTokens;
  return sample;
}

std::vector<double> Expected(RetrievalRule rule) {
  std::vector<double> scores(8);
  scores[6] = 1;
  // The head that looks for the same token has half of its attention on the answer once it is
  // being repeated, which is from the second step on.
  if (rule == RetrievalRule::kMass) scores[1] = .5 * (kAnswerTokens - 1) / kAnswerTokens;
  return scores;
}

TEST(ScoreSample, HandMadeHeads_ScoreAsTheyWereMade) {
  const auto engine = MadeEngine(MakeHandMadeModel);
  const NeedleSample sample = Sample(*engine);
  for (const RetrievalRule rule : {RetrievalRule::kCopy, RetrievalRule::kMass}) {
    const SampleScores result = ScoreSample(*engine, sample, rule).value();
    EXPECT_EQ(result.response, sample.answer);
    const std::vector<double> expected = Expected(rule);
    ASSERT_EQ(result.scores.size(), expected.size());
    for (size_t head = 0; head < expected.size(); ++head) {
      EXPECT_NEAR(result.scores[head], expected[head], 1e-5) << head;
    }
  }
}

TEST(ScoreSample, EndsAtALineEnd) {
  const auto engine = MadeEngine(MakeHandMadeModel);
  NeedleSample sample = Sample(*engine);
  sample.prompt[kBefore + 1] = '\n';
  EXPECT_EQ(engine->tokenizer().Piece('\n'), "\n");
  const SampleScores result = ScoreSample(*engine, sample, RetrievalRule::kCopy).value();
  EXPECT_EQ(result.response, engine->tokenizer().Piece(sample.prompt[kBefore]) + "\n");
  EXPECT_NEAR(result.scores[6], 2.0 / kAnswerTokens, 1e-9);
}

TEST(ScoreHeads, SumIsOne_AndOnlyRightAnswersCount) {
  const auto engine = MadeEngine(MakeHandMadeModel);
  NeedleSample wrong = Sample(*engine, 5);
  wrong.prompt.back() = wrong.prompt[90];
  const std::vector<NeedleSample> samples = {Sample(*engine), wrong, Sample(*engine, 3)};
  const RetrievalScores r2 = ScoreHeads(*engine, samples, RetrievalRule::kMass).value();
  EXPECT_EQ(r2.answered, 2u);
  EXPECT_NEAR(std::accumulate(r2.scores.begin(), r2.scores.end(), 0.0), 1, 1e-6);
  EXPECT_NEAR(r2.scores[6], 1 / 1.375, 1e-5);
  EXPECT_NEAR(r2.scores[1], .375 / 1.375, 1e-5);
  const RetrievalScores r = ScoreHeads(*engine, samples, RetrievalRule::kCopy).value();
  EXPECT_THAT(r.scores, ElementsAre(0, 0, 0, 0, 0, 0, 1, 0));
  // None is right: no scores.
  const RetrievalScores none = ScoreHeads(*engine, {&wrong, 1}, RetrievalRule::kMass).value();
  EXPECT_EQ(none.answered, 0u);
  EXPECT_TRUE(none.scores.empty());
}

TEST(ScoreHeads, ThreadsAndChunks_MakeNoDifference) {
  std::vector<float> one;
  for (const auto& [threads, chunk] : {std::pair(1, 512), {2, 64}, {3, 7}}) {
    const auto engine = MadeEngine(MakeHandMadeModel, threads, static_cast<uint32_t>(chunk));
    const NeedleSample sample = Sample(*engine);
    const auto scores = ScoreHeads(*engine, {&sample, 1}, RetrievalRule::kMass)->scores;
    if (one.empty()) one = scores;
    EXPECT_EQ(scores, one);
  }
}

TEST(ScoreHeads, Interrupted_Ends) {
  const auto engine = MadeEngine(MakeHandMadeModel, 1, 64);
  const NeedleSample sample = Sample(*engine);
  const auto stopped =
      ScoreHeads(*engine, {&sample, 1}, RetrievalRule::kMass, [](size_t, size_t) { return false; });
  EXPECT_EQ(stopped.error().what, "interrupted");
}

std::unique_ptr<Engine> NanoEngine() {
  return std::move(
      *Engine::Create({.model_path = PITH_SOURCE_DIR "/models/nano/nano.gguf", .num_threads = 1}));
}

// The hand-made model answers nothing that is asked in words.
TEST(CalibrateRetrieval, FewAnswers_SayWhatTheModelCouldNotDo) {
  const auto engine = MadeEngine(MakeHandMadeModel);
  const Haystack haystack = Haystack::Builtin();
  const auto refused = CalibrateRetrieval(
      *engine, {engine->tokenizer(), *FindNeedleKind("plain"), haystack, 42, 620},
      RetrievalRule::kMass);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kInput);
  for (const char* part : {"0 of 100", "plain needle", "--needle magic"}) {
    EXPECT_THAT(refused.error().Message(), HasSubstr(part));
  }
}

// A few short texts: the whole of it takes minutes.
TEST(CalibrateRetrieval, NanoModel_HasFewHeadsThatRetrieve) {
  const auto engine = NanoEngine();
  const Haystack haystack = Haystack::Builtin();
  const auto samples =
      MakeNeedleSamples({engine->tokenizer(), *FindNeedleKind("magic"), haystack, 42, 400}).value();
  const auto some = std::span(samples).first(12);
  const RetrievalScores scored = ScoreHeads(*engine, some, RetrievalRule::kMass).value();
  EXPECT_GE(scored.answered, 8u);
  ASSERT_EQ(scored.scores.size(), 32u);
  EXPECT_GT(std::ranges::max(scored.scores), 3.0f / 32);  // three times an even share
}

}  // namespace
}  // namespace pith
