// SequenceCache::Keep: what stays, what it costs, and what is really given back.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "cache/cache.h"
#include "cache/list.h"
#include "cache/test_model.h"

namespace pith {
namespace {

using testing::Append;
using testing::CheckEqual;
using testing::KeepSome;
using testing::Model;
using testing::Positions;
using testing::RandomKept;
using testing::RecountHeld;
using testing::Saved;
using testing::SmallSpec;

std::vector<uint32_t> Range(uint32_t begin, uint32_t end) {
  std::vector<uint32_t> range(end - begin);
  std::iota(range.begin(), range.end(), begin);
  return range;
}

TEST(Keep, SomeEntriesOfOneHead_OthersUntouched) {
  PagePool pool;
  Rng rng(1);
  SequenceCache cache(&pool, SmallSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 400, 0, &rng));
  const uint32_t kept[] = {0, 1, 2, 3, 130, 131, 255, 256, 399};
  ASSERT_TRUE(cache.Keep(1, 1, kept));
  model.Keep({1, 1}, kept);
  CheckEqual(cache, model);
  const HeadView head = cache.Head(1, 1);
  ASSERT_EQ(head.keys.size(), 1u);
  EXPECT_EQ(head.keys[0].shape.capacity, 16u);
  EXPECT_NE(head.keys[0].positions, nullptr);
  EXPECT_EQ(head.values[0].shape.capacity, 16u);
  EXPECT_EQ(head.values[0].positions, nullptr);
  EXPECT_EQ(cache.num_entries(1, 0), 400u);

  std::vector<int32_t> positions(9);
  cache.Positions(1, 1, positions);
  EXPECT_EQ(positions, (std::vector<int32_t>{0, 1, 2, 3, 130, 131, 255, 256, 399}));
}

TEST(Keep, AllEntries_TouchesNothing) {
  PagePool pool(1 << 20);
  Rng rng(1);
  SequenceCache cache(&pool, SmallSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 300, 10, &rng));
  const SequenceCache fork = cache.Fork();
  const uint64_t used = pool.used_bytes();
  const std::byte* const data = cache.Head(0, 0).keys[0].data;
  ASSERT_TRUE(cache.Keep(0, 0, Range(0, 300)));
  EXPECT_EQ(pool.used_bytes(), used);
  EXPECT_EQ(cache.Head(0, 0).keys[0].data, data);
  CheckEqual(cache, model);
}

TEST(Keep, ContiguousRange_NeedsNoPositions) {
  PagePool pool;
  Rng rng(1);
  SequenceCache cache(&pool, SmallSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 500, 0, &rng));
  const std::vector<uint32_t> kept = Range(77, 477);
  ASSERT_TRUE(cache.Keep(0, 2, kept));
  model.Keep({0, 2}, kept);
  CheckEqual(cache, model);
  for (const PageView& page : cache.Head(0, 2).keys) EXPECT_EQ(page.positions, nullptr);
  EXPECT_EQ(cache.Head(0, 2).keys[1].first_position, 77 + 128);
  // From explicit back to implicit.
  const uint32_t gap[] = {0, 2, 3, 4, 5};
  ASSERT_TRUE(cache.Keep(0, 2, gap));
  EXPECT_NE(cache.Head(0, 2).keys[0].positions, nullptr);
  ASSERT_TRUE(cache.Keep(0, 2, Range(1, 5)));
  EXPECT_EQ(cache.Head(0, 2).keys[0].positions, nullptr);
  EXPECT_EQ(cache.Head(0, 2).keys[0].first_position, 79);
}

