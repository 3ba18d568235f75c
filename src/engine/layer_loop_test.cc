// Prompts that go through the model layer by layer (the stage admit): what any such recipe must
// hold, LazyLLM's waiting tokens and PyramidInfer's sets.
#include "engine/layer_loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numbers>
#include <numeric>
#include <set>

#include "engine/snapshot.h"
#include "engine/test_first_layer.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

constexpr uint32_t kLayers = 8;

std::unique_ptr<Engine> MakeEngine(const MakeModelOptions& model, int threads, uint32_t chunk,
                                   bool repack = false, uint64_t limit = 0) {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + test->name() + ".gguf";
  std::ranges::replace(name, '/', '-');
  const std::string path = std::filesystem::path(testing::TempDir()) / name;
  EXPECT_TRUE(MakeModel(model, path));
  auto engine = Engine::Create({.model_path = path,
                                .num_threads = threads,
                                .chunk = chunk,
                                .cache_limit_bytes = limit,
                                .repack = repack});
  std::filesystem::remove(path);
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

std::unique_ptr<Engine> MakeEngine(int threads = 1, uint32_t chunk = 64) {
  return MakeEngine({.layers = kLayers}, threads, chunk);
}

PlannedRun Planned(std::string_view recipe) { return {ParseRecipe(recipe).value(), {}}; }

std::vector<int32_t> Text(size_t length, int32_t salt = 0) {
  std::vector<int32_t> tokens(length);
  for (size_t i = 0; i < length; ++i) {
    tokens[i] = static_cast<int32_t>((i * i * 7 + i * 3 + static_cast<size_t>(salt)) % 251);
  }
  return tokens;
}

using Logits = std::vector<std::vector<float>>;

// A prompt, generated tokens, a second turn and generated tokens again: the logits of all steps.
Logits Converse(Engine& engine, Sequence& sequence, size_t length, int num_generated = 20) {
  Logits logits;
  Sequence* const one[] = {&sequence};
  for (const size_t turn : {length, size_t{40}}) {
    const auto row = engine.Feed(sequence, Text(turn, static_cast<int32_t>(turn)));
    if (!row) throw std::runtime_error(row.error().Message());
    logits.emplace_back(row->begin(), row->end());
    for (int32_t token = 0; token < num_generated; ++token) {
      const auto step = engine.Step(one, {&token, 1}).value();
      logits.emplace_back(step.begin(), step.end());
    }
  }
  return logits;
}

std::vector<int32_t> PositionsOf(const Sequence& sequence, uint32_t layer, uint32_t head = 0) {
  std::vector<int32_t> positions(sequence.cache.num_entries(layer, head));
  sequence.cache.Positions(layer, head, positions);
  return positions;
}

// --- The loop itself.

struct Shape {
  const char* name;
  MakeModelOptions model;
};

class LayerLoopOver : public testing::TestWithParam<Shape> {};

TEST_P(LayerLoopOver, IdentitySettings_AreTheFullCacheBitForBit) {
  // Rows are packed for products where the processor can, in chunks of many rows and of one.
  for (const bool repack : {false, true}) {
    const auto engine = MakeEngine(GetParam().model, 1, 64, repack);
    Sequence full = engine->NewSequence(Planned("full")).value();
    const Logits expected = Converse(*engine, full, 665);
    std::vector<std::byte> expected_cache;
    full.cache.Save(&expected_cache);
    for (const char* recipe :
         {"lazyllm(prune=0)", "lazyllm(times=0)", "pyramidinfer(decay=1,block=0)",
          "pyramidinfer(decay=1,block_keep=1,block_decay=1)", "pyramidinfer(recent=1,block=0)"}) {
      Sequence sequence = engine->NewSequence(Planned(recipe)).value();
      EXPECT_EQ(Converse(*engine, sequence, 665), expected) << recipe;
      std::vector<std::byte> cache;
      sequence.cache.Save(&cache);
      EXPECT_EQ(cache, expected_cache) << recipe;
      EXPECT_EQ(sequence.ComputedTokens(), full.ComputedTokens());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, LayerLoopOver,
    testing::Values(Shape{"llama",
                          {.layers = 3, .width = 128, .feed_forward = 256, .type = GGML_TYPE_Q8_0}},
                    Shape{"moe",
                          {.architecture = MakeArchitecture::kQwen3Moe,
                           .experts = 4,
                           .experts_used = 2,
                           .expert_feed_forward = 64}},
                    Shape{"phi3", {.architecture = MakeArchitecture::kPhi3, .kv_heads = 4}},
                    Shape{"one layer", {.layers = 1}}),
    [](const auto& test) {
      std::string name = test.param.name;
      std::ranges::replace(name, ' ', '_');
      return name;
    });

class LayerLoopWith : public testing::TestWithParam<std::string> {};

TEST_P(LayerLoopWith, ThreadsAndChunks_MakeNoDifference) {
  Logits logits[3];
  std::vector<std::vector<int32_t>> kept[3];
  for (const int i : {0, 1, 2}) {
    const auto engine = MakeEngine(i == 1 ? 2 : 1, i == 2 ? 50 : 512);
    Sequence sequence = engine->NewSequence(Planned(GetParam())).value();
    logits[i] = Converse(*engine, sequence, 300, 3);
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      kept[i].push_back(PositionsOf(sequence, layer));
    }
  }
  EXPECT_EQ(logits[0], logits[1]);
  EXPECT_EQ(kept[0], kept[1]);
  EXPECT_EQ(kept[0], kept[2]);
}

TEST_P(LayerLoopWith, Fork_GoesOnAsTheOriginal) {
  const auto engine = MakeEngine();
  Sequence original = engine->NewSequence(Planned(GetParam())).value();
  Converse(*engine, original, 200);
  Sequence fork = original.Fork();
  const Logits expected = Converse(*engine, original, 30);
  EXPECT_EQ(Converse(*engine, fork, 30), expected);
  EXPECT_EQ(fork.ComputedTokens(), original.ComputedTokens());
  EXPECT_EQ(fork.Usage().metadata, original.Usage().metadata);
}

// However reading ends early, the text is what it was and can be read on.
TEST_P(LayerLoopWith, Interrupted_GoesOn) {
  const auto engine = MakeEngine();
  Sequence sequence = engine->NewSequence(Planned(GetParam())).value();
  Converse(*engine, sequence, 200);
  const auto before = sequence.tokens;
  for (int stop = 1; stop < static_cast<int>(kLayers); ++stop) {
    int calls = 0;
    const auto fed = engine->Feed(sequence, Text(50), [&](size_t done, size_t total) {
      EXPECT_LT(done, total);
      return ++calls < stop;
    });
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().what, "interrupted");
    EXPECT_EQ(sequence.tokens, before);
    EXPECT_LT(PositionsOf(sequence, 0).back(), static_cast<int32_t>(before.size()));
  }
  const Logits after = Converse(*engine, sequence, 50);
  EXPECT_TRUE(std::isfinite(after.back().front()));
}

TEST_P(LayerLoopWith, WithoutMemory_FailsAndKeepsTheText) {
  const auto engine = MakeEngine({.layers = kLayers}, 1, 64, false, 220 << 10);
  Sequence sequence = engine->NewSequence(Planned(GetParam())).value();
  ASSERT_TRUE(engine->Feed(sequence, Text(100)));
  const auto fed = engine->Feed(sequence, Text(900));
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().what, "no memory for the cache");
  EXPECT_EQ(sequence.tokens, Text(100));
  EXPECT_EQ(PositionsOf(sequence, 0).size(), 100u);
  EXPECT_TRUE(engine->Feed(sequence, Text(5)));
}

