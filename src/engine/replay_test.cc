#include "engine/replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "engine/test_first_layer.h"

namespace pith {
namespace {

constexpr uint32_t kLength = 90, kSinks = 4;

std::unique_ptr<Engine> NanoEngine(uint32_t context = 0) {
  auto engine = Engine::Create({.model_path = PITH_SOURCE_DIR "/models/nano/nano.gguf",
                                .context = context,
                                .num_threads = 1,
                                .repack = false});
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

std::vector<int32_t> Text() {
  std::vector<int32_t> tokens(kLength);
  for (uint32_t i = 0; i < kLength; ++i) tokens[i] = static_cast<int32_t>((i * i * 7 + i) % 251);
  return tokens;
}

PlannedRun Planned(const std::string& recipe, const std::string& budget) {
  return {ParseRecipe(recipe).value(), ParseBudget(budget).value()};
}

std::vector<std::byte> BytesOf(const Sequence& sequence) {
  std::vector<std::byte> bytes;
  sequence.cache.Save(&bytes);
  return bytes;
}

class ReplayTest : public testing::Test {
 protected:
  ReplayTest()
      : engine_(NanoEngine()),
        runner_(engine_->model(), 2),
        text_(MakeReplayText(engine_->tokenizer()).value()),
        sequence_(engine_->NewSequence(Planned("kvzip + f32", "20")).value()) {
    EXPECT_TRUE(engine_->Feed(sequence_, Text()));
  }

  std::vector<std::vector<float>> Scores(uint32_t chunk, uint32_t step_rows = 64) {
    return Replay({runner_, engine_->model().shape(), text_, 2048, step_rows, {}}, sequence_, chunk,
                  kSinks)
        .value();
  }

  // Every third entry of the first layer is dropped, and more of its first head.
  void DropSome() {
    for (uint32_t head = 0; head < engine_->model().shape().num_kv_heads; ++head) {
      std::vector<uint32_t> kept;
      for (uint32_t i = 0; i < kLength; ++i) {
        if (i % 3 != 1 && (head > 0 || i < 70)) kept.push_back(i);
      }
      ASSERT_TRUE(sequence_.cache.Keep(0, head, kept));
    }
  }

  void ExpectAsWorkedOut(uint32_t chunk);

  std::unique_ptr<Engine> engine_;
  StepRunner runner_;
  ReplayText text_;
  Sequence sequence_;
};

// Works the first layer out by hand: what each token of each repetition gives to the entries.
void ReplayTest::ExpectAsWorkedOut(uint32_t chunk) {
  const auto is_always = [&](int32_t i) {
    const auto holds = [i](const PositionRange& r) { return i >= r.first && i < r.second; };
    return i < static_cast<int32_t>(kSinks) || std::ranges::any_of(sequence_.pinned, holds);
  };
  const ModelShape& shape = engine_->model().shape();
  const uint32_t group = shape.num_query_heads / shape.num_kv_heads;
  std::vector<std::vector<double>> expected(shape.num_kv_heads, std::vector<double>(kLength));
  std::vector<int32_t> repeated;
  for (int32_t i = 0; i < static_cast<int32_t>(kLength); ++i) {
    if (!is_always(i)) repeated.push_back(i);
  }
  for (size_t first = 0; first < repeated.size(); first += chunk) {
    const size_t end = std::min<size_t>(first + chunk, repeated.size());
    std::vector<int32_t> tokens = Text();
    const auto append = [&](std::span<const int32_t> more) {
      tokens.insert(tokens.end(), more.begin(), more.end());
    };
    append(first == 0 ? text_.first : text_.later);
    for (size_t i = first - std::min<size_t>(first, 8); i < first; ++i) {
      tokens.push_back(Text()[static_cast<size_t>(repeated[i])]);
    }
    append(text_.turn);
    for (size_t i = first; i < end; ++i) {
      tokens.push_back(Text()[static_cast<size_t>(repeated[i])]);
    }
    std::vector<int32_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), 0);
    const FirstLayer layer(engine_->model(), tokens, positions);
    for (uint32_t head = 0; head < shape.num_query_heads; ++head) {
      std::vector<int32_t> held(sequence_.cache.num_entries(0, head / group));
      sequence_.cache.Positions(0, head / group, held);
      std::vector<size_t> seen;
      for (const int32_t j : held) {
        if (is_always(j) || (j >= repeated[first] && j <= repeated[end - 1])) {
          seen.push_back(static_cast<size_t>(j));
        }
      }
      const size_t of_text = seen.size();
      for (size_t row = kLength; row < tokens.size(); ++row) {
        seen.push_back(row);
        const std::vector<double> p = layer.Probabilities(head, row, seen);
        for (size_t i = 0; i < of_text; ++i) {
          double& best = expected[head / group][seen[i]];
          best = std::max(best, p[i]);
        }
      }
    }
  }
  const auto scores = Scores(chunk);
  for (uint32_t head = 0; head < shape.num_kv_heads; ++head) {
    std::vector<int32_t> held(sequence_.cache.num_entries(0, head));
    sequence_.cache.Positions(0, head, held);
    ASSERT_EQ(scores[head].size(), held.size());
    for (size_t i = 0; i < held.size(); ++i) {
      EXPECT_NEAR(scores[head][i], expected[head][static_cast<size_t>(held[i])], 1e-4)
          << head << " " << held[i];
    }
  }
}

TEST_F(ReplayTest, FirstLayer_AsWorkedOutByHand) {
  ExpectAsWorkedOut(200);
  ExpectAsWorkedOut(40);
  sequence_.pinned = {{10, 13}, {50, 51}};
  ExpectAsWorkedOut(17);
}

TEST_F(ReplayTest, EvictedEntries_AreNotThere) {
  DropSome();
  ExpectAsWorkedOut(40);
}

TEST_F(ReplayTest, Scores_AreProbabilitiesAndNotAllTheSame) {
  for (const auto& head : Scores(30)) {
    ASSERT_EQ(head.size(), kLength);
    for (const float score : head) {
      EXPECT_GT(score, 0.0f);
      EXPECT_LE(score, 1.0f);
    }
    EXPECT_GT(std::ranges::max(head), 2 * std::ranges::min(head));
  }
}

TEST_F(ReplayTest, ChunkOfTheWholeText_EqualsAnyLargerOne) {
  EXPECT_EQ(Scores(kLength - kSinks), Scores(2000));
  EXPECT_NE(Scores(kLength - kSinks - 1), Scores(2000));
}

TEST_F(ReplayTest, Steps_MakeNoDifference) { EXPECT_EQ(Scores(40, 512), Scores(40, 7)); }

TEST_F(ReplayTest, Cache_StaysAsItIs) {
  DropSome();
  const auto before = BytesOf(sequence_);
  const uint64_t held = sequence_.cache.Usage().held;
  Scores(40);
  EXPECT_EQ(BytesOf(sequence_), before);
  EXPECT_EQ(sequence_.cache.Usage().held, held);
  EXPECT_EQ(sequence_.tokens, Text());
}

TEST(Replay, NoRoomInTheContext_Refused) {
  const auto engine = NanoEngine(kLength + 60);
  Sequence sequence = engine->NewSequence(Planned("kvzip", "20")).value();
  ASSERT_TRUE(engine->Feed(sequence, Text()));
  const auto before = BytesOf(sequence);
  const Status refused = engine->Compress(sequence);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kInput);
  for (const char* part : {"90 tokens", "150", "--ctx", "chunk="}) {
    EXPECT_NE(refused.error().Message().find(part), std::string::npos) << part;
  }
  EXPECT_EQ(BytesOf(sequence), before);
  // With a smaller chunk, or nothing to drop, there is room.
  Sequence small = engine->NewSequence(Planned("kvzip(chunk=5)", "20")).value();
  ASSERT_TRUE(engine->Feed(small, Text()));
  EXPECT_TRUE(engine->Compress(small));
  Sequence whole = engine->NewSequence(Planned("kvzip", "90")).value();
  ASSERT_TRUE(engine->Feed(whole, Text()));
  EXPECT_TRUE(engine->Compress(whole));
}

