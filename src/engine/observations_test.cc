// What is gathered during steps, against the first layer worked out by hand: its queries and keys
// from the model's own segments in one graph, attention in float64 over the whole matrix.
#include "engine/observations.h"

#include <gtest/gtest.h>

#include <numeric>

#include "engine/engine.h"
#include "engine/test_first_layer.h"

namespace pith {
namespace {

constexpr uint32_t kRows = 90;

TEST(Observations, FirstLayer_AsWorkedOutByHand) {
  auto created = Engine::Create(
      {.model_path = PITH_SOURCE_DIR "/models/nano/nano.gguf", .chunk = 37, .repack = false});
  ASSERT_TRUE(created);
  Engine& engine = **created;
  std::vector<PlannedRun> runs;
  for (const char* recipe : {"h2o + f32", "snapkv + f32"}) {
    runs.push_back({ParseRecipe(recipe).value(), ParseBudget("50").value()});
  }
  runs.push_back({ParseRecipe("fastgen(local=0.19) + f32").value(), std::nullopt});
  Sequence sequence = engine.NewSequence(runs).value();
  std::vector<int32_t> tokens(kRows);
  for (uint32_t i = 0; i < kRows; ++i) tokens[i] = static_cast<int32_t>((i * i * 7 + i) % 251);
  ASSERT_TRUE(engine.Feed(sequence, tokens));

  const HyperParams& p = engine.model().params();
  const uint32_t group = p.num_query_heads / p.num_kv_heads;
  std::vector<int32_t> numbers(kRows);
  std::iota(numbers.begin(), numbers.end(), 0);
  const FirstLayer truth(engine.model(), tokens, numbers);
  for (uint32_t head = 0; head < p.num_query_heads; ++head) {
    std::vector<float> queries;
    std::vector<int32_t> positions;
    sequence.observations.Window(0, head / group, &queries, &positions);
    ASSERT_EQ(positions.size(), 32u);
    for (uint32_t i = 0; i < 32; ++i) {
      ASSERT_EQ(positions[i], static_cast<int32_t>(kRows - 32 + i));
      for (uint32_t c = 0; c < p.key_dim; ++c) {
        const float q = queries[(size_t{head % group} * 32 + i) * p.key_dim + c];
        EXPECT_NEAR(q, truth.Query(kRows - 32 + i, head)[c], 1e-3) << head << " " << i << " " << c;
      }
    }

    std::vector<double> sums(kRows), band_sums(kRows);
    std::vector<size_t> seen;
    for (size_t i = 0; i < kRows; ++i) {
      seen.push_back(i);
      const std::vector<double> given = truth.Probabilities(head, i, seen);
      for (size_t j = 0; j <= i; ++j) {
        sums[j] += given[j];
        if (i - j < 18) band_sums[j] += given[j];
      }
    }
    const auto band = sequence.observations.BandSums(0, head / group)[head % group];
    ASSERT_EQ(band.size(), kRows);
    EXPECT_EQ(sequence.observations.band_width(), 18);  // 17.1, rounded up
    for (uint32_t j = 0; j < kRows; ++j) {
      EXPECT_NEAR(band[j], band_sums[j], 1e-3 * (1 + band_sums[j])) << head << " " << j;
    }
    const auto gathered = sequence.observations.ColumnSums(0, head / group)[head % group];
    ASSERT_EQ(gathered.size(), kRows);
    for (uint32_t j = 0; j < kRows; ++j) {
      EXPECT_NEAR(gathered[j], sums[j], 1e-3 * (1 + sums[j])) << head << " " << j;
    }
  }
}

}  // namespace
}  // namespace pith
