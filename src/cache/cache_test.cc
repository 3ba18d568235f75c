#include "cache/cache.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "cache/test_model.h"

namespace pith {
namespace {

using testing::Append;
using testing::CheckEqual;
using testing::ExactForms;
using testing::KeepSome;
using testing::Model;
using testing::OwnerOf;
using testing::Positions;
using testing::RandomSpec;
using testing::RecountHeld;
using testing::Saved;
using testing::SealSome;
using testing::SmallSpec;
using testing::WriteEntries;

TEST(SequenceCache, OneByOne_GrowsThroughAllClassesAndKeepsContents) {
  for (const Form* form : ExactForms()) {
    PagePool pool;
    Rng rng(1);
    SequenceCache cache(&pool, SmallSpec(form->id));
    Model model(cache.spec());
    for (uint32_t n = 1; n <= 300; ++n) {
      ASSERT_TRUE(Append(&cache, &model, 1, 0, &rng));
      const HeadView head = cache.Head(1, 2);
      ASSERT_EQ(head.keys.size(), (n + 127) / 128);
      ASSERT_EQ(head.keys.back().shape.capacity, CapacityClass((n - 1) % 128 + 1));
      ASSERT_EQ(head.keys.back().positions, nullptr);
      if (n % 13 == 0 || n > 120) CheckEqual(cache, model);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(SequenceCache, Views_StayInPlaceWhileNoPageIsCrossed) {
  PagePool pool;
  SequenceCache cache(&pool, SmallSpec());
  ASSERT_TRUE(cache.Extend(Positions(0, 97)));
  const PageView* views = cache.Head(0, 0).keys.data();
  const std::byte* data = views->data;
  const uint64_t allocated = pool.allocated_bytes();
  for (int32_t position = 97; position < 128; ++position) {
    ASSERT_TRUE(cache.Extend({&position, 1}));
    ASSERT_EQ(cache.Head(0, 0).keys.data(), views);
    ASSERT_EQ(views->data, data);
    ASSERT_EQ(views->count, static_cast<uint32_t>(position) + 1);
  }
  EXPECT_EQ(pool.allocated_bytes(), allocated);
}

TEST(SequenceCache, Positions_AreExplicitOnlyInPagesThatNeedThem) {
  PagePool pool;
  SequenceCache cache(&pool, SmallSpec());
  ASSERT_TRUE(cache.Extend(Positions(10, 128)));
  ASSERT_TRUE(cache.Extend(Positions(500, 5)));  // a new page: contiguous in itself
  ASSERT_TRUE(cache.Extend(Positions(505, 5)));
  auto keys = cache.Head(0, 1).keys;
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].positions, nullptr);
  EXPECT_EQ(keys[1].positions, nullptr);
  EXPECT_EQ(keys[1].Position(9), 509);
  ASSERT_TRUE(cache.Extend(Positions(600, 1)));
  keys = cache.Head(0, 1).keys;
  ASSERT_NE(keys[1].positions, nullptr);
  EXPECT_EQ(keys[1].Position(9), 509);
  EXPECT_EQ(keys[1].Position(10), 600);
  for (const PageView& page : cache.Head(0, 1).values) EXPECT_EQ(page.positions, nullptr);
  cache.Truncate(503);  // 500..502 stay, in a smaller page, contiguous again
  keys = cache.Head(0, 1).keys;
  EXPECT_EQ(keys[1].positions, nullptr);
  EXPECT_EQ(keys[1].shape.capacity, 8u);
  EXPECT_EQ(cache.num_entries(0, 1), 131u);
}

// Everything at once, against the model; what one sequence does must never show in another.
TEST(SequenceCache, RandomOperations_EqualTheModel) {
  for (uint64_t seed = 0; seed < 120; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    PagePool pool;
    const CacheSpec spec = RandomSpec(&rng);
    std::vector<std::pair<SequenceCache, Model>> all;
    all.emplace_back(SequenceCache(&pool, spec), Model(spec));
    const uint32_t counts[] = {1, 1, 1, 2, 3, 8, 17, 64, 100, 128, 150, 300};
    for (int step = 0; step < 40; ++step) {
      const uint32_t chosen = rng.Below(static_cast<uint32_t>(all.size()));
      auto& [cache, model] = all[chosen];
      switch (rng.Below(15)) {
        case 0:
          if (all.size() < 4) {
            SequenceCache fork = cache.Fork();
            Model copy = model;
            all.emplace_back(std::move(fork), std::move(copy));
          }
          break;
        case 1: {
          const auto end = static_cast<uint32_t>(model.last_position() + 3);
          const auto keep_before = static_cast<int32_t>(rng.Below(end));
          cache.Truncate(keep_before);
          model.Truncate(keep_before);
          break;
        }
        case 2:
          if (all.size() > 1) all.erase(all.begin() + chosen);
          break;
        case 3: {
          const std::vector<std::byte> bytes = Saved(cache);
          auto loaded = SequenceCache::Load(&pool, spec, bytes, "bytes");
          ASSERT_TRUE(loaded) << loaded.error().Message();
          ASSERT_EQ(Saved(*loaded), bytes);
          cache = std::move(*loaded);
          break;
        }
        case 4:
        case 5:
          if (!spec.side_blocks.empty()) {
            const auto b = rng.Below(static_cast<uint32_t>(spec.side_blocks.size()));
            const SideBlock& block = spec.side_blocks[b];
            const uint32_t layer = rng.Below(spec.num_layers);
            const uint32_t head = rng.Below(spec.num_kv_heads);
            const auto size = static_cast<uint32_t>(model.heads[layer][head].size());
            if (size == 0) break;
            const uint64_t unit = rng.Below(size) / block.entries_per_unit;
            const auto bytes = cache.SideUnit(block.name, layer, head, unit);
            ASSERT_TRUE(bytes);
            ASSERT_EQ(bytes->size(), block.bytes);
            for (std::byte& byte : *bytes) byte = static_cast<std::byte>(rng.Next());
            model.units[{b, OwnerOf(spec, block.side, layer, head), unit}] = {bytes->begin(),
                                                                              bytes->end()};
          }
          break;
        case 6:
        case 7:
          ASSERT_TRUE(KeepSome(&cache, &model, &rng));
          break;
        case 8:
        case 9:
        case 10:
          ASSERT_TRUE(SealSome(&cache, &model, &rng));
          break;
        default:
          ASSERT_TRUE(Append(&cache, &model, counts[rng.Below(12)], rng.Below(3) * 10, &rng));
      }
      for (const auto& [c, m] : all) {
        ASSERT_EQ(c.Usage().held, RecountHeld(c));
        ASSERT_LE(c.Usage().held, c.Usage().held_peak);
        if (step % 8 == 7) CheckEqual(c, m);
      }
      if (HasFatalFailure()) return;
    }
    for (const auto& [c, m] : all) CheckEqual(c, m);
    all.clear();
    EXPECT_EQ(pool.used_bytes(), 0u);
    EXPECT_EQ(pool.allocated_bytes(), 0u);
  }
}

TEST(SequenceCache, ForkChangeDrop_LeavesTheOriginalBitIdentical) {
  PagePool pool;
  Rng rng(3);
  CacheSpec spec = SmallSpec();
  spec.side_blocks = {{.name = "score", .side = Side::kKeys, .bytes = 4}};
  SequenceCache cache(&pool, spec);
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 200, 5, &rng));
  const std::vector<std::byte> before = Saved(cache);
  const uint64_t used = pool.used_bytes();
  {
    SequenceCache fork = cache.Fork();
    EXPECT_EQ(pool.used_bytes(), used);  // nothing is copied until someone writes
    Model copy = model;
    ASSERT_TRUE(Append(&fork, &copy, 3, 0, &rng));
    EXPECT_GT(pool.used_bytes(), used);
    auto unit = fork.SideUnit("score", 0, 0, 5);  // in the first page, shared until now
    ASSERT_TRUE(unit);
    (*unit)[0] = std::byte{77};
    fork.Truncate(50);
    ASSERT_TRUE(fork.Extend(Positions(60, 100)));
  }
  EXPECT_EQ(Saved(cache), before);
  EXPECT_EQ(pool.used_bytes(), used);
  CheckEqual(cache, model);
}

// With every limit from nothing to enough: either all lists grow or none, and nothing else changes.
TEST(SequenceCache, LimitReached_ExtendFailsAndChangesNothing) {
  int failed = 0, succeeded = 0;
  for (uint64_t limit = 4096; limit < 600000; limit += 8192) {
    PagePool pool(limit);
    Rng rng(limit);
    SequenceCache cache(&pool, SmallSpec(FormId::kF32));
    Model model(cache.spec());
    for (const uint32_t count : {5u, 20u, 100u, 300u, 1u, 64u}) {
      const std::vector<std::byte> before = Saved(cache);
      const uint64_t used = pool.used_bytes(), allocated = pool.allocated_bytes();
      if (Append(&cache, &model, count, 10, &rng)) {
        ++succeeded;
        continue;
      }
      ++failed;
      ASSERT_EQ(Saved(cache), before);
      ASSERT_EQ(pool.used_bytes(), used);
      ASSERT_EQ(pool.allocated_bytes(), allocated);
    }
    CheckEqual(cache, model);
    ASSERT_LE(pool.peak_bytes(), limit);
  }
  EXPECT_GT(failed, 50);
  EXPECT_GT(succeeded, 50);

  PagePool pool(4096);
  SequenceCache cache(&pool, SmallSpec());
  const Status status = cache.Extend(Positions(0, 1000));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::kFailure);
  EXPECT_EQ(status.error().what, "no memory for the cache");
}

