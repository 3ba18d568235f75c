// Streaming with positions in the cache, against the paper's way: every key turned to its place in
// the cache, and the query to the place behind the last.
#include "engine/move_sinks.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>

#include "engine/engine.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

constexpr uint32_t kContext = 128;
constexpr float kRopeBase = 10000.0f;
constexpr uint32_t kDim = 16;

std::unique_ptr<Engine> MakeEngine(MakeArchitecture architecture) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("pith-sinks-" + std::to_string(::getpid()) + ".gguf");
  EXPECT_TRUE(MakeModel({.architecture = architecture,
                         .layers = 2,
                         .head_dim = kDim,
                         .context = kContext,
                         .rope_base = kRopeBase},
                        path));
  auto engine =
      Engine::Create({.model_path = path.string(), .num_threads = 1, .chunk = 16, .repack = false});
  std::remove(path.c_str());
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

PlannedRun Planned(std::string_view recipe, std::string_view budget) {
  return {ParseRecipe(recipe).value(), ParseBudget(budget).value()};
}

int32_t Token(size_t i) { return static_cast<int32_t>((i * i * 7 + i) % 251); }

std::vector<int32_t> Text(size_t length) {
  std::vector<int32_t> tokens(length);
  for (size_t i = 0; i < length; ++i) tokens[i] = Token(i);
  return tokens;
}

std::vector<float> Step(Engine& engine, Sequence& sequence, int32_t token) {
  Sequence* const one[] = {&sequence};
  const auto logits = engine.Step(one, {&token, 1}).value();
  return {logits.begin(), logits.end()};
}

// The same entries with every key turned, in double precision, from its position to its index.
Sequence AtCachePositions(Engine& engine, const Sequence& from, bool interleaved) {
  Sequence to = engine.NewSequence({ParseRecipe("f32").value(), {}}).value();
  const CacheSpec& spec = from.cache.spec();
  const auto n = static_cast<uint32_t>(from.cache.num_entries(0, 0));
  std::vector<int32_t> indices(n), positions(n);
  for (uint32_t i = 0; i < n; ++i) indices[i] = static_cast<int32_t>(i);
  EXPECT_TRUE(to.cache.Extend(indices));
  std::vector<float> keys(size_t{n} * kDim), values(size_t{n} * kDim);
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      from.cache.Positions(layer, head, positions);
      from.cache.ReadKeys(layer, head, 0, n, keys.data());
      from.cache.ReadValues(layer, head, 0, n, values.data());
      for (uint32_t i = 0; i < n; ++i) {
        for (uint32_t pair = 0; pair < kDim / 2; ++pair) {
          const double angle =
              (static_cast<double>(i) - positions[i]) * std::pow(kRopeBase, -2.0 * pair / kDim);
          float& a = keys[i * kDim + (interleaved ? 2 * pair : pair)];
          float& b = keys[i * kDim + (interleaved ? 2 * pair + 1 : pair + kDim / 2)];
          const double x = a, y = b;
          a = static_cast<float>(x * std::cos(angle) - y * std::sin(angle));
          b = static_cast<float>(x * std::sin(angle) + y * std::cos(angle));
        }
      }
      to.cache.WriteKeys(layer, head, 0, n, keys.data(), kDim);
      to.cache.WriteValues(layer, head, 0, n, values.data(), kDim);
    }
  }
  to.tokens.resize(n);
  return to;
}

TEST(MoveSinks, IsTheSameAsTurningEveryKeyToItsPlaceInTheCache) {
  for (const auto architecture : {MakeArchitecture::kLlama, MakeArchitecture::kQwen2}) {
    const auto engine = MakeEngine(architecture);
    Sequence sequence =
        engine->NewSequence(Planned("score=streaming(positions=cache) + when=always + f32", "24"))
            .value();
    ASSERT_TRUE(engine->Feed(sequence, Text(90)));
    ASSERT_TRUE(engine->Compress(sequence));
    for (size_t i = 0; i < 20; ++i) Step(*engine, sequence, Token(i));
    Sequence plain = AtCachePositions(*engine, sequence, architecture == MakeArchitecture::kLlama);
    const auto moved = Step(*engine, sequence, 33);
    const auto reference = Step(*engine, plain, 33);
    double largest = 0;
    for (size_t i = 0; i < moved.size(); ++i) {
      largest = std::max(largest, std::abs(double{moved[i]} - reference[i]));
    }
    EXPECT_LT(largest, 1e-4);
  }
}