TEST_P(LayerLoopWith, WhatIsNotDefined_IsRefused) {
  const auto engine = MakeEngine();
  Sequence sequence = engine->NewSequence(Planned(GetParam())).value();
  EXPECT_FALSE(engine->FeedAll(sequence, Text(5)));
  sequence.pinned = {{0, 4}};
  EXPECT_FALSE(engine->Feed(sequence, Text(50)));
  sequence.pinned.clear();
  const auto logits = engine->Feed(sequence, Text(50)).value();
  const std::string path = testing::TempDir() + "pith-no-session";
  const Status saved = SaveSnapshot(*engine, sequence, {}, logits, "", path);
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().what.find("keeps more about its tokens") == std::string::npos, false);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_FALSE(SharesPrefill(sequence.kv, Planned("full")));
  EXPECT_FALSE(SharesPrefill(sequence.kv, sequence.kv));

  const auto window = MakeEngine(
      {.architecture = MakeArchitecture::kPhi3, .kv_heads = 4, .sliding_window = 32}, 1, 64);
  EXPECT_FALSE(window->NewSequence(sequence.kv));
}

INSTANTIATE_TEST_SUITE_P(Recipes, LayerLoopWith,
                         testing::Values("lazyllm", "lazyllm(prune=0.6,depth=0.125,times=7) + f32",
                                         "pyramidinfer", "pyramidinfer(decay=0.5,least=5) + bf16",
                                         "pyramidinfer(interval=3,recent=0)",
                                         "pyramidinfer(decay=0.6) + kivi4(residual=32)"));

