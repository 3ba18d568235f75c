#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "engine/compress.h"
#include "engine/engine.h"

namespace pith {
namespace {

std::unique_ptr<Engine> NanoEngine() {
  EngineOptions options;
  options.model_path = PITH_SOURCE_DIR "/models/nano/nano.gguf";
  auto engine = Engine::Create(options);
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

PlannedRun Planned(std::string_view recipe) { return {ParseRecipe(recipe).value(), std::nullopt}; }

std::vector<float> FedLogits(Engine& engine, Sequence& sequence) {
  const auto tokens =
      engine.tokenizer().Tokenize("The amber fox crossed the quiet river.", true, false).value();
  const auto logits = engine.Feed(sequence, tokens).value();
  return {logits.begin(), logits.end()};
}

TEST(NewSequence, Recipe_GivesItsForms) {
  const auto engine = NanoEngine();
  Sequence f32 = engine->NewSequence(Planned("f32")).value();
  Sequence f16 = engine->NewSequence(Planned("full")).value();
  Sequence plain = engine->NewSequence();
  EXPECT_EQ(f32.cache.spec().keys.form, FindForm(FormId::kF32));
  EXPECT_EQ(f32.kv.plan.canonical, "full + store=f32");
  EXPECT_EQ(plain.kv.plan.canonical, "full");
  const auto f16_logits = FedLogits(*engine, f16);
  EXPECT_EQ(f16_logits, FedLogits(*engine, plain));
  EXPECT_NE(f16_logits, FedLogits(*engine, f32));
  EXPECT_EQ(f32.cache.Usage().logical, 2 * f16.cache.Usage().logical);
}

TEST(ForkAs, SamePrefill_GoesOnLikeItsOwnSequence) {
  const auto engine = NanoEngine();
  const PlannedRun runs[] = {Planned("full"), Planned("f16")};
  ASSERT_TRUE(SharesPrefill(runs[0], runs[1]));
  Sequence prompt = engine->NewSequence(runs).value();
  FedLogits(*engine, prompt);
  Sequence fork = engine->ForkAs(prompt, runs[1]).value();
  ASSERT_TRUE(engine->Compress(fork));
  EXPECT_EQ(fork.tokens, prompt.tokens);
  const int32_t token = 5;
  Sequence* forks[] = {&fork};
  const auto stepped = engine->Step(forks, {&token, 1}).value();
  const std::vector<float> logits(stepped.begin(), stepped.end());
  Sequence* prompts[] = {&prompt};
  EXPECT_TRUE(std::ranges::equal(logits, engine->Step(prompts, {&token, 1}).value()));
}

TEST(ForkAs, OtherForms_IsRefused) {
  const auto engine = NanoEngine();
  const PlannedRun runs[] = {Planned("full"), Planned("f32")};
  EXPECT_FALSE(SharesPrefill(runs[0], runs[1]));
  const auto refused = engine->NewSequence(runs);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().Message().find("do not read a prompt in the same way"),
            std::string::npos);
  const Sequence prompt = engine->NewSequence(runs[0]).value();
  EXPECT_FALSE(engine->ForkAs(prompt, runs[1]));
}

TEST(Compress, Report_IsWhatWasSeenAndDecided) {
  const auto engine = NanoEngine();
  const auto kept = [&](const char* budget, CompressionReport* report) {
    Sequence sequence = engine
                            ->NewSequence({ParseRecipe("score=streaming(sinks=2)").value(),
                                           ParseBudget(budget).value()})
                            .value();
    FedLogits(*engine, sequence);
    EXPECT_TRUE(engine->Compress(sequence, report));
    return sequence;
  };
  CompressionReport report;
  const Sequence sequence = kept("5", &report);
  const size_t heads = sequence.cache.spec().num_layers * sequence.cache.spec().num_kv_heads;
  EXPECT_EQ(report.allocated, std::vector<uint64_t>(heads, 5));
  ASSERT_EQ(report.scores.size(), heads);
  std::vector<int32_t> all(sequence.tokens.size());
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(report.positions, std::vector<std::vector<int32_t>>(heads, all));
  for (const std::vector<float>& scores : report.scores) {
    ASSERT_EQ(scores.size(), all.size());
    EXPECT_EQ(scores[0], kProtected);
    EXPECT_EQ(scores[1], kProtected);
    EXPECT_TRUE(std::is_sorted(scores.begin() + 2, scores.end()));
  }
  CompressionReport untouched;
  kept("100%", &untouched);
  EXPECT_TRUE(untouched.scores.empty() && untouched.allocated.empty());
}

}  // namespace
}  // namespace pith