TEST(Keep, Nothing_EmptiesTheHeadWhichGrowsAgain) {
  PagePool pool;
  Rng rng(1);
  SequenceCache cache(&pool, SmallSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 300, 0, &rng));
  for (uint32_t layer = 0; layer < 2; ++layer) {
    for (uint32_t head = 0; head < 3; ++head) {
      ASSERT_TRUE(cache.Keep(layer, head, {}));
      model.Keep({layer, head}, {});
    }
  }
  EXPECT_EQ(cache.Usage().held, 0u);
  EXPECT_EQ(pool.allocated_bytes(), 0u);
  CheckEqual(cache, model);
  ASSERT_TRUE(cache.Extend(Positions(300, 7)));
  EXPECT_EQ(cache.num_entries(1, 1), 7u);
  EXPECT_EQ(cache.Head(1, 1).keys[0].Position(6), 306);
}

// Bits that no conversion would leave alone: every 16-bit pattern, NaNs and subnormals among them.
TEST(Keep, EveryBitPattern_IsMovedUnchanged) {
  for (const char* form : {"f16", "bf16"}) {
    PagePool pool;
    const ListSpec list{.form = FindForm(form), .dim = 64};
    SequenceCache cache(&pool, {.num_layers = 1, .num_kv_heads = 1, .keys = list, .values = list});
    ASSERT_TRUE(cache.Extend(Positions(0, 1024)));
    std::vector<uint16_t> numbers(1024 * 64);
    std::iota(numbers.begin(), numbers.end(), uint16_t{0});
    const HeadView head = cache.Head(0, 0);
    for (const Side side : {Side::kKeys, Side::kValues}) {
      const auto pages = side == Side::kKeys ? head.keys : head.values;
      for (size_t p = 0; p < pages.size(); ++p) {
        list.form->import_entries(side, const_cast<std::byte*>(pages[p].data), pages[p].shape, 0,
                                  128, reinterpret_cast<std::byte*>(&numbers[p * 128 * 64]));
      }
    }
    Rng rng(5);
    std::vector<uint32_t> kept;
    for (uint32_t i = 0; i < 1024; ++i) {
      if (rng.Below(2) == 0) kept.push_back(i);
    }
    ASSERT_TRUE(cache.Keep(0, 0, kept));
    const HeadView after = cache.Head(0, 0);
    for (const Side side : {Side::kKeys, Side::kValues}) {
      size_t index = 0;
      for (const PageView& page : side == Side::kKeys ? after.keys : after.values) {
        std::vector<uint16_t> entry(64);
        for (uint32_t i = 0; i < page.count; ++i, ++index) {
          list.form->export_entries(side, page.data, page.shape, i, 1,
                                    reinterpret_cast<std::byte*>(entry.data()));
          ASSERT_EQ(std::memcmp(entry.data(), &numbers[size_t{kept[index]} * 64], 128), 0)
              << form << " entry " << index;
        }
      }
      ASSERT_EQ(index, kept.size());
    }
  }
}

TEST(Keep, SideUnits_OfEntriesMoveAndOfBlocksStayOnlyWhereNothingMoved) {
  PagePool pool;
  CacheSpec spec = SmallSpec();
  spec.side_blocks = {{.name = "score", .side = Side::kValues, .bytes = 1},
                      {.name = "bound", .side = Side::kKeys, .bytes = 1, .entries_per_unit = 4}};
  SequenceCache cache(&pool, spec);
  ASSERT_TRUE(cache.Extend(Positions(0, 20)));
  for (uint32_t i = 0; i < 20; ++i) (*cache.SideUnit("score", 0, 0, i))[0] = std::byte(100 + i);
  for (uint32_t i = 0; i < 5; ++i) (*cache.SideUnit("bound", 0, 0, i))[0] = std::byte(50 + i);
  const uint32_t kept[] = {0, 1, 2, 3, 4, 5, 6, 9, 15, 16, 17, 18, 19};
  ASSERT_TRUE(cache.Keep(0, 0, kept));
  for (uint32_t i = 0; i < 13; ++i) {
    EXPECT_EQ((*cache.SideUnit("score", 0, 0, i))[0], std::byte(100 + kept[i]));
  }
  EXPECT_EQ((*cache.SideUnit("bound", 0, 0, 0))[0], std::byte{50});
  for (uint32_t i = 1; i < 4; ++i) {
    EXPECT_EQ((*cache.SideUnit("bound", 0, 0, i))[0], std::byte{0});
  }
}