// --- LazyLLM.

// Each token is in every layer up to where it waits, or in all; it was computed once in each.
void CheckWhole(const Sequence& sequence) {
  const std::vector<uint64_t> computed = sequence.ComputedTokens();
  std::set<int32_t> there;
  for (size_t i = 0; i < sequence.tokens.size(); ++i) there.insert(static_cast<int32_t>(i));
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    for (const uint32_t head : {0u, 1u}) {
      const auto positions = PositionsOf(sequence, layer, head);
      EXPECT_EQ(std::vector<int32_t>(there.begin(), there.end()), positions) << layer;
    }
    EXPECT_EQ(computed[layer], there.size());
    const TokenRows& waiting = sequence.admission.waiting[layer];
    EXPECT_EQ(waiting.hidden.size(), waiting.positions.size() * 64);
    EXPECT_TRUE(std::ranges::is_sorted(waiting.positions));
    for (const int32_t position : waiting.positions) EXPECT_EQ(there.erase(position), 1u);
  }
}

TEST(LazyLlm, EveryToken_IsComputedOncePerLayerOrWaits) {
  const auto engine = MakeEngine();
  Sequence sequence = engine->NewSequence(Planned("lazyllm(prune=0.4,depth=0.25,times=3)")).value();
  ASSERT_TRUE(engine->Feed(sequence, Text(300)));
  CheckWhole(sequence);
  // Percentiles of 300, 180 and 108 tokens.
  for (const auto& [layer, entries] : {std::pair{1u, 300u}, {2u, 180u}, {4u, 108u}, {6u, 65u}}) {
    EXPECT_EQ(sequence.cache.num_entries(layer, 0), entries);
  }
  EXPECT_EQ(sequence.admission.waiting[1].positions.size(), 120u);
  const auto before = sequence.ComputedTokens();
  Sequence* const one[] = {&sequence};
  for (int32_t token = 0; token < 30; ++token) {
    ASSERT_TRUE(engine->Step(one, {&token, 1}));
    CheckWhole(sequence);
  }
  EXPECT_GT(sequence.ComputedTokens()[7] - before[7], 30u) << "no token came back";
  ASSERT_TRUE(engine->Feed(sequence, Text(70)));
  CheckWhole(sequence);
  sequence.Truncate(350);
  for (uint32_t layer = 0; layer < kLayers; ++layer) {  // they are computed anew
    sequence.admission.computed[layer] = sequence.cache.num_entries(layer, 0);
  }
  CheckWhole(sequence);
  ASSERT_TRUE(engine->Feed(sequence, Text(10)));
  CheckWhole(sequence);
}

TEST(LazyLlm, OnceNothingIsPruned_EveryTokenIsEverywhere) {
  const auto engine = MakeEngine();
  Sequence sequence = engine->NewSequence(Planned("lazyllm(prune=0.5)")).value();
  ASSERT_TRUE(engine->Feed(sequence, Text(300)));
  EXPECT_LT(sequence.ComputedTokens().back(), 300u);
  EXPECT_GT(sequence.admission.bytes(), 0u);
  sequence.kv.plan.admit.values[0].number = 0;
  Sequence* const one[] = {&sequence};
  const int32_t token = 7;
  ASSERT_TRUE(engine->Step(one, {&token, 1}));
  CheckWhole(sequence);
  EXPECT_EQ(sequence.ComputedTokens(), std::vector<uint64_t>(kLayers, 301));
  EXPECT_EQ(sequence.admission.bytes(), 0u);
}