TEST(Replay, Interrupted_LeavesTheCacheAsItIs) {
  const auto engine = NanoEngine();
  Sequence sequence = engine->NewSequence(Planned("kvzip(chunk=20)", "20")).value();
  ASSERT_TRUE(engine->Feed(sequence, Text()));
  const auto before = BytesOf(sequence);
  size_t calls = 0;
  const Status stopped = engine->Compress(sequence, nullptr, [&](size_t done, size_t total) {
    EXPECT_LT(done, total);
    return ++calls < 2;
  });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().what, "interrupted");
  EXPECT_EQ(calls, 2u);
  EXPECT_EQ(BytesOf(sequence), before);
}

TEST(Replay, LogitsOfThePrompt_StayValid) {
  const auto engine = NanoEngine();
  Sequence sequence = engine->NewSequence(Planned("kvzip(chunk=20)", "20")).value();
  const auto logits = engine->Feed(sequence, Text()).value();
  const std::vector<float> before(logits.begin(), logits.end());
  ASSERT_TRUE(engine->Compress(sequence));
  EXPECT_TRUE(std::ranges::equal(logits, before));
  EXPECT_EQ(sequence.cache.Usage().entries,
            20u * engine->model().shape().num_layers * engine->model().shape().num_kv_heads);
}

}  // namespace
}  // namespace pith