TEST(SequenceCache, LimitReached_ForkFailsAloneAndTruncateStillWorks) {
  PagePool pool(20 * 4096);
  Rng rng(9);
  SequenceCache cache(&pool, SmallSpec(FormId::kF32));  // 12 lists, 384 bytes per page of 8
  Model model(cache.spec());
  while (Append(&cache, &model, 1, 0, &rng)) {
  }
  ASSERT_GT(model.size(), 8u);
  SequenceCache fork = cache.Fork();
  Model fork_model = model;
  const int32_t next = model.last_position() + 1;
  EXPECT_FALSE(fork.Extend({&next, 1}));
  CheckEqual(fork, fork_model);
  cache.Truncate(4);
  model.Truncate(4);
  CheckEqual(cache, model);
  CheckEqual(fork, fork_model);
}

TEST(SequenceCache, WiderScopes_AreWrittenOnceSeenByAllAndCountedOnce) {
  PagePool pool;
  Rng rng(4);
  CacheSpec spec = SmallSpec();
  spec.num_layers = 4;
  spec.keys.scope = OwnerScope::kLayerGroup;
  spec.values.scope = OwnerScope::kLayer;
  spec.layer_group = {7, 2, 7, 2};
  SequenceCache cache(&pool, spec);
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 20, 0, &rng));
  CheckEqual(cache, model);
  EXPECT_EQ(cache.Head(0, 0).keys.data(), cache.Head(2, 2).keys.data());
  EXPECT_NE(cache.Head(0, 0).keys.data(), cache.Head(1, 0).keys.data());
  EXPECT_EQ(cache.Head(3, 0).values.data(), cache.Head(3, 2).values.data());
  EXPECT_NE(cache.Head(2, 0).values.data(), cache.Head(3, 0).values.data());
  const uint64_t list_bytes = 20 * 12 * 2;
  EXPECT_EQ(cache.Usage().logical, (2 + 4) * list_bytes);  // two groups, four layers
  EXPECT_EQ(cache.Usage().entries, 4u * 3 * 20);
  EXPECT_EQ(cache.Usage(0, 0).logical, 2 * list_bytes);
  EXPECT_EQ(cache.Usage(2, 0).logical, list_bytes);
  EXPECT_EQ(cache.Usage(2, 1).logical, 0u);
  const float row[12] = {};
  EXPECT_THROW(cache.WriteKeys(2, 0, 0, 1, row, 12), std::logic_error);
  EXPECT_THROW(cache.WriteValues(2, 1, 0, 1, row, 12), std::logic_error);
}