TEST(MoveSinks, TextsMayBeLonger_ThanTheContext) {
  const auto engine = MakeEngine(MakeArchitecture::kLlama);
  Sequence sequence =
      engine->NewSequence(Planned("score=streaming(positions=cache) + when=always", "40")).value();
  ASSERT_TRUE(engine->Feed(sequence, Text(300)));
  ASSERT_TRUE(engine->Compress(sequence));
  for (size_t i = 0; i < 10 * 40; ++i) {
    Step(*engine, sequence, Token(i));
    ASSERT_EQ(sequence.cache.num_entries(1, 1), 40u);
  }
  std::vector<int32_t> positions(40);
  sequence.cache.Positions(1, 1, positions);
  EXPECT_EQ(positions.front(), 700 - 40);
  EXPECT_EQ(positions.back(), 699);

  // Without any of these it ends at the context.
  for (const char* recipe : {"score=streaming + when=always", "streaming(positions=cache)"}) {
    Sequence bounded = engine->NewSequence(Planned(recipe, "40")).value();
    EXPECT_FALSE(engine->Feed(bounded, Text(129))) << recipe;
  }
  Sequence wide =
      engine->NewSequence(Planned("score=streaming(positions=cache) + when=always", "120")).value();
  EXPECT_FALSE(engine->Feed(wide, Text(129)));
}

TEST(MoveSinks, ForksAndShortTexts) {
  const auto engine = MakeEngine(MakeArchitecture::kLlama);
  const PlannedRun run = Planned("streaming(positions=cache)", "30");
  Sequence sequence = engine->NewSequence(run).value();
  Sequence full = engine->NewSequence();
  const auto read = [&](Sequence& s) {
    const auto logits = engine->Feed(s, Text(25)).value();
    return std::vector<float>(logits.begin(), logits.end());
  };
  EXPECT_EQ(read(sequence), read(full));
  ASSERT_TRUE(engine->Compress(sequence));
  // Nothing is dropped yet, so nothing moves.
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(Step(*engine, sequence, Token(i)), Step(*engine, full, Token(i)));
  }
  Step(*engine, sequence, 1);
  Sequence fork = sequence.Fork();
  for (size_t i = 0; i < 9; ++i) Step(*engine, fork, 100 + Token(i));
  Sequence alone = engine->NewSequence(run).value();
  read(alone);
  ASSERT_TRUE(engine->Compress(alone));
  for (size_t i = 0; i < 5; ++i) Step(*engine, alone, Token(i));
  Step(*engine, alone, 1);
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(Step(*engine, sequence, Token(i)), Step(*engine, alone, Token(i)));
  }
}

TEST(MoveSinks, PinnedRanges_AreRefused) {
  const auto engine = MakeEngine(MakeArchitecture::kLlama);
  Sequence sequence = engine->NewSequence(Planned("streaming(positions=cache)", "30")).value();
  sequence.pinned = {{10, 12}};
  ASSERT_TRUE(engine->Feed(sequence, Text(100)));
  EXPECT_FALSE(engine->Compress(sequence));
  EXPECT_EQ(sequence.cache.num_entries(1, 1), 100u);  // nothing was dropped
}

// An allocation without a budget has no window that bounds the text.
TEST(MoveSinks, NoBudget_EndsAtTheContext) {
  const auto engine = MakeEngine(MakeArchitecture::kLlama);
  const PlannedRun run{
      ParseRecipe("score=streaming(positions=cache) + alloc=duo + when=always").value(), {}};
  Sequence sequence = engine->NewSequence();
  sequence.kv = run;
  EXPECT_EQ(engine->MaxTokens(sequence), kContext);
}

}  // namespace
}  // namespace pith