TEST(LazyLlm, StepsThatFail_LeaveEveryTokenSomewhere) {
  const auto engine = MakeEngine({.layers = kLayers}, 1, 64, false, 600 << 10);
  Sequence sequence = engine->NewSequence(Planned("lazyllm(prune=0.5,depth=0.25) + f32")).value();
  ASSERT_TRUE(engine->Feed(sequence, Text(150)));
  bool failed = false;
  for (int32_t i = 0; i < 20 && !failed; ++i) failed = !engine->Feed(sequence, Text(40, i));
  EXPECT_TRUE(failed);
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    sequence.admission.computed[layer] = sequence.cache.num_entries(layer, 0);
  }
  CheckWhole(sequence);
}

// The first layer's queries and keys do not depend on attention: who goes on is known.
TEST(LazyLlm, FirstLayer_DropsWhatTheLastTokenLooksAtLeast) {
  const auto engine = MakeEngine();
  Sequence sequence =
      engine->NewSequence(Planned("lazyllm(prune=0.25,depth=0.125,times=1) + f32")).value();
  const auto tokens = Text(101);
  ASSERT_TRUE(engine->Feed(sequence, tokens));
  std::vector<int32_t> positions(tokens.size());
  std::iota(positions.begin(), positions.end(), 0);
  const FirstLayer layer(engine->model(), tokens, positions);
  const std::vector<size_t> all(positions.begin(), positions.end());
  std::vector<std::pair<double, int32_t>> scores;
  for (size_t i = 0; i < all.size(); ++i) scores.emplace_back(0, static_cast<int32_t>(i));
  for (uint32_t head = 0; head < 4; ++head) {
    const auto seen = layer.Probabilities(head, 100, all);
    for (size_t i = 0; i < seen.size(); ++i) scores[i].first += seen[i];
  }
  scores.back().first = 1e9;
  std::ranges::sort(scores);
  std::vector<int32_t> kept;  // the 25th percentile of 101 values is the one with 25 below it
  for (size_t i = 25; i < scores.size(); ++i) kept.push_back(scores[i].second);
  std::ranges::sort(kept);
  EXPECT_EQ(PositionsOf(sequence, 1), kept);
  EXPECT_EQ(PositionsOf(sequence, 0).size(), 101u);
}

TEST(LazyLlm, SeveralSequencesInAStep_AreRefused) {
  const auto engine = MakeEngine();
  Sequence a = engine->NewSequence(Planned("lazyllm")).value();
  Sequence b = engine->NewSequence(Planned("full")).value();
  ASSERT_TRUE(engine->Feed(a, Text(50)));
  ASSERT_TRUE(engine->Feed(b, Text(50)));
  Sequence* const both[] = {&b, &a};
  const int32_t tokens[] = {1, 2};
  const auto step = engine->Step(both, tokens);
  ASSERT_FALSE(step);
  EXPECT_EQ(step.error().hint, "Take a step for each sequence.");
  EXPECT_EQ(b.tokens.size(), 50u);
  EXPECT_EQ(PositionsOf(b, 0).size(), 50u);
}

// --- PyramidInfer.

double Cosine(double last, uint32_t layer) {
  return (1 - last) * (std::cos(std::numbers::pi * layer / kLayers) + 1) / 2 + last;
}

