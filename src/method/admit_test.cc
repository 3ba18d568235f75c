// The stage admit: schedules and choices of LazyLLM and PyramidInfer.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "method/method.h"

namespace pith {
namespace {

std::vector<ParameterValue> Values(const std::vector<double>& numbers) {
  std::vector<ParameterValue> values;
  for (const double number : numbers) values.push_back({.number = number});
  return values;
}

const Part& Lazy() { return *FindPart(Stage::kAdmit, "lazyllm"); }
const Part& Pyramid() { return *FindPart(Stage::kAdmit, "pyramidinfer"); }

std::vector<uint32_t> DropLayers(const Part& part, const std::vector<ParameterValue>& values,
                                 uint32_t num_layers) {
  std::vector<uint32_t> layers;
  for (uint32_t layer = 0; layer < num_layers; ++layer) {
    if (part.drops(values, layer, num_layers)) layers.push_back(layer);
  }
  return layers;
}

std::vector<uint32_t> Kept(const Part& part, const std::vector<ParameterValue>& values,
                           AdmitInput input) {
  std::vector<int32_t> positions(input.scores.size());
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
  input.positions = positions;
  std::vector<uint32_t> kept;
  part.admit(input, values, &kept);
  return kept;
}

TEST(LazyLlmSchedule, Depths_AreLayersDoneBefore) {
  EXPECT_EQ(DropLayers(Lazy(), Values({0.3, 0.25, 3}), 16), (std::vector<uint32_t>{3, 7, 11}));
  EXPECT_EQ(DropLayers(Lazy(), Values({0.3, 0.3, 3}), 32), (std::vector<uint32_t>{9, 18, 28}));
  EXPECT_EQ(DropLayers(Lazy(), Values({0.3, 0.3, 100}), 10), (std::vector<uint32_t>{2, 5, 8}));
  EXPECT_TRUE(DropLayers(Lazy(), Values({0.3, 1, 3}), 16).empty());
  EXPECT_TRUE(DropLayers(Lazy(), Values({0.3, 0.3, 0}), 16).empty());
  EXPECT_TRUE(DropLayers(Lazy(), Values({0, 0.3, 3}), 16).empty());
}

TEST(LazyLlmChoice, BelowThePercentile_Goes) {
  const std::vector<float> scores = {0.5f, 0.1f, 0.4f, 0.2f, 0.3f, 0.0f};
  // The last one counts as the highest. Sorted: .1 .2 .3 .4 .5 inf; the 40th percentile is .3, the
  // 50th lies between .3 and .4.
  EXPECT_EQ(Kept(Lazy(), Values({0.4, 0, 0}), {.scores = scores}),
            (std::vector<uint32_t>{0, 2, 4, 5}));
  EXPECT_EQ(Kept(Lazy(), Values({0.5, 0, 0}), {.scores = scores}),
            (std::vector<uint32_t>{0, 2, 5}));
  EXPECT_EQ(Kept(Lazy(), Values({0, 0, 0}), {.scores = scores}).size(), 6u);
  EXPECT_EQ(Kept(Lazy(), Values({0.99, 0, 0}), {.scores = scores}), (std::vector<uint32_t>{5}));
  const std::vector<float> equal(5, 0.2f);
  EXPECT_EQ(Kept(Lazy(), Values({0.5, 0, 0}), {.scores = equal}).size(), 5u);
  const std::vector<float> one = {0.0f};
  EXPECT_EQ(Kept(Lazy(), Values({0.5, 0, 0}), {.scores = one}), (std::vector<uint32_t>{0}));
}

// recent, decay, least, interval, sinks, weight, block, block_keep, block_decay
std::vector<ParameterValue> PyramidValues(double recent = 0.2, double decay = 0.9,
                                          double least = 64, double interval = 1,
                                          double sinks = 4) {
  return Values({recent, decay, least, interval, sinks, 1.2, 16, 0.9, 0.1});
}

// The ratios r_0 = 1, r_8 = .985355, r_16 = .95, r_24 = .914645, r_31 = .900241, seen through what
// is kept of a million tokens.
TEST(PyramidInferSchedule, Ratios_AreTheGoldenOnes) {
  std::vector<float> scores(1'000'001, 0.5f);
  const auto ratio = [&](uint32_t layer) {
    const auto kept =
        Kept(Pyramid(), PyramidValues(0),
             {.layer = layer, .num_layers = 32, .num_tokens = scores.size(), .scores = scores});
    return static_cast<double>(kept.size() - 1) / 1e6;
  };
  EXPECT_EQ(ratio(0), 1.0);
  EXPECT_NEAR(ratio(8), 0.985355, 1.5e-6);
  EXPECT_NEAR(ratio(16), 0.95, 1.5e-6);
  EXPECT_NEAR(ratio(24), 0.914645, 1.5e-6);
  EXPECT_NEAR(ratio(31), 0.900241, 1.5e-6);
}

TEST(PyramidInferSchedule, Blocks_AreTheGoldenOnes) {
  const std::vector<uint32_t> expected = {14, 14, 14, 14, 13, 13, 13, 12, 12, 12, 11,
                                          10, 10, 9,  9,  8,  7,  7,  6,  6,  5,  4,
                                          4,  3,  3,  2,  2,  2,  1,  1,  1,  1};
  for (uint32_t layer = 0; layer < 32; ++layer) {
    const AdmitBlock block = Pyramid().block(PyramidValues(), layer, 32);
    EXPECT_EQ(block.size, 16u);
    EXPECT_EQ(block.kept, expected[layer]) << layer;
  }
}

TEST(PyramidInferSchedule, Judges_AreTheRecentPartAndOne) {
  EXPECT_EQ(Pyramid().judges(PyramidValues(), 100).rows, 21u);
  EXPECT_EQ(Pyramid().judges(PyramidValues(), 4).rows, 1u);
  EXPECT_EQ(Pyramid().judges(PyramidValues(1), 100).rows, 100u);
  EXPECT_EQ(Pyramid().judges(PyramidValues(), 100).newest_weight, 1.2);
}

TEST(PyramidInferSchedule, Drops_EveryIntervalAndWhereSomethingGoes) {
  EXPECT_EQ(DropLayers(Pyramid(), PyramidValues(0.2, 0.9, 64, 2), 6),
            (std::vector<uint32_t>{2, 4}));
  EXPECT_TRUE(DropLayers(Pyramid(), PyramidValues(0.2, 1), 6).empty());
}

TEST(PyramidInferChoice, BestAndSinksAndTail_Stay) {
  // 20 tokens, a tail of 5, layer 3 of 6: half of (1 + .5) is kept of 15, that is 11.
  std::vector<float> scores(20);
  for (size_t i = 0; i < 20; ++i) scores[i] = static_cast<float>(i);
  const auto kept = [&](double least, double sinks) {
    return Kept(Pyramid(), PyramidValues(0.2, 0.5, least, 1, sinks),
                {.layer = 3, .num_layers = 6, .num_tokens = 20, .scores = scores});
  };
  EXPECT_EQ(kept(0, 2),
            (std::vector<uint32_t>{0, 1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}));
  EXPECT_EQ(kept(0, 0).front(), 4u);
  EXPECT_EQ(kept(11, 2).size(), 20u) << "eleven must go on, and all do";
  EXPECT_EQ(kept(10, 2).size(), 16u);
  EXPECT_EQ(kept(64, 2).size(), 20u);
}

}  // namespace
}  // namespace pith
