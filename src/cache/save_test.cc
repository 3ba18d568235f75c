#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "cache/cache.h"
#include "cache/test_checksum.h"
#include "cache/test_model.h"

namespace pith {
namespace {

using testing::Append;
using testing::CheckEqual;
using testing::FixChecksum;
using testing::KeepSome;
using testing::Model;
using testing::RandomSpec;
using testing::Saved;
using testing::SealSome;

CacheSpec TinySpec() {
  return {.num_layers = 1,
          .num_kv_heads = 1,
          .keys = {.form = FindForm("f32"), .dim = 1},
          .values = {.form = FindForm("f16"), .dim = 2},
          .side_blocks = {{.name = "s", .side = Side::kKeys, .bytes = 1, .entries_per_unit = 2}}};
}

// Two entries at positions 3 and 5.
SequenceCache TinyCache(PagePool* pool) {
  SequenceCache cache(pool, TinySpec());
  const int32_t positions[] = {3, 5};
  const float keys[] = {1.0f, -2.0f}, values[] = {1.0f, 2.0f, 0.5f, 0.0f};
  EXPECT_TRUE(cache.Extend(positions));
  cache.WriteKeys(0, 0, 0, 2, keys, 1);
  cache.WriteValues(0, 0, 0, 2, values, 2);
  auto unit = cache.SideUnit("s", 0, 0, 0);
  EXPECT_TRUE(unit);
  (*unit)[0] = std::byte{9};
  return cache;
}

// docs/save_format.md, written out.
TEST(Save, TinyCache_HasTheDocumentedBytes) {
  PagePool pool;
  std::vector<std::byte> expected;
  const auto u32 = [&](uint32_t x) {
    for (int i = 0; i < 4; ++i) expected.push_back(static_cast<std::byte>(x >> (8 * i)));
  };
  const auto u16 = [&](uint32_t x) {
    for (int i = 0; i < 2; ++i) expected.push_back(static_cast<std::byte>(x >> (8 * i)));
  };
  const auto text = [&](const std::string& t) {
    u32(static_cast<uint32_t>(t.size()));
    for (const char c : t) expected.push_back(static_cast<std::byte>(c));
  };
  const auto u64 = [&](uint64_t x) {
    u32(static_cast<uint32_t>(x));
    u32(static_cast<uint32_t>(x >> 32));
  };
  for (const char c : {'P', 'K', 'V', 'C'}) expected.push_back(static_cast<std::byte>(c));
  u32(3);    // version
  u64(204);  // bytes in all
  u32(1);    // layers
  u32(1);    // KV heads
  text("f32");
  u32(1);        // form number
  u32(1);        // form version
  u32(0);        // no groups
  text("none");  // no sealed form
  u32(0);
  u32(0);
  u32(0);
  u32(0);  // nor of any layer
  u32(1);  // dim
  u32(0);  // scope
  text("f16");
  u32(2);
  u32(1);
  u32(0);
  text("none");
  u32(0);
  u32(0);
  u32(0);
  u32(0);
  u32(2);
  u32(0);
  u32(0);  // layer groups
  u32(1);  // side blocks
  text("s");
  u32(0);  // keys
  u32(1);  // bytes
  u32(2);  // entries per unit
  u64(2);  // keys
  u32(1);  // explicit positions
  u32(3);
  u32(5);
  u32(0x3F800000);
  u32(0xC0000000);
  expected.push_back(std::byte{9});
  u64(2);  // values
  u16(0x3C00);
  u16(0x4000);
  u16(0x3800);
  u16(0x0000);
  expected.resize(expected.size() + 8);
  FixChecksum(&expected);
  EXPECT_EQ(Saved(TinyCache(&pool)), expected);
}

TEST(Save, AppendsToWhatIsThere) {
  PagePool pool;
  const SequenceCache cache = TinyCache(&pool);
  std::vector<std::byte> bytes(5, std::byte{1});
  cache.Save(&bytes);
  const auto section = std::span(bytes).subspan(5);
  EXPECT_EQ(std::vector<std::byte>(section.begin(), section.end()), Saved(cache));
  EXPECT_TRUE(SequenceCache::Load(&pool, TinySpec(), section, "bytes"));
}

TEST(Save, RandomCaches_LoadEqualAndSaveTheSameBytes) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    PagePool pool, other_pool;
    const CacheSpec spec = RandomSpec(&rng);
    SequenceCache cache(&pool, spec);
    Model model(cache.spec());
    const uint32_t rounds = rng.Below(4);
    for (uint32_t i = 0; i < rounds; ++i) {
      ASSERT_TRUE(Append(&cache, &model, 1 + rng.Below(200), rng.Below(2) * 10, &rng));
      ASSERT_TRUE(SealSome(&cache, &model, &rng));
      ASSERT_TRUE(KeepSome(&cache, &model, &rng));
    }
    const std::vector<std::byte> bytes = Saved(cache);
    auto loaded = SequenceCache::Load(&other_pool, spec, bytes, "bytes");
    ASSERT_TRUE(loaded) << loaded.error().Message();
    CheckEqual(*loaded, model);
    EXPECT_EQ(Saved(*loaded), bytes);
    ASSERT_TRUE(Append(&*loaded, &model, 70, 5, &rng));  // and it can go on
    ASSERT_TRUE(SealSome(&*loaded, &model, &rng));
    CheckEqual(*loaded, model);
    if (HasFatalFailure()) return;
  }
}

