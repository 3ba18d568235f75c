// SequenceCache::InsertLayer: late entries make the very cache that they had made in order.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/rng.h"
#include "cache/cache.h"
#include "cache/page.h"
#include "cache/test_model.h"

namespace pith {
namespace {

using testing::RecountHeld;
using testing::Saved;
using testing::SmallSpec;

std::vector<float> RowOf(int32_t position, uint32_t salt) {
  std::vector<float> row(12);
  for (uint32_t c = 0; c < row.size(); ++c) {
    row[c] = static_cast<float>((position * 31 + static_cast<int32_t>(c * 7 + salt)) % 64) / 8;
  }
  return row;
}

// Writes the entries at these positions of layer 1, which are there and may have no numbers yet.
void WriteAt(SequenceCache* cache, std::span<const int32_t> positions) {
  for (uint32_t head = 0; head < cache->spec().num_kv_heads; ++head) {
    std::vector<int32_t> all(cache->num_entries(1, head));
    cache->Positions(1, head, all);
    for (const int32_t position : positions) {
      const auto entry = std::ranges::lower_bound(all, position) - all.begin();
      ASSERT_EQ(all[static_cast<size_t>(entry)], position);
      cache->WriteKeys(1, head, static_cast<uint64_t>(entry), 1, RowOf(position, head).data(), 12);
      cache->WriteValues(1, head, static_cast<uint64_t>(entry), 1,
                         RowOf(position, head + 100).data(), 12);
    }
  }
}

SequenceCache InOrder(PagePool* pool, const CacheSpec& spec, std::vector<int32_t> positions) {
  SequenceCache cache(pool, spec);
  std::ranges::sort(positions);
  EXPECT_TRUE(cache.ExtendLayer(1, positions));
  WriteAt(&cache, positions);
  return cache;
}

class Insert : public ::testing::TestWithParam<FormId> {};

TEST_P(Insert, AnyPositionsInAnyOrder_EqualsAppending) {
  Rng rng(7);
  for (int round = 0; round < 6; ++round) {
    PagePool pool;
    const CacheSpec spec = SmallSpec(GetParam());
    SequenceCache cache(&pool, spec);
    std::vector<int32_t> there, rest;
    for (int32_t position = 0; position < 700; ++position) {
      (rng.Below(3) == 0 ? rest : there).push_back(position);
    }
    ASSERT_TRUE(cache.InsertLayer(1, there));
    WriteAt(&cache, there);
    while (!rest.empty()) {  // a third of what is missing at a time
      std::vector<int32_t> now, later;
      for (const int32_t position : rest) (rng.Below(3) == 0 ? now : later).push_back(position);
      if (now.empty()) now.swap(later);
      ASSERT_TRUE(cache.InsertLayer(1, now));
      WriteAt(&cache, now);
      there.insert(there.end(), now.begin(), now.end());
      EXPECT_EQ(Saved(cache), Saved(InOrder(&pool, spec, there)));
      EXPECT_EQ(cache.Usage().held, RecountHeld(cache));
      rest = later;
    }
    EXPECT_EQ(cache.num_entries(0, 0), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, Insert,
                         ::testing::Values(FormId::kF32, FormId::kF16, FormId::kBF16));

TEST(Insert, IntoAFork_LeavesTheOtherAsItWas) {
  PagePool pool;
  const std::vector<int32_t> there = {0, 1, 2, 5, 6, 9, 300, 301};
  SequenceCache cache = InOrder(&pool, SmallSpec(), there);
  const auto before = Saved(cache);
  SequenceCache fork = cache.Fork();
  const std::vector<int32_t> late = {3, 7, 400};
  ASSERT_TRUE(fork.InsertLayer(1, late));
  WriteAt(&fork, late);
  EXPECT_EQ(Saved(cache), before);
  EXPECT_EQ(Saved(fork),
            Saved(InOrder(&pool, SmallSpec(), {0, 1, 2, 3, 5, 6, 7, 9, 300, 301, 400})));
}

TEST(Insert, WithoutMemory_ChangesNothing) {
  PagePool pool(1 << 20);
  std::vector<int32_t> there;
  for (int32_t i = 0; i < 4000; ++i) there.push_back(2 * i);
  SequenceCache cache = InOrder(&pool, SmallSpec(), there);
  const auto before = Saved(cache);
  std::vector<int32_t> late;
  for (int32_t i = 0; i < 4000; ++i) late.push_back(2 * i + 1);
  const Status inserted = cache.InsertLayer(1, late);
  ASSERT_FALSE(inserted);
  EXPECT_EQ(inserted.error().what, "no memory for the cache");
  EXPECT_EQ(Saved(cache), before);
  EXPECT_EQ(cache.Usage().held, RecountHeld(cache));
}

}  // namespace
}  // namespace pith
