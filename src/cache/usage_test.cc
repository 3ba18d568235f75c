// Accounting: equal to a count by hand, and to what the system says about the process.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "cache/cache.h"
#include "cache/list.h"
#include "cache/page.h"
#include "cache/test_model.h"

namespace pith {
namespace {

using testing::Positions;

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

constexpr uint64_t kPageTableBytes = sizeof(Page) + sizeof(Page*) + sizeof(PageView);

TEST(Usage, TwoPagesAndSideBlocks_EqualACountByHand) {
  PagePool pool;
  const CacheSpec spec{
      .num_layers = 2,
      .num_kv_heads = 3,
      .keys = {.form = FindForm("f16"), .dim = 20},
      .values = {.form = FindForm("f32"), .dim = 10},
      .side_blocks = {{.name = "score", .side = Side::kKeys, .bytes = 4},
                      {.name = "bound", .side = Side::kValues, .bytes = 6, .entries_per_unit = 8}}};
  SequenceCache cache(&pool, spec);
  EXPECT_EQ(cache.Usage().logical, 0u);
  EXPECT_EQ(cache.Usage().metadata, 0u);
  EXPECT_EQ(cache.Usage().allocated, 0u);
  ASSERT_TRUE(cache.Extend(Positions(0, 137)));  // a page of 128 and one of 16 holding 9

  // Entries: 40 bytes each on both sides. Scores: 137 of 4 bytes. Bounds: 16 + 2 of 6 bytes.
  CacheUsage head = cache.Usage(1, 2);
  EXPECT_EQ(head.entries, 137u);
  EXPECT_EQ(head.logical, 137u * (40 + 40));
  EXPECT_EQ(head.metadata, 137u * 4 + 18 * 6 + 4 * kPageTableBytes);
  // Blocks of 64 bytes: keys 5120 + 512 and 640 + 64; values 5120 + 96 and 640 + 12.
  EXPECT_EQ(head.allocated, 5632u + 704 + 5248 + 704);
  EXPECT_EQ(cache.Usage().entries, 6u * 137);
  EXPECT_EQ(cache.Usage().logical, 6 * head.logical);
  EXPECT_EQ(cache.Usage().metadata, 6 * head.metadata);
  EXPECT_EQ(pool.used_bytes(), 6 * head.allocated);
  EXPECT_EQ(cache.Usage().allocated, pool.allocated_bytes());

  ASSERT_TRUE(cache.Extend(Positions(200, 1)));  // the second page of keys needs its 10 positions
  head = cache.Usage(1, 2);
  EXPECT_EQ(head.logical, 138u * 80);
  EXPECT_EQ(head.metadata, 138u * 4 + 18 * 6 + 4 * kPageTableBytes + 10 * 4);
  EXPECT_EQ(head.allocated, 5632u + 704 + 5248 + 704 + 64);
  EXPECT_EQ(pool.used_bytes(), 6 * head.allocated);

  cache.Truncate(60);
  head = cache.Usage(1, 2);
  EXPECT_EQ(head.logical, 60u * 80);
  EXPECT_EQ(head.metadata, 60u * 4 + 8 * 6 + 2 * kPageTableBytes);
  EXPECT_EQ(head.allocated, 64u * 40 + 64 * 4 + 2624);  // values: 2560 + 48, to 64 bytes
  EXPECT_EQ(pool.used_bytes(), 6 * head.allocated);
  cache.Truncate(0);
  EXPECT_EQ(cache.Usage().allocated, 0u);
  EXPECT_EQ(cache.Usage().metadata, 0u);
  EXPECT_GT(cache.Usage().peak, 0u);
}

TEST(Usage, ShortChat_WastesAFifth) {
  PagePool pool;
  const ListSpec list{.form = FindForm("f16"), .dim = 64};
  SequenceCache cache(&pool, {.num_layers = 16, .num_kv_heads = 8, .keys = list, .values = list});
  for (int32_t position = 0; position < 40; ++position) {
    ASSERT_TRUE(cache.Extend({&position, 1}));
  }
  // 40 entries sit in pages of 48, and the pool adds nothing: 256 lists of 6 KiB.
  EXPECT_EQ(cache.Usage().allocated, 256u * 6144);
  EXPECT_DOUBLE_EQ(cache.Usage().Fragmentation(), 48.0 / 40.0);
}

// 4 layers x 4 heads x dim 64 in f16: 4 KiB per token.
const CacheSpec& WideSpec() {
  static const ListSpec list{.form = FindForm("f16"), .dim = 64};
  static const CacheSpec spec{.num_layers = 4, .num_kv_heads = 4, .keys = list, .values = list};
  return spec;
}

void Fill(SequenceCache* cache, int32_t first, uint32_t count) {
  ASSERT_TRUE(cache->Extend(Positions(first, count)));
  const std::vector<float> rows(size_t{count} * 64, 1.0f);
  for (uint32_t layer = 0; layer < 4; ++layer) {
    for (uint32_t head = 0; head < 4; ++head) {
      cache->WriteKeys(layer, head, static_cast<uint64_t>(first), count, rows.data(), 64);
      cache->WriteValues(layer, head, static_cast<uint64_t>(first), count, rows.data(), 64);
    }
  }
}

TEST(Usage, SequenceEnds_ResidentMemoryFallsByWhatIsAccounted) {
  PagePool pool;
  auto cache = std::make_unique<SequenceCache>(&pool, WideSpec());
  const int64_t empty = ResidentBytes();
  for (int32_t first = 0; first < 16384; first += 512) Fill(cache.get(), first, 512);
  const auto accounted = static_cast<int64_t>(cache->Usage().allocated);
  EXPECT_EQ(accounted, 64 << 20);
  const int64_t full = ResidentBytes();
  EXPECT_GE(full - empty, accounted * 95 / 100);

  cache->Truncate(4096);
  const auto kept = static_cast<int64_t>(cache->Usage().allocated);
  EXPECT_EQ(kept, 16 << 20);
  const int64_t truncated = ResidentBytes();
  EXPECT_GE(full - truncated, (accounted - kept) * 95 / 100);

  cache.reset();
  EXPECT_EQ(pool.allocated_bytes(), 0u);
  EXPECT_GE(truncated - ResidentBytes(), kept * 95 / 100);
}

// Eight sequences grow by turns, in small steps, so that their pages lie mixed; half of them end.
TEST(Usage, InterleavedSequencesEnd_TheirMemoryComesBack) {
  PagePool pool;
  std::vector<SequenceCache> all;
  for (int i = 0; i < 8; ++i) all.emplace_back(&pool, WideSpec());
  for (int32_t first = 0; first < 2048; first += 64) {
    for (SequenceCache& cache : all) Fill(&cache, first, 64);
  }
  const auto accounted = static_cast<int64_t>(pool.allocated_bytes());
  EXPECT_EQ(accounted, 64 << 20);
  const int64_t full = ResidentBytes();
  for (int i = 7; i >= 0; i -= 2) all.erase(all.begin() + i);
  const auto kept = static_cast<int64_t>(pool.allocated_bytes());
  EXPECT_EQ(kept, 32 << 20);
  EXPECT_GE(full - ResidentBytes(), (accounted - kept) * 95 / 100);
  const std::vector<float> ones(64, 1.0f);
  std::vector<float> row(64);
  for (const SequenceCache& cache : all) {
    for (const PageView& page : cache.Head(3, 3).values) {
      for (uint32_t i = 0; i < page.count; ++i) {
        page.form->load(Side::kValues, page.data, page.shape, i, 1, row.data(), 64);
        ASSERT_EQ(row, ones);
      }
    }
  }
}

TEST(Usage, ForkShares_PoolCountsOnce) {
  PagePool pool;
  SequenceCache cache(&pool, WideSpec());
  Fill(&cache, 0, 1024);
  const uint64_t allocated = pool.allocated_bytes();
  SequenceCache fork = cache.Fork();
  EXPECT_EQ(pool.allocated_bytes(), allocated);
  EXPECT_EQ(fork.Usage().logical, cache.Usage().logical);
  Fill(&fork, 1024, 8);  // full pages stay shared; 32 lists get a page of 1 KiB
  EXPECT_EQ(pool.allocated_bytes(), allocated + 32 * 1024);
}

// Keeps every tenth entry, in every head.
void KeepTenth(SequenceCache* cache) {
  for (uint32_t layer = 0; layer < cache->spec().num_layers; ++layer) {
    for (uint32_t head = 0; head < cache->spec().num_kv_heads; ++head) {
      std::vector<uint32_t> kept;
      for (uint32_t i = 0; i < cache->num_entries(layer, head); i += 10) kept.push_back(i);
      ASSERT_TRUE(cache->Keep(layer, head, kept));
    }
  }
}

TEST(Usage, NineTenthsDropped_TheirMemoryGoesBackToTheSystem) {
  PagePool pool;
  SequenceCache cache(&pool, WideSpec());
  for (int32_t first = 0; first < 16384; first += 512) Fill(&cache, first, 512);
  const auto full = static_cast<int64_t>(pool.allocated_bytes());
  ASSERT_EQ(full, 64 << 20);
  const int64_t resident_full = ResidentBytes();
  KeepTenth(&cache);

  // 1639 entries per head sit in 13 pages of 128 for keys and for values, of 16 KiB each, and in 13
  // arrays of positions of 512 bytes.
  const CacheUsage usage = cache.Usage();
  EXPECT_EQ(usage.entries, 16u * 1639);
  EXPECT_EQ(usage.held, 16u * (26 * 16384 + 13 * 512));
  EXPECT_EQ(pool.used_bytes(), usage.held);
  EXPECT_LE(pool.allocated_bytes(), usage.held * 101 / 100);
  EXPECT_LE(usage.Fragmentation(), 1.05);  // 13 * 128 / 1639 = 1.015, and 2 % of positions
  const auto freed = full - static_cast<int64_t>(pool.allocated_bytes());
  EXPECT_GE(resident_full - ResidentBytes(), freed * 95 / 100);

  // While it was dropped, there were at most the positions and a page on top.
  EXPECT_GE(usage.peak, static_cast<uint64_t>(full));
  EXPECT_LE(usage.peak, static_cast<uint64_t>(full) + 128 * 1024);
  EXPECT_GE(usage.held_peak, static_cast<uint64_t>(full));
  EXPECT_LE(usage.held_peak, usage.peak);
}

// Where every block is whole system pages and nobody else is in the pool, the sequence's peak is
// the pool's, the moments inside a step included.
TEST(Usage, HeldPeakOfALoneSequence_IsThePoolsPeak) {
  PagePool pool;
  const ListSpec list{.form = FindForm("f32"), .dim = 128};  // 4 KiB per 8 entries
  SequenceCache cache(&pool, {.num_layers = 2, .num_kv_heads = 2, .keys = list, .values = list});
  int32_t position = 0;
  const auto check = [&] {
    EXPECT_EQ(cache.Usage().held, pool.allocated_bytes());
    EXPECT_EQ(cache.Usage().held_peak, pool.peak_bytes());
  };
  for (const uint32_t count : {5u, 40u, 1u, 200u, 300u, 64u}) {
    ASSERT_TRUE(cache.Extend(Positions(position, count)));
    position += static_cast<int32_t>(count);
    check();
    const auto size = static_cast<uint32_t>(cache.num_entries(1, 0));
    std::vector<uint32_t> kept(size / 2 + 1);
    std::iota(kept.begin(), kept.end(), size - static_cast<uint32_t>(kept.size()));
    ASSERT_TRUE(cache.Keep(1, 0, kept));  // contiguous: no positions
    check();
  }
  cache.Truncate(position - 70);
  check();
}

TEST(Usage, Forks_EachHoldInFullAndInheritThePeak) {
  PagePool pool;
  SequenceCache cache(&pool, WideSpec());
  Fill(&cache, 0, 1024);
  const uint64_t full = cache.Usage().held;
  EXPECT_EQ(full, 4u << 20);
  KeepTenth(&cache);
  const uint64_t kept = cache.Usage().held;
  EXPECT_LT(kept, full / 7);
  SequenceCache fork = cache.Fork();
  EXPECT_EQ(fork.Usage().held, kept);
  EXPECT_GE(fork.Usage().held_peak, full);
  EXPECT_EQ(fork.Usage().held_peak, cache.Usage().held_peak);
  EXPECT_EQ(pool.used_bytes(), kept);  // shared: once in the pool
  const uint64_t peak = cache.Usage().held_peak;
  ASSERT_TRUE(fork.Extend(Positions(1024, 2000)));
  EXPECT_GT(fork.Usage().held_peak, peak);
  EXPECT_EQ(cache.Usage().held_peak, peak);  // what the fork does is not the original's
  EXPECT_EQ(cache.Usage().held, kept);
  SequenceCache other(&pool, WideSpec());
  EXPECT_EQ(other.Usage().held, 0u);
  EXPECT_EQ(other.Usage().held_peak, 0u);
}

// 64 sequences of 8 heads, each head with another length: compressed to a half or so, some replaced
// by new ones, all decoding on. What the pool holds per byte of entries.
double FragmentationAround(uint32_t mean_entries) {
  PagePool pool;
  Rng rng(mean_entries);
  const ListSpec list{.form = FindForm("f16"), .dim = 64};
  const CacheSpec spec{.num_layers = 2, .num_kv_heads = 4, .keys = list, .values = list};
  std::vector<SequenceCache> all;
  for (int round = 0; round < 96; ++round) {
    SequenceCache cache(&pool, spec);
    EXPECT_TRUE(cache.Extend(Positions(0, 2 * mean_entries)));
    for (uint32_t head = 0; head < 8; ++head) {
      // Kept with chances from 0.25 to 0.75: lengths around the mean, evenly spread.
      const uint32_t per_mille = 250 + rng.Below(501);
      std::vector<uint32_t> kept;
      for (uint32_t i = 0; i < 2 * mean_entries; ++i) {
        if (rng.Below(1000) < per_mille) kept.push_back(i);
      }
      EXPECT_TRUE(cache.Keep(head / 4, head % 4, kept));
    }
    if (all.size() < 64) {
      all.push_back(std::move(cache));
    } else {
      all[rng.Below(64)] = std::move(cache);
    }
    for (SequenceCache& other : all) {
      if (rng.Below(8) != 0) continue;
      const int32_t next = static_cast<int32_t>(2 * mean_entries) + round;
      EXPECT_TRUE(other.Extend({&next, 1}));
    }
  }
  uint64_t logical = 0;
  for (const SequenceCache& cache : all) logical += cache.Usage().logical;
  return static_cast<double>(pool.allocated_bytes()) / static_cast<double>(logical);
}

TEST(Usage, SixtyFourRaggedSequences_WasteLittle) {
  const double long_heads = FragmentationAround(1000), short_heads = FragmentationAround(50);
  RecordProperty("around_1000", std::to_string(long_heads));
  RecordProperty("around_50", std::to_string(short_heads));
  EXPECT_LE(long_heads, 1.10);
  EXPECT_LE(short_heads, 1.40);
}

}  // namespace
}  // namespace pith
