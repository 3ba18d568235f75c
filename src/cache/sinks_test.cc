// Lists whose first entries are never sealed: where they lie, and what is refused.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "base/hash.h"
#include "cache/cache.h"
#include "cache/test_model.h"

namespace pith {
namespace {

using testing::Append;
using testing::CheckEqual;
using testing::kGroupForm;
using testing::Model;
using testing::Owner;
using testing::Positions;
using testing::Saved;

// One head; keys sealed in groups of 32, values one by one; the first five are never sealed.
CacheSpec SinkSpec() {
  return {.num_layers = 1,
          .num_kv_heads = 1,
          .keys = {.form = FindForm("f32"), .dim = 12, .sealed = &kGroupForm},
          .values = {.form = FindForm("f32"), .dim = 12, .sealed = FindForm("bf16")},
          .num_sinks = 5};
}

void SealBoth(SequenceCache* cache, Model* model, uint64_t keys, uint64_t values) {
  ASSERT_TRUE(cache->Seal(std::vector<SealRequest>{{.side = Side::kKeys, .count = keys},
                                                   {.side = Side::kValues, .count = values}}));
  model->Seal({0, 0}, Side::kKeys, keys);
  model->Seal({0, 0}, Side::kValues, values);
}

TEST(Sinks, FirstEntries_StayInFrontOfSealedOnes) {
  PagePool pool;
  Rng rng(1);
  SequenceCache cache(&pool, SinkSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 100, 0, &rng));
  EXPECT_EQ(cache.num_unsealed(0, 0, Side::kKeys), 95u);
  SealBoth(&cache, &model, 64, 80);
  CheckEqual(cache, model);
  const HeadView head = cache.Head(0, 0);
  ASSERT_EQ(head.keys.size(), 4u);  // sinks, two groups, the tail
  EXPECT_EQ(head.keys[0].count, 5u);
  EXPECT_EQ(head.keys[0].form, FindForm("f32"));
  EXPECT_EQ(head.keys[1].form, &kGroupForm);
  EXPECT_EQ(head.keys[1].first_position, 5);
  EXPECT_EQ(head.keys[3].first_position, 69);
  ASSERT_EQ(head.values.size(), 3u);
  EXPECT_EQ(head.values[2].count, 15u);
  EXPECT_EQ(cache.num_sealed(0, 0, Side::kKeys), 64u);
  EXPECT_EQ(cache.num_unsealed(0, 0, Side::kKeys), 31u);
  // Sinks 8 x 48, groups as ever, 48 and 16 of tail; values 8 x 48, 96 of 24, 16 of 48.
  EXPECT_EQ(cache.Usage().held, 384u + 2 * 512 + 32 * 48 + 384 + 96 * 24 + 16 * 48);

  ASSERT_TRUE(Append(&cache, &model, 40, 0, &rng));
  SealBoth(&cache, &model, 32, 10);
  CheckEqual(cache, model);
  const std::vector<std::byte> bytes = Saved(cache);
  auto loaded = SequenceCache::Load(&pool, cache.spec(), bytes, "bytes");
  ASSERT_TRUE(loaded) << loaded.error().Message();
  CheckEqual(*loaded, model);
  EXPECT_EQ(Saved(*loaded), bytes);
}

// Dropped sinks are gone: entries behind them do not take their place.
TEST(Sinks, DroppedOnes_AreFewer) {
  PagePool pool;
  Rng rng(2);
  SequenceCache cache(&pool, SinkSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 60, 0, &rng));
  std::vector<uint32_t> kept = {1, 4};
  for (uint32_t i = 6; i < 60; ++i) kept.push_back(i);
  ASSERT_TRUE(cache.Keep(0, 0, kept));
  model.Keep({0, 0}, kept);
  EXPECT_EQ(cache.num_unsealed(0, 0, Side::kValues), 54u);
  SealBoth(&cache, &model, 32, 54);
  CheckEqual(cache, model);
  EXPECT_EQ(cache.Head(0, 0).keys[0].count, 2u);
  kept.assign({0, 2, 3, 40, 55});
  ASSERT_TRUE(cache.Keep(0, 0, kept));
  model.Keep({0, 0}, kept);
  CheckEqual(cache, model);
  EXPECT_EQ(cache.Head(0, 0).keys[0].count, 1u);
}