TEST(SequenceCache, ExtendLayerByLayer_EqualsExtend) {
  for (const OwnerScope scope : {OwnerScope::kHead, OwnerScope::kLayer, OwnerScope::kLayerGroup}) {
    PagePool pool;
    Rng rng(4);
    CacheSpec spec = SmallSpec();
    spec.keys.scope = scope;
    if (scope == OwnerScope::kLayerGroup) spec.layer_group = {0, 0};
    SequenceCache cache(&pool, spec);
    Model model(cache.spec());
    for (int32_t step = 0; step < 20; ++step) {
      const auto positions = Positions(step * 17, 17);
      model.Append(positions, &rng);
      ASSERT_TRUE(cache.ExtendLayer(0, positions));
      EXPECT_EQ(cache.num_entries(0, 1), model.size());
      EXPECT_EQ(cache.num_entries(1, 1), model.size() - 17);
      ASSERT_TRUE(cache.ExtendLayer(1, positions));
      WriteEntries(&cache, model, 17, 17, 0);
    }
    CheckEqual(cache, model);
  }
}

TEST(SequenceCache, WrongCalls_AreCheckedBugs) {
  PagePool pool;
  SequenceCache cache(&pool, SmallSpec());
  ASSERT_TRUE(cache.Extend(Positions(5, 3)));
  const float row[12] = {};
  EXPECT_THROW((void)cache.Extend(Positions(7, 1)), std::logic_error);  // not behind
  EXPECT_THROW((void)cache.Extend(Positions(-1, 1)), std::logic_error);
  const int32_t twice[] = {9, 9};
  EXPECT_THROW((void)cache.Extend(twice), std::logic_error);
  EXPECT_THROW(cache.WriteKeys(0, 0, 3, 1, row, 12), std::logic_error);  // not declared
  EXPECT_THROW(cache.WriteKeys(0, 3, 0, 1, row, 12), std::logic_error);
  EXPECT_THROW((void)cache.Head(2, 0), std::logic_error);
  EXPECT_THROW((void)cache.SideUnit("score", 0, 0, 0), std::logic_error);
  EXPECT_EQ(cache.num_entries(0, 0), 3u);
  EXPECT_TRUE(cache.Extend({}));
}

TEST(SequenceCache, ThreadsWriteDifferentHeads_ContentsAreRight) {
  PagePool pool;
  const CacheSpec spec = SmallSpec();
  SequenceCache cache(&pool, spec);
  for (int32_t step = 0; step < 30; ++step) {
    ASSERT_TRUE(cache.Extend(Positions(step * 11, 11)));
    std::vector<std::thread> threads;
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      threads.emplace_back([&, head] {
        const std::vector<float> rows(11 * 12, static_cast<float>(head * 40 + step));
        for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
          cache.WriteKeys(layer, head, step * 11, 11, rows.data(), 12);
          cache.WriteValues(layer, head, step * 11, 11, rows.data(), 12);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
    const HeadView view = cache.Head(1, head);
    std::vector<float> row(12);
    for (uint32_t entry = 0; entry < 330; ++entry) {
      const PageView& page = view.keys[entry / 128];
      page.form->load(Side::kKeys, page.data, page.shape, entry % 128, 1, row.data(), 12);
      ASSERT_EQ(row, std::vector<float>(12, static_cast<float>(head * 40 + entry / 11)));
    }
  }
}

}  // namespace
}  // namespace pith
