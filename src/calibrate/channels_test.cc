#include "calibrate/channels.h"

#include <gtest/gtest.h>

#include "cache/page.h"

namespace pith {
namespace {

// One layer, one KV head of 2 channels under two query heads; two tokens.
TEST(ChannelScores, AreSharesOfWhatChannelsCarry) {
  const ModelShape shape{.num_layers = 1, .num_query_heads = 2, .num_kv_heads = 1, .key_dim = 2};
  CacheSpec spec{.num_layers = 1, .num_kv_heads = 1};
  spec.keys = spec.values = {.form = FindForm("f32"), .dim = 2};
  PagePool pool(0);
  SequenceCache cache(&pool, spec);
  const int32_t positions[] = {0, 1};
  ASSERT_TRUE(cache.Extend(positions));
  const float keys[] = {1, -2, 3, 0};                 // [token][channel]
  const float queries[] = {1, 1, -2, 0, 0, 3, 1, 1};  // [token][head][channel]
  cache.WriteKeys(0, 0, 0, 2, keys, 2);
  ChannelScores scores(shape);
  EXPECT_EQ(scores.Labels(), (std::vector<float>{0, 0})) << "nothing was seen";
  const QueryRows rows{.data = queries, .row_stride = 4, .head_stride = 2, .count = 2};
  scores.Observe(0, cache, rows, rows, 0, 1);
  // |q k|: channel 0: 1 + 2 + 0 + 3 = 6; channel 1: 2 + 0 + 0 + 0 = 2.
  EXPECT_EQ(scores.Labels(), (std::vector<float>{0.75f, 0.25f}));
  // q^2: 1 + 4 + 0 + 1 = 6 and 1 + 0 + 9 + 1 = 11; k^2: 10 and 4.
  EXPECT_EQ(scores.Energies(), (std::vector<float>{60.0f / 104, 44.0f / 104}));
}

}  // namespace
}  // namespace pith
