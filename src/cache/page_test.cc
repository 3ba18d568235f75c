#include "cache/page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/rng.h"

namespace pith {
namespace {

TEST(CapacityClass, EveryCount_GetsTheSmallestThatFits) {
  for (uint32_t entries = 1; entries <= 128; ++entries) {
    uint32_t expected = 0;
    for (const uint32_t capacity : {128u, 96u, 64u, 48u, 32u, 24u, 16u, 8u}) {
      if (capacity >= entries) expected = capacity;
    }
    EXPECT_EQ(CapacityClass(entries), expected);
  }
  EXPECT_THROW(CapacityClass(0), std::logic_error);
  EXPECT_THROW(CapacityClass(129), std::logic_error);
}

TEST(PagePool, RandomBlocks_AreAlignedZeroedAndDisjoint) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    PagePool pool;
    const size_t sizes[] = {32, 64, 100, 1024, 1280, 4096, 5000, 16384, 131072, 700000};
    struct Block {
      std::byte* data;
      size_t bytes;
      std::byte mark;
    };
    std::vector<Block> blocks;
    uint64_t used = 0;
    for (int step = 0; step < 400; ++step) {
      const uint32_t action = rng.Below(10);
      if (action < 6) {
        const size_t bytes = sizes[rng.Below(10)];
        std::byte* data = pool.Allocate(bytes);
        ASSERT_NE(data, nullptr);
        ASSERT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
        ASSERT_TRUE(std::all_of(data, data + bytes, [](std::byte b) { return b == std::byte{0}; }));
        const auto mark = static_cast<std::byte>(1 + rng.Below(255));
        std::memset(data, static_cast<int>(mark), bytes);
        blocks.push_back({data, bytes, mark});
        used += (bytes + 63) / 64 * 64;
      } else if (action < 9 && !blocks.empty()) {
        std::swap(blocks[rng.Below(static_cast<uint32_t>(blocks.size()))], blocks.back());
        const Block block = blocks.back();
        blocks.pop_back();
        ASSERT_TRUE(std::all_of(block.data, block.data + block.bytes,
                                [&](std::byte b) { return b == block.mark; }));
        pool.Free(block.data, block.bytes);
        used -= (block.bytes + 63) / 64 * 64;
      } else if (action == 9) {
        pool.Trim();
      }
      ASSERT_EQ(pool.used_bytes(), used);
      ASSERT_GE(pool.allocated_bytes(), used);
      ASSERT_GE(pool.peak_bytes(), pool.allocated_bytes());
    }
    for (const Block& block : blocks) pool.Free(block.data, block.bytes);
    pool.Trim();
    EXPECT_EQ(pool.used_bytes(), 0u);
    EXPECT_EQ(pool.allocated_bytes(), 0u);
  }
}

TEST(PagePool, SmallBlocks_CostOnlyTheSystemPagesTheyTouch) {
  PagePool pool;
  std::vector<std::byte*> blocks;
  for (int i = 0; i < 10; ++i) blocks.push_back(pool.Allocate(1024));
  EXPECT_EQ(pool.allocated_bytes(), 3u * 4096);
  // Freeing counts only when a whole system page is free, and only after Trim.
  for (int i = 0; i < 3; ++i) pool.Free(blocks[i], 1024);
  pool.Trim();
  EXPECT_EQ(pool.allocated_bytes(), 3u * 4096);
  pool.Free(blocks[3], 1024);
  EXPECT_EQ(pool.allocated_bytes(), 3u * 4096);
  pool.Trim();
  EXPECT_EQ(pool.allocated_bytes(), 2u * 4096);
  EXPECT_EQ(pool.peak_bytes(), 3u * 4096);
  // The hole is filled first.
  EXPECT_EQ(pool.Allocate(1024), blocks[0]);
  EXPECT_EQ(pool.allocated_bytes(), 3u * 4096);
}

TEST(PagePool, BlocksAcrossSystemPages_KeepTheirNeighboursBytes) {
  PagePool pool;
  constexpr size_t kBytes = 1280;  // three system pages hold 9.6 of them
  std::vector<std::byte*> blocks;
  for (int i = 0; i < 16; ++i) {
    blocks.push_back(pool.Allocate(kBytes));
    std::memset(blocks.back(), i + 1, kBytes);
  }
  EXPECT_EQ(pool.allocated_bytes(), 5u * 4096);
  for (int i = 3; i < 13; ++i) pool.Free(blocks[i], kBytes);
  pool.Trim();  // bytes [3840, 16640) are free: pages 1..3 whole, 0 and 4 in part
  EXPECT_EQ(pool.allocated_bytes(), 2u * 4096);
  for (const int i : {0, 1, 2, 13, 14, 15}) {
    EXPECT_TRUE(std::all_of(blocks[i], blocks[i] + kBytes, [&](std::byte b) {
      return b == static_cast<std::byte>(i + 1);
    })) << i;
  }
  std::byte* again = pool.Allocate(kBytes);
  EXPECT_EQ(again, blocks[3]);
  EXPECT_TRUE(std::all_of(again, again + kBytes, [](std::byte b) { return b == std::byte{0}; }));
}

TEST(PagePool, Limit_IsNeverExceededAndFreedRoomOfOtherSizesCounts) {
  PagePool pool(64 * 4096);
  std::vector<std::byte*> small;
  while (std::byte* block = pool.Allocate(4096)) small.push_back(block);
  EXPECT_EQ(small.size(), 64u);
  EXPECT_EQ(pool.allocated_bytes(), 64u * 4096);
  EXPECT_EQ(pool.Allocate(64), nullptr);
  for (int i = 0; i < 4; ++i) pool.Free(small[10 + i], 4096);
  EXPECT_NE(pool.Allocate(16384), nullptr);  // trims by itself
  EXPECT_EQ(pool.Allocate(64), nullptr);
  EXPECT_EQ(pool.allocated_bytes(), 64u * 4096);
  EXPECT_EQ(pool.peak_bytes(), 64u * 4096);
}

TEST(PagePool, ManySlabs_AreFoundAndGivenBackInAnyOrder) {
  PagePool pool;
  Rng rng(5);
  std::vector<std::byte*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(pool.Allocate(131072));  // 32 per slab
  EXPECT_EQ(pool.allocated_bytes(), 1000u * 131072);
  rng.Shuffle(std::span(blocks));
  for (size_t i = 0; i < blocks.size(); ++i) {
    pool.Free(blocks[i], 131072);
    if (i % 100 == 99) {
      pool.Trim();
      EXPECT_EQ(pool.allocated_bytes(), (999 - i) * 131072);
    }
  }
}

TEST(PagePool, WrongFree_IsACheckedBug) {
  PagePool pool;
  std::byte* block = pool.Allocate(1024);
  EXPECT_THROW(pool.Free(block, 2048), std::logic_error);       // no such size
  EXPECT_THROW(pool.Free(block + 64, 1024), std::logic_error);  // not a block
  pool.Free(block, 1024);
  EXPECT_THROW(pool.Free(block, 1024), std::logic_error);  // twice
}

}  // namespace
}  // namespace pith