TEST(Keep, InAFork_LeavesTheOriginalAndSharesUntouchedPages) {
  PagePool pool;
  Rng rng(1);
  SequenceCache cache(&pool, SmallSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 500, 5, &rng));
  const std::vector<std::byte> before = Saved(cache);
  const uint64_t used = pool.used_bytes();
  {
    SequenceCache fork = cache.Fork();
    Model fork_model = model;
    std::vector<uint32_t> kept = Range(0, 200);
    kept.push_back(450);
    ASSERT_TRUE(fork.Keep(0, 1, kept));
    fork_model.Keep({0, 1}, kept);
    CheckEqual(fork, fork_model);
    EXPECT_EQ(fork.Head(0, 1).keys[0].data, cache.Head(0, 1).keys[0].data);
    EXPECT_NE(fork.Head(0, 1).keys[1].data, cache.Head(0, 1).keys[1].data);
    SequenceCache second = fork.Fork();  // of a ragged sequence; both go on
    Model second_model = fork_model;
    ASSERT_TRUE(Append(&second, &second_model, 90, 0, &rng));
    ASSERT_TRUE(KeepSome(&second, &second_model, &rng));
    CheckEqual(second, second_model);
    CheckEqual(fork, fork_model);
  }
  EXPECT_EQ(Saved(cache), before);
  EXPECT_EQ(pool.used_bytes(), used);
}

TEST(Keep, WiderScopes_KeepOnceForAllThatTheListServes) {
  for (const OwnerScope scope : {OwnerScope::kLayer, OwnerScope::kLayerGroup}) {
    PagePool pool;
    Rng rng(4);
    CacheSpec spec = SmallSpec();
    spec.num_layers = 4;
    spec.keys.scope = spec.values.scope = scope;
    if (scope == OwnerScope::kLayerGroup) spec.layer_group = {7, 2, 7, 2};
    SequenceCache cache(&pool, spec);
    Model model(spec);
    ASSERT_TRUE(Append(&cache, &model, 300, 0, &rng));
    const std::vector<uint32_t> kept = Range(100, 150);
    ASSERT_TRUE(cache.Keep(1, 0, kept));
    model.Keep({1, 0}, kept);
    CheckEqual(cache, model);
    EXPECT_EQ(cache.num_entries(1, 2), 50u);
    EXPECT_EQ(cache.num_entries(3, 1), scope == OwnerScope::kLayer ? 300u : 50u);
    EXPECT_THROW((void)cache.Keep(1, 1, kept), std::logic_error);  // not the first head
  }
}

TEST(Keep, WrongCalls_AreCheckedBugs) {
  PagePool pool;
  CacheSpec spec = SmallSpec();
  SequenceCache cache(&pool, spec);
  ASSERT_TRUE(cache.Extend(Positions(0, 10)));
  const uint32_t twice[] = {3, 3}, falling[] = {4, 3}, outside[] = {3, 10};
  for (const auto wrong : {std::span(twice), std::span(falling), std::span(outside)}) {
    EXPECT_THROW((void)cache.Keep(0, 0, wrong), std::logic_error);
  }
  EXPECT_THROW((void)cache.Keep(2, 0, {}), std::logic_error);
  EXPECT_THROW((void)cache.Keep(0, 3, {}), std::logic_error);
  EXPECT_EQ(cache.num_entries(0, 0), 10u);
  std::vector<int32_t> positions(9);
  EXPECT_THROW(cache.Positions(0, 0, positions), std::logic_error);
  std::vector<float> rows(11 * 12);
  EXPECT_THROW(cache.ReadKeys(0, 0, 0, 11, rows.data()), std::logic_error);
  EXPECT_THROW(cache.ReadValues(0, 0, 11, 0, rows.data()), std::logic_error);

  spec.keys.scope = OwnerScope::kLayer;  // values stay per head: no common set
  SequenceCache mixed(&pool, spec);
  ASSERT_TRUE(mixed.Extend(Positions(0, 10)));
  EXPECT_THROW((void)mixed.Keep(0, 0, {}), std::logic_error);
}