TEST(Sinks, TruncatedAndReadAnew_AreSinksAgain) {
  PagePool pool;
  Rng rng(3);
  SequenceCache cache(&pool, SinkSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 60, 0, &rng));
  SealBoth(&cache, &model, 32, 50);
  cache.Truncate(3);
  model.Truncate(3);
  CheckEqual(cache, model);
  ASSERT_TRUE(Append(&cache, &model, 50, 0, &rng));
  EXPECT_EQ(cache.num_unsealed(0, 0, Side::kKeys), 48u);
  CheckEqual(cache, model);
  SealBoth(&cache, &model, 40, 1);
  CheckEqual(cache, model);
  EXPECT_EQ(cache.Head(0, 0).keys[0].count, 5u);
}

// Where saved numbers contradict each other under a right checksum.
TEST(Sinks, CountsThatContradictPositions_AreRefused) {
  PagePool pool;
  Rng rng(4);
  CacheSpec spec = SinkSpec();
  spec.keys.sealed = FindForm("bf16");
  SequenceCache cache(&pool, spec);
  Model model(spec);
  ASSERT_TRUE(Append(&cache, &model, 40, 0, &rng));
  SealBoth(&cache, &model, 20, 20);
  const std::vector<std::byte> bytes = Saved(cache);
  // Entries 40, sinks 5, sealed 20: as the list of keys begins.
  const uint64_t begin[] = {40, 5, 20};
  const auto at = static_cast<size_t>(std::search(bytes.begin(), bytes.end(),
                                                  std::as_bytes(std::span(begin)).begin(),
                                                  std::as_bytes(std::span(begin)).end()) -
                                      bytes.begin());
  ASSERT_LT(at, bytes.size());
  for (const uint64_t sinks : {uint64_t{0}, uint64_t{4}, uint64_t{6}, uint64_t{41},
                               std::numeric_limits<uint64_t>::max()}) {
    std::vector<std::byte> damaged = bytes;
    std::memcpy(damaged.data() + at + 8, &sinks, sizeof(sinks));
    Hasher hasher;
    hasher.Add(std::span<const std::byte>(damaged).first(damaged.size() - 8));
    const uint64_t checksum = hasher.Finish();
    std::memcpy(damaged.data() + damaged.size() - 8, &checksum, 8);
    const auto loaded = SequenceCache::Load(&pool, spec, damaged, "bytes");
    ASSERT_FALSE(loaded) << sinks;
    EXPECT_EQ(loaded.error().kind, ErrorKind::kInput) << sinks;
  }
  CacheSpec fewer = spec;
  fewer.num_sinks = 4;
  const auto other = SequenceCache::Load(&pool, fewer, bytes, "bytes");
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().Message().find("bf16+sinks5 instead of bf16+sinks4"), std::string::npos)
      << other.error().Message();
}

TEST(Sinks, WrongCalls_AreCheckedBugs) {
  PagePool pool;
  SequenceCache cache(&pool, SinkSpec());
  ASSERT_TRUE(cache.Extend(Positions(0, 40)));
  const auto seal = [&](uint64_t count) {
    (void)cache.Seal(std::vector<SealRequest>{{.count = count}});
  };
  EXPECT_THROW(seal(36), std::logic_error);
  seal(35);
  const float row[12] = {};
  EXPECT_THROW(cache.WriteKeys(0, 0, 0, 1, row, 12), std::logic_error);
  CacheSpec wrong = SinkSpec();
  wrong.num_sinks = kMaxPageEntries + 1;
  EXPECT_THROW(SequenceCache(&pool, wrong), std::logic_error);
}

}  // namespace
}  // namespace pith