TEST(PyramidInfer, SetsAreNested_AndAsLargeAsTheScheduleSays) {
  const auto engine = MakeEngine();
  Sequence sequence = engine->NewSequence(Planned("pyramidinfer(decay=0.7,least=20)")).value();
  ASSERT_TRUE(engine->Feed(sequence, Text(400)));
  size_t expected = 400;
  std::vector<int32_t> before = PositionsOf(sequence, 0);
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    const auto positions = PositionsOf(sequence, layer);
    EXPECT_EQ(positions.size(), expected) << layer;
    EXPECT_EQ(positions, PositionsOf(sequence, layer, 1));
    EXPECT_TRUE(std::ranges::includes(before, positions));
    for (int32_t sink = 0; sink < 4; ++sink) {
      EXPECT_EQ(positions[static_cast<size_t>(sink)], sink);
    }
    for (size_t i = 1; i <= 81; ++i) {  // 1 + 0.2 of 400
      EXPECT_EQ(positions[positions.size() - i], 400 - static_cast<int32_t>(i));
    }
    EXPECT_EQ(sequence.ComputedTokens()[layer], expected);
    const auto left = static_cast<size_t>(static_cast<double>(expected - 81) * Cosine(0.7, layer));
    if (left > 20) expected = 81 + left;
    before = positions;
  }
  EXPECT_LT(sequence.cache.num_entries(kLayers - 1, 0), 250u);
}

TEST(PyramidInfer, Interval_ChoosesInSomeLayersOnly) {
  const auto engine = MakeEngine();
  Sequence sequence = engine->NewSequence(Planned("pyramidinfer(decay=0.7,interval=3)")).value();
  ASSERT_TRUE(engine->Feed(sequence, Text(400)));
  const auto entries = [&](uint32_t layer) { return sequence.cache.num_entries(layer, 0); };
  EXPECT_EQ(entries(0), entries(3));
  EXPECT_GT(entries(3), entries(4));
  EXPECT_EQ(entries(4), entries(6));
  EXPECT_GT(entries(6), entries(7));
}

TEST(PyramidInfer, GeneratedBlocks_ShrinkAsTheScheduleSays) {
  const auto engine = MakeEngine();
  Sequence sequence = engine->NewSequence(Planned("pyramidinfer")).value();
  ASSERT_TRUE(engine->Feed(sequence, Text(200)));
  std::vector<uint64_t> expected;
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    expected.push_back(sequence.cache.num_entries(layer, 0));
  }
  Sequence* const one[] = {&sequence};
  for (int32_t token = 1; token <= 70; ++token) {
    ASSERT_TRUE(engine->Step(one, {&token, 1}));
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      ++expected[layer];
      if (token % 16 == 0) expected[layer] -= 16 - uint64_t(16 * 0.9 * Cosine(0.1, layer));
      EXPECT_EQ(sequence.cache.num_entries(layer, 0), expected[layer]) << layer;
      const auto positions = PositionsOf(sequence, layer);
      for (size_t i = 1; i <= 41; ++i) {  // the judges
        EXPECT_EQ(positions[positions.size() - i], 200 + token - static_cast<int32_t>(i));
      }
    }
  }
}

// In the first layer, by the definition: saved rows of attention, the last 41 of them weighted from
// 1 to 1.5, score the block of 16 before them.
TEST(PyramidInfer, GeneratedBlocks_KeepWhatTheLastTokensLookAt) {
  constexpr size_t kPrompt = 200, kRows = 41, kBlock = 16;
  const auto engine = MakeEngine();
  Sequence sequence =
      engine->NewSequence(Planned("pyramidinfer(weight=1.5,block_keep=0.5) + f32")).value();
  std::vector<int32_t> tokens = Text(kPrompt);
  ASSERT_TRUE(engine->Feed(sequence, tokens));
  Sequence* const one[] = {&sequence};
  for (int32_t token = 0; token < 48; ++token) {
    ASSERT_TRUE(engine->Step(one, {&token, 1}));
    tokens.push_back(token);
  }
  std::vector<int32_t> positions(tokens.size());
  std::iota(positions.begin(), positions.end(), 0);
  const FirstLayer layer(engine->model(), tokens, positions);
  std::vector<size_t> there(kPrompt);
  std::iota(there.begin(), there.end(), 0);
  std::vector<std::vector<double>> rows(tokens.size());  // [position][position]
  const auto see = [&](size_t row) {
    rows[row].resize(tokens.size());
    std::vector<size_t> seen;
    std::ranges::copy_if(there, std::back_inserter(seen), [&](size_t j) { return j <= row; });
    for (uint32_t head = 0; head < 4; ++head) {
      const auto p = layer.Probabilities(head, row, seen);
      for (size_t i = 0; i < seen.size(); ++i) rows[row][seen[i]] += p[i] / 4;
    }
  };
  for (size_t row = 0; row < kPrompt; ++row) see(row);
  for (size_t row = kPrompt; row < tokens.size(); ++row) {
    there.push_back(row);
    see(row);
    if ((row + 1 - kPrompt) % kBlock != 0) continue;
    std::vector<std::pair<double, size_t>> scores;
    const size_t judge = row + 1 - kRows;
    for (size_t j = judge - kBlock; j < judge; ++j) {
      double score = 0;
      for (size_t i = 0; i < kRows; ++i) {
        score += (1 + 0.5 * static_cast<double>(i) / (kRows - 1)) * rows[judge + i][j];
      }
      scores.emplace_back(score, j);
    }
    std::ranges::sort(scores);
    for (size_t i = 0; i < 8; ++i) std::erase(there, scores[i].second);
  }
  EXPECT_EQ(PositionsOf(sequence, 0), std::vector<int32_t>(there.begin(), there.end()));
}

