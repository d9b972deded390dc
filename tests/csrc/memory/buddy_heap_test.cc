#include "memory/buddy_heap.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <iterator>
#include <map>
#include <random>
#include <vector>

namespace fastserve {
namespace {

constexpr size_t kUnit = BuddyHeap::kBlockBytesMin;

TEST(BuddyHeap, GivesBlocksAtMultiplesOfTheirSize) {
  BuddyHeap heap(64 * kUnit);
  for (const auto& [asked, given] : std::map<size_t, size_t>{{0, kUnit},
                                                             {1, kUnit},
                                                             {kUnit, kUnit},
                                                             {kUnit + 1, 2 * kUnit},
                                                             {5 * kUnit, 8 * kUnit}}) {
    const auto block = heap.Allocate(asked);
    ASSERT_TRUE(block) << asked;
    EXPECT_EQ(heap.BytesOf(*block), given) << asked;
    EXPECT_EQ(*block % given, 0u) << asked;
  }
  EXPECT_EQ(heap.bytes_in_use(), 13 * kUnit);
}

TEST(BuddyHeap, GivesAllOfItsRangeAndNoMore) {
  // No power of two: 32 + 4 + 1 units, and something that is no whole one.
  BuddyHeap heap(37 * kUnit + kUnit / 2);
  EXPECT_FALSE(heap.Allocate(33 * kUnit));
  std::vector<size_t> blocks;
  while (const auto block = heap.Allocate(kUnit)) blocks.push_back(*block);
  EXPECT_EQ(blocks.size(), 37u);
  for (const size_t block : blocks) {
    EXPECT_LE(block, 36 * kUnit);
    EXPECT_TRUE(heap.Free(block));
  }
  EXPECT_EQ(heap.bytes_in_use(), 0u);
  EXPECT_TRUE(heap.Allocate(32 * kUnit)) << "it is whole again";
  EXPECT_TRUE(heap.Allocate(4 * kUnit));
}

TEST(BuddyHeap, RefusesWhatNobodyHas) {
  BuddyHeap heap(16 * kUnit);
  const size_t block = *heap.Allocate(4 * kUnit);
  for (const size_t offset : {block + 1, block + kUnit, block + 4 * kUnit, 16 * kUnit, SIZE_MAX,
                              SIZE_MAX - kUnit + 1, size_t{1} << 63}) {
    EXPECT_FALSE(heap.Free(offset)) << offset;
    EXPECT_EQ(heap.BytesOf(offset), 0u) << offset;
  }
  EXPECT_TRUE(heap.Free(block));
  EXPECT_FALSE(heap.Free(block)) << "twice";
  EXPECT_EQ(heap.bytes_in_use(), 0u);
}

TEST(BuddyHeap, WithoutRoomForABlockGivesNone) {
  for (const size_t bytes : {size_t{0}, kUnit - 1}) {
    BuddyHeap heap(bytes);
    EXPECT_FALSE(heap.Allocate(0));
    EXPECT_FALSE(heap.Free(0));
  }
  BuddyHeap heap(kUnit);
  EXPECT_FALSE(heap.Allocate(SIZE_MAX));
  EXPECT_FALSE(heap.Allocate(kUnit + 1));
  EXPECT_TRUE(heap.Allocate(1));
  EXPECT_FALSE(heap.Allocate(1));
}

TEST(BuddyHeap, KeepsBlocksApartWhateverIsAsked) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    const size_t bytes = (1 + random() % 300) * kUnit;
    BuddyHeap heap(bytes);
    std::map<size_t, size_t> held;  // Offset and size.
    for (int step = 0; step < 2000; ++step) {
      if (random() % 2 == 0) {
        const size_t asked = random() % (random() % 8 == 0 ? bytes : 6 * kUnit);
        const auto block = heap.Allocate(asked);
        if (!block) continue;
        const size_t given = heap.BytesOf(*block);
        ASSERT_GE(given, asked);
        ASSERT_LE(*block + given, bytes);
        const auto [at, is_new] = held.emplace(*block, given);
        ASSERT_TRUE(is_new);
        if (at != held.begin()) {
          ASSERT_LE(std::prev(at)->first + std::prev(at)->second, *block);
        }
        if (std::next(at) != held.end()) {
          ASSERT_LE(*block + given, std::next(at)->first);
        }
      } else if (!held.empty()) {
        const auto at = std::next(held.begin(), random() % held.size());
        ASSERT_TRUE(heap.Free(at->first));
        held.erase(at);
      }
    }
    for (const auto& [offset, size] : held) ASSERT_TRUE(heap.Free(offset)) << size;
    EXPECT_EQ(heap.bytes_in_use(), 0u);
    // The largest power of two that fits is one block again.
    EXPECT_TRUE(heap.Allocate(std::bit_floor(bytes / kUnit) * kUnit)) << seed;
  }
}

}  // namespace
}  // namespace fastserve
