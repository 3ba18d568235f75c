// Tokens that no query attends to make no difference: where only they are dropped on the way
// through the layers, the logits are those of the full cache.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "base/rng.h"
#include "engine/engine.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

constexpr uint32_t kLayers = 8, kWidth = 64, kDim = 16, kHeads = 4, kKvHeads = 2;
constexpr uint32_t kFeedForward = 64, kVocabulary = 512;
constexpr uint32_t kUnseenTokens = 128;  // the first of the vocabulary
constexpr uint32_t kUnseenChannel = 0,
                   kOne = 1;               // of the residual: who is unseen; the same for all
constexpr uint32_t kQuietPair = kDim - 2;  // of a head: turned least by the positions

std::vector<float> Random(Rng& rng, size_t rows, float size) {
  std::vector<float> values(rows * kWidth);
  for (float& v : values) v = size * (2 * rng.Float() - 1);
  return values;
}

// Rows of [rows][kWidth] that make one pair of every head what `channel` says, times `factor`.
void SetQuietPair(std::vector<float>& weight, uint32_t heads, uint32_t channel, float factor) {
  for (uint32_t head = 0; head < heads; ++head) {
    const auto pair = weight.begin() + (head * kDim + kQuietPair) * kWidth;
    std::fill(pair, pair + 2 * kWidth, 0.0f);
    pair[channel] = factor;
  }
}

// Every query times every key of an unseen token is less than -1000, and nothing writes to the two
// channels that this comes from.
MakeModelOptions ModelWithUnseenTokens() {
  MakeModelOptions model{.layers = kLayers,
                         .width = kWidth,
                         .query_heads = kHeads,
                         .kv_heads = kKvHeads,
                         .head_dim = kDim,
                         .feed_forward = kFeedForward,
                         .vocabulary = kVocabulary};
  Rng rng(3);
  std::vector<float> embedding = Random(rng, kVocabulary, 1);
  for (uint32_t token = 0; token < kVocabulary; ++token) {
    embedding[token * kWidth + kUnseenChannel] = token < kUnseenTokens ? 4.0f : 0.0f;
    embedding[token * kWidth + kOne] = 4;
  }
  model.weights["token_embd.weight"] = embedding;
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    for (const char* norm : {"attn_norm", "ffn_norm"}) {
      model.weights[block + norm + ".weight"] = std::vector<float>(kWidth, 1.0f);
    }
    std::vector<float> q = Random(rng, kHeads * kDim, 0.3f);
    std::vector<float> k = Random(rng, kKvHeads * kDim, 0.3f);
    SetQuietPair(q, kHeads, kOne, 20);
    SetQuietPair(k, kKvHeads, kUnseenChannel, -20);
    model.weights[block + "attn_q.weight"] = q;
    model.weights[block + "attn_k.weight"] = k;
    for (const char* output : {"attn_output", "ffn_down"}) {  // both have kWidth columns here
      std::vector<float> weight = Random(rng, kWidth, 0.1f);
      std::fill_n(weight.begin(), 2 * kWidth, 0.0f);
      model.weights[block + output + ".weight"] = weight;
    }
  }
  return model;
}

std::unique_ptr<Engine> MakeEngine() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  const std::string path =
      std::filesystem::path(testing::TempDir()) / (std::string(test->name()) + ".gguf");
  const Status made = MakeModel(ModelWithUnseenTokens(), path);
  if (!made) throw std::runtime_error(made.error().Message());
  auto engine = Engine::Create({.model_path = path, .num_threads = 1, .chunk = 64});
  std::filesystem::remove(path);
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

// Two of five tokens are unseen, but for the first ones and the last.
std::vector<int32_t> Text(size_t length) {
  Rng rng(8);
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < length; ++i) {
    const bool unseen = i % 5 < 2 && i > 5 && i + 1 < length;
    tokens.push_back(static_cast<int32_t>(unseen ? rng.Below(kUnseenTokens)
                                                 : kUnseenTokens + rng.Below(kVocabulary / 2)));
  }
  return tokens;
}

// Of the prompt and of some tokens after it.
std::vector<std::vector<float>> LogitsOf(Engine& engine, Sequence& sequence,
                                         std::span<const int32_t> prompt, int32_t num_generated) {
  std::vector<std::vector<float>> logits;
  const auto last = engine.Feed(sequence, prompt).value();
  logits.emplace_back(last.begin(), last.end());
  Sequence* const one[] = {&sequence};
  for (int32_t token = 200; token < 200 + num_generated; ++token) {
    const auto row = engine.Step(one, {&token, 1}).value();
    logits.emplace_back(row.begin(), row.end());
  }
  return logits;
}

// As a share of the greatest logit of the step, the most of all steps.
float Difference(const std::vector<std::vector<float>>& expected,
                 const std::vector<std::vector<float>>& logits) {
  float most = 0;
  for (size_t step = 0; step < logits.size(); ++step) {
    float largest = 0, off = 0;
    for (size_t i = 0; i < logits[step].size(); ++i) {
      largest = std::max(largest, std::abs(expected[step][i]));
      off = std::max(off, std::abs(expected[step][i] - logits[step][i]));
    }
    most = std::max(most, off / largest);
  }
  return most;
}

uint64_t Sum(std::span<const uint64_t> numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), uint64_t{0});
}

TEST(LayerLoop, OnlyUnseenTokensDropped_LogitsOfTheFullCache) {
  constexpr int32_t kSteps = 12;
  constexpr float kRounding = 1e-4f;  // sums have other lengths
  const auto engine = MakeEngine();
  const std::vector<int32_t> prompt = Text(400);
  const auto run = [&](const std::string& recipe, int32_t steps, uint64_t* computed) {
    Sequence sequence = engine->NewSequence(PlannedRun{ParseRecipe(recipe).value(), {}}).value();
    auto logits = LogitsOf(*engine, sequence, prompt, steps);
    *computed = Sum(sequence.ComputedTokens());
    return logits;
  };
  // The share of LazyLLM is a percentile: here it lies between the greatest score of the unseen,
  // which is 0, and the least of the others. After one more token it still does.
  const auto num_unseen = std::ranges::count_if(
      prompt, [](int32_t token) { return token < static_cast<int32_t>(kUnseenTokens); });
  const double share =
      (static_cast<double>(num_unseen) - 0.5) / static_cast<double>(prompt.size() - 1);
  uint64_t all = 0, computed = 0;
  const auto expected = run("full", kSteps, &all);
  const std::string lazy = fmt::format("lazyllm(prune={:.6f},depth=0.5,times=1)", share);
  EXPECT_LE(Difference(expected, run(lazy, 1, &computed)), kRounding);
  EXPECT_LT(computed, all * 9 / 10);
  const std::string pyramid = "pyramidinfer(decay=0.83,least=8,block=0)";
  EXPECT_LE(Difference(expected, run(pyramid, kSteps, &computed)), kRounding);
  EXPECT_LT(computed, all * 95 / 100);
  // Where others are dropped too, they differ.
  EXPECT_GT(Difference(expected, run("lazyllm(prune=0.6,depth=0.5,times=1)", 1, &computed)),
            10 * kRounding);
  EXPECT_GT(Difference(expected, run("pyramidinfer(decay=0.5,least=8,block=0)", 1, &computed)),
            10 * kRounding);
}

}  // namespace
}  // namespace pith