TEST(Load, AnyByteFlippedOrMissingOrAdded_IsAnErrorThatNamesTheFile) {
  PagePool pool;
  const std::vector<std::byte> bytes = Saved(TinyCache(&pool));
  const auto expect_refused = [&](std::span<const std::byte> damaged) {
    const auto loaded = SequenceCache::Load(&pool, TinySpec(), damaged, "chat.pith");
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().kind, ErrorKind::kInput);
    EXPECT_EQ(loaded.error().where, "chat.pith");
    EXPECT_EQ(pool.used_bytes(), 0u);
  };
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<std::byte> damaged = bytes;
      damaged[i] ^= static_cast<std::byte>(1 << bit);
      expect_refused(damaged);
    }
  }
  for (size_t size = 0; size < bytes.size(); ++size) expect_refused(std::span(bytes).first(size));
  std::vector<std::byte> longer = bytes;
  longer.push_back(std::byte{0});
  expect_refused(longer);
}

// The checksum keeps accidents out, not intentions: with a right checksum, whatever is inside is
// refused or is a cache that saves to the very same bytes.
TEST(Load, DamageUnderARightChecksum_IsRefusedOrIsACanonicalCache) {
  int refused = 0, accepted = 0;
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    PagePool pool(1 << 20);
    Rng spec_rng(seed % 20);
    const CacheSpec spec = RandomSpec(&spec_rng);
    SequenceCache cache(&pool, spec);
    Model model(cache.spec());
    ASSERT_TRUE(Append(&cache, &model, 1 + rng.Below(40), rng.Below(2) * 30, &rng));
    ASSERT_TRUE(SealSome(&cache, &model, &rng));
    std::vector<std::byte> bytes = Saved(cache);
    const uint32_t damage = rng.Below(4);
    if (damage == 0) {
      bytes.resize(16 + rng.Below(static_cast<uint32_t>(bytes.size()) - 16) + 8);
      const uint64_t size = bytes.size();
      std::memcpy(bytes.data() + 8, &size, 8);
    } else {
      for (uint32_t i = 0; i < damage; ++i) {
        // In the counts and positions rather than in the entries, which may hold anything.
        const auto end = static_cast<uint32_t>(std::min<size_t>(bytes.size() - 8, 280));
        bytes[16 + rng.Below(end - 16)] = static_cast<std::byte>(rng.Next());
      }
    }
    FixChecksum(&bytes);
    const auto loaded = SequenceCache::Load(&pool, spec, bytes, "bytes");
    if (loaded) {
      ++accepted;
      ASSERT_EQ(Saved(*loaded), bytes);
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(accepted, 100);  // entries hold anything
}

TEST(Load, AbsurdCounts_AreRefusedBeforeMemoryIsAskedFor) {
  PagePool pool;
  const std::vector<std::byte> bytes = Saved(TinyCache(&pool));
  constexpr size_t kKeyCount = 16 + 8 + 51 + 51 + 4 + 4 + 17;
  uint64_t count = 0;
  std::memcpy(&count, bytes.data() + kKeyCount, 8);
  ASSERT_EQ(count, 2u);
  for (const uint64_t absurd : {uint64_t{0}, uint64_t{1}, uint64_t{3}, uint64_t{1} << 31,
                                uint64_t{1} << 62, ~uint64_t{0}}) {
    std::vector<std::byte> damaged = bytes;
    std::memcpy(damaged.data() + kKeyCount, &absurd, 8);
    FixChecksum(&damaged);
    const auto loaded = SequenceCache::Load(&pool, TinySpec(), damaged, "bytes");
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().kind, ErrorKind::kInput) << loaded.error().Message();
  }
  EXPECT_LE(pool.peak_bytes(), 4u * 4096);
}