// With every limit: it works or changes nothing.
TEST(Keep, LimitReached_FailsAndChangesNothing) {
  int failed = 0, succeeded = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Rng rng(seed);
    PagePool pool(40000 + 512 * seed);
    SequenceCache cache(&pool, SmallSpec(FormId::kF32));
    Model model(cache.spec());
    while (model.size() < 400 && Append(&cache, &model, 1 + rng.Below(20), 2, &rng)) {
    }
    std::vector<SequenceCache> forks;
    if (rng.Below(2) == 0) forks.push_back(cache.Fork());
    for (int round = 0; round < 4; ++round) {
      const std::vector<std::byte> before = Saved(cache);
      const uint64_t used = pool.used_bytes(), held = cache.Usage().held;
      const bool done = KeepSome(&cache, &model, &rng);
      ++(done ? succeeded : failed);
      if (!done) {
        ASSERT_EQ(Saved(cache), before);
        ASSERT_EQ(pool.used_bytes(), used);
        ASSERT_EQ(cache.Usage().held, held);
      }
      CheckEqual(cache, model);
      ASSERT_EQ(cache.Usage().held, RecountHeld(cache));
      ASSERT_LE(pool.peak_bytes(), pool.limit_bytes());
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(failed, 50);
  EXPECT_GT(succeeded, 50);

  PagePool pool(8192);  // full to the last byte: no room for positions
  const ListSpec list{.form = FindForm("f32"), .dim = 8};
  SequenceCache cache(&pool, {.num_layers = 1, .num_kv_heads = 1, .keys = list, .values = list});
  ASSERT_TRUE(cache.Extend(Positions(0, 128)));
  const uint32_t kept[] = {0, 2};
  const Status status = cache.Keep(0, 0, kept);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::kFailure);
  EXPECT_EQ(status.error().what, "no memory for the cache");
  EXPECT_TRUE(cache.Keep(0, 0, Range(1, 3)));  // needs none
}

TEST(Keep, RowsAndPositionsReadBack_FromManyThreads) {
  PagePool pool;
  Rng rng(8);
  const CacheSpec spec = SmallSpec();
  SequenceCache cache(&pool, spec);
  Model model(spec);
  ASSERT_TRUE(Append(&cache, &model, 700, 3, &rng));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(KeepSome(&cache, &model, &rng));
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Rng thread_rng(t);
      for (int i = 0; i < 200; ++i) {
        const uint32_t layer = thread_rng.Below(2), head = thread_rng.Below(3);
        const Model::Entries& entries = model.heads[layer][head];
        const auto size = static_cast<uint32_t>(entries.size());
        const uint32_t first = thread_rng.Below(size + 1);
        const uint32_t count = thread_rng.Below(size - first + 1);
        std::vector<float> keys(count * 12), values(count * 12);
        std::vector<int32_t> positions(size);
        cache.ReadKeys(layer, head, first, count, keys.data());
        cache.ReadValues(layer, head, first, count, values.data());
        cache.Positions(layer, head, positions);
        for (uint32_t e = 0; e < count; ++e) {
          const Model::Entry& entry = entries[first + e];
          wrong[t] += positions[first + e] != entry.position;
          for (uint32_t c = 0; c < 12; ++c) {
            const testing::Owner owner{layer, head};
            wrong[t] += keys[e * 12 + c] != testing::Number(entry.mark, Side::kKeys, owner, c) ||
                        values[e * 12 + c] != testing::Number(entry.mark, Side::kValues, owner, c);
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace pith