TEST(PyramidInfer, LowPrecision_SealsWhatIsLeft) {
  const auto engine =
      MakeEngine({.layers = kLayers, .width = 128, .query_heads = 2, .kv_heads = 1}, 1, 64);
  Sequence sequence =
      engine->NewSequence(Planned("pyramidinfer(decay=0.7) + q4_0(residual=32)")).value();
  Sequence exact = engine->NewSequence(Planned("pyramidinfer(decay=0.7)")).value();
  ASSERT_TRUE(engine->Feed(sequence, Text(400)));
  ASSERT_TRUE(engine->Feed(exact, Text(400)));
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    EXPECT_EQ(PositionsOf(sequence, layer), PositionsOf(exact, layer));  // the prompt is read exact
    EXPECT_EQ(sequence.cache.num_sealed(layer, 0, Side::kKeys),
              sequence.cache.num_entries(layer, 0) - 32);
  }
  EXPECT_LT(sequence.Usage().held_peak, exact.Usage().held_peak);
  Sequence* const one[] = {&sequence};
  for (int32_t token = 0; token < 48; ++token) ASSERT_TRUE(engine->Step(one, {&token, 1}));
  EXPECT_LT(sequence.cache.num_entries(kLayers - 1, 0),
            exact.cache.num_entries(kLayers - 1, 0) + 48);
}

TEST(PyramidInfer, StepsOfSeveralSequences_ThinOutEachOfThem) {
  const auto engine = MakeEngine();
  Sequence alone = engine->NewSequence(Planned("pyramidinfer")).value();
  ASSERT_TRUE(engine->Feed(alone, Text(200)));
  Sequence together = alone.Fork();
  Sequence other = engine->NewSequence(Planned("full")).value();
  ASSERT_TRUE(engine->Feed(other, Text(50)));
  Sequence* const one[] = {&alone};
  Sequence* const both[] = {&other, &together};
  for (int32_t token = 0; token < 40; ++token) {
    ASSERT_TRUE(engine->Step(one, {&token, 1}));
    const int32_t tokens[] = {3, token};
    ASSERT_TRUE(engine->Step(both, tokens));
  }
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    EXPECT_EQ(PositionsOf(together, layer), PositionsOf(alone, layer));
    EXPECT_EQ(other.cache.num_entries(layer, 0), 90u);
  }
}

TEST(PyramidInfer, HoldsLessWhileThePromptIsRead) {
  const auto engine = MakeEngine();
  Sequence full = engine->NewSequence(Planned("full")).value();
  Sequence pyramid = engine->NewSequence(Planned("pyramidinfer(decay=0.6,block=0)")).value();
  ASSERT_TRUE(engine->Feed(full, Text(800)));
  ASSERT_TRUE(engine->Feed(pyramid, Text(800)));
  EXPECT_LT(static_cast<double>(pyramid.Usage().held_peak),
            0.85 * static_cast<double>(full.Usage().held_peak));
}

}  // namespace
}  // namespace pith
