#include "calibrate/similarity.h"

#include <gtest/gtest.h>

#include "cache/page.h"

namespace pith {
namespace {

// Three layers of one head: the second holds the first one's keys doubled, the third their
// opposites for half of the tokens; values stand upright on each other, and the third are zero.
TEST(LayerSimilarity, IsTheMeanCosineBehindTheSinks) {
  const ModelShape shape{.num_layers = 3, .num_query_heads = 1, .num_kv_heads = 1, .key_dim = 2};
  CacheSpec spec{.num_layers = 3, .num_kv_heads = 1};
  spec.keys = spec.values = {.form = FindForm("f32"), .dim = 2};
  PagePool pool(0);
  SequenceCache cache(&pool, spec);
  constexpr uint32_t kTokens = 8;
  const int32_t positions[kTokens] = {0, 1, 2, 3, 4, 5, 6, 7};
  ASSERT_TRUE(cache.Extend(positions));
  std::vector<float> keys[3], values[3];
  for (uint32_t i = 0; i < kTokens; ++i) {
    // The sinks are unlike everywhere, and must not count.
    const float sign = i < 4 ? -1.0f : 1.0f;
    const auto x = static_cast<float>(i + 1);
    keys[0].insert(keys[0].end(), {x, 2});
    keys[1].insert(keys[1].end(), {2 * sign * x, 4 * sign});
    const float half = i % 2 == 0 ? 1.0f : -1.0f;
    keys[2].insert(keys[2].end(), {half * x, half * 2});
    values[0].insert(values[0].end(), {x, 0});
    values[1].insert(values[1].end(), {0, x});
    values[2].insert(values[2].end(), {0, 0});
  }
  for (uint32_t layer = 0; layer < 3; ++layer) {
    cache.WriteKeys(layer, 0, 0, kTokens, keys[layer].data(), 2);
    cache.WriteValues(layer, 0, 0, kTokens, values[layer].data(), 2);
  }
  LayerSimilarity similarity(shape);
  similarity.Add(cache);
  similarity.Add(cache);
  const auto expect = [](const std::vector<float>& actual, const std::vector<float>& truth) {
    ASSERT_EQ(actual.size(), truth.size());
    for (size_t i = 0; i < truth.size(); ++i) EXPECT_NEAR(actual[i], truth[i], 1e-6) << i;
  };
  expect(similarity.Mean(Side::kKeys), {1, 1, 0, 1, 1, 0, 0, 0, 1});
  expect(similarity.Mean(Side::kValues), {1, 0, 0, 0, 1, 0, 0, 0, 1});
}

}  // namespace
}  // namespace pith