TEST(Load, AnotherSpec_IsRefusedByName) {
  PagePool pool;
  Rng rng(1);
  CacheSpec spec = TinySpec();
  spec.num_layers = 2;
  spec.num_kv_heads = 2;
  spec.values.scope = OwnerScope::kLayerGroup;
  spec.layer_group = {0, 1};
  SequenceCache cache(&pool, spec);
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 4, 0, &rng));
  const std::vector<std::byte> bytes = Saved(cache);
  ASSERT_TRUE(SequenceCache::Load(&pool, spec, bytes, "bytes"));

  const auto expect_named = [&](const std::string& what, auto change) {
    CacheSpec other = spec;
    change(&other);
    const auto loaded = SequenceCache::Load(&pool, other, bytes, "chat.pith");
    ASSERT_FALSE(loaded) << what;
    EXPECT_EQ(loaded.error().kind, ErrorKind::kInput);
    EXPECT_NE(loaded.error().Message().find(what), std::string::npos) << loaded.error().Message();
  };
  expect_named("number of layers of the saved cache: 2 instead of 3", [](CacheSpec* s) {
    s->num_layers = 3;
    s->layer_group = {0, 1, 1};
  });
  expect_named("number of KV heads", [](CacheSpec* s) { s->num_kv_heads = 1; });
  expect_named("form of the keys of the saved cache: f32 instead of bf16",
               [](CacheSpec* s) { s->keys.form = FindForm("bf16"); });
  expect_named("form of the sealed values of the saved cache: none instead of bf16",
               [](CacheSpec* s) { s->values.sealed = FindForm("bf16"); });
  expect_named("layers with their own form of sealed keys of the saved cache: 0 instead of 2",
               [](CacheSpec* s) { s->keys.sealed_by_layer = {nullptr, nullptr}; });
  expect_named("head size of the values", [](CacheSpec* s) { s->values.dim = 3; });
  expect_named("owner scope of the keys", [](CacheSpec* s) { s->keys.scope = OwnerScope::kLayer; });
  expect_named("layer group", [](CacheSpec* s) { s->layer_group = {0, 0}; });
  expect_named("number of side blocks", [](CacheSpec* s) { s->side_blocks.clear(); });
  expect_named("name of a side block", [](CacheSpec* s) { s->side_blocks[0].name = "t"; });
  expect_named("side of side block s",
               [](CacheSpec* s) { s->side_blocks[0].side = Side::kValues; });
  expect_named("bytes of side block s", [](CacheSpec* s) { s->side_blocks[0].bytes = 2; });
  expect_named("entries per unit of side block s",
               [](CacheSpec* s) { s->side_blocks[0].entries_per_unit = 4; });
}

TEST(Load, PoolTooSmall_IsAFailureAndLeavesNothing) {
  PagePool pool, small_pool(8192);
  Rng rng(1);
  const CacheSpec spec = TinySpec();
  SequenceCache cache(&pool, spec);
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 5000, 0, &rng));
  const auto loaded = SequenceCache::Load(&small_pool, spec, Saved(cache), "bytes");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().kind, ErrorKind::kFailure);
  EXPECT_EQ(loaded.error().what, "no memory for the cache");
  EXPECT_EQ(small_pool.used_bytes(), 0u);
  EXPECT_EQ(small_pool.allocated_bytes(), 0u);
}

}  // namespace
}  // namespace pith
