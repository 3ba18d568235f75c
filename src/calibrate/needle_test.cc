#include "calibrate/needle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "eval/task/task_fixture.h"

namespace pith {
namespace {

using testing::ElementsAre;

const Haystack kHaystack = Haystack::Builtin();

std::vector<NeedleSample> Samples(std::string_view kind, uint32_t context) {
  return MakeNeedleSamples({NanoTokenizer(), *FindNeedleKind(kind), kHaystack, 42, context})
      .value();
}

std::string Detokenized(std::span<const int32_t> tokens) {
  std::string text;
  for (const int32_t token : tokens) text += NanoTokenizer().Piece(token);
  return text;
}

TEST(NeedleLengths, FiveEqualSteps_FromAThousand) {
  EXPECT_THAT(NeedleLengths(5000), ElementsAre(1000, 2000, 3000, 4000, 5000));
  EXPECT_THAT(NeedleLengths(800), ElementsAre(400, 500, 600, 700, 800));
}

TEST(MakeNeedleSamples, TheTargetIsTheAnswer) {
  for (const NeedleKind& kind : NeedleKinds()) {
    SCOPED_TRACE(kind.name);
    const auto samples = Samples(kind.name, 700);
    ASSERT_EQ(samples.size(), 100u);
    for (size_t i = 0; i < samples.size(); ++i) {
      const NeedleSample& sample = samples[i];
      EXPECT_EQ(sample.prompt[0], NanoTokenizer().bos());
      EXPECT_LE(sample.prompt.size() + sample.max_steps, NeedleLengths(700)[i / 20] + 1);
      EXPECT_GT(sample.prompt.size() * 4, NeedleLengths(700)[i / 20] * 3);
      const auto target = std::span(sample.prompt).subspan(sample.begin, sample.end - sample.begin);
      const std::string text = Detokenized(target);
      EXPECT_NE(text.find(sample.answer), std::string::npos) << text;
      // A space before it and the paragraph's end behind it may belong to its tokens.
      EXPECT_LE(text.size(), sample.answer.size() + 3) << text;
      EXPECT_GE(sample.max_steps, std::min<size_t>(50, target.size()));
      EXPECT_LE(sample.max_steps, 50u);
    }
  }
}

TEST(MakeNeedleSamples, NoPromptTwice) {
  for (const NeedleKind& kind : NeedleKinds()) {
    std::set<std::vector<int32_t>> prompts;
    for (const NeedleSample& sample : Samples(kind.name, 700)) prompts.insert(sample.prompt);
    EXPECT_EQ(prompts.size(), 100u) << kind.name;
  }
}

TEST(MakeNeedleSamples, Reasoning_AsksForTheOlderAndTheYoungerAtEachPlace) {
  const auto samples = Samples("reasoning", 700);
  for (size_t i = 0; i < samples.size(); i += 2) {
    std::multiset<bool> older;
    for (size_t j = i; j < i + 2; ++j) {
      const std::string text = Detokenized(samples[j].prompt);
      older.insert(text.rfind("of the older of the two") != std::string::npos);
      EXPECT_TRUE(text.ends_with("\nAnswer:"));
    }
    EXPECT_THAT(older, ElementsAre(false, true)) << i;
  }
}

TEST(MakeNeedleSamples, TooShortAContext_IsRefused) {
  const auto refused =
      MakeNeedleSamples({NanoTokenizer(), *FindNeedleKind("reasoning"), kHaystack, 42, 100});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kInput);
}

}  // namespace
}  // namespace pith
