#include "gateway/memory/tensor_arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

namespace fastserve {
namespace {

TEST(TensorArena, PutsSmallTensorsIntoOneSlabEachOnALine) {
  const std::shared_ptr<SlabPool> pool = SlabPool::Create({});
  TensorArena arena(pool);
  const std::byte* end = nullptr;
  for (size_t bytes = 1; bytes < 80; ++bytes) {
    const std::span<std::byte> memory = arena.Allocate(bytes);
    ASSERT_EQ(memory.size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.data()) % 64, 0u);
    EXPECT_GE(memory.data(), end) << "overlap";
    end = memory.data() + bytes;
    std::memset(memory.data(), 0x55, bytes);
    if (bytes >= 32) end = nullptr;  // Further slabs may lie anywhere.
  }
  EXPECT_LT(pool->stats().acquired, 5u);
}

TEST(TensorArena, GivesALargeTensorASlabOfItsOwn) {
  const std::shared_ptr<SlabPool> pool = SlabPool::Create({});
  TensorArena arena(pool);
  const auto small = arena.Allocate(10);
  const auto large = arena.Allocate(1 << 20);
  ASSERT_EQ(large.size(), size_t{1} << 20);
  EXPECT_NE(arena.OwnerOf(small).get(), arena.OwnerOf(large).get());
  EXPECT_TRUE(arena.OwnerOf(small));
  EXPECT_TRUE(arena.OwnerOf(large));
  const std::byte foreign{};
  EXPECT_FALSE(arena.OwnerOf({&foreign, 1}));
}

TEST(TensorArena, GivesNothingWhenThereIsNoMemory) {
  const std::shared_ptr<SlabPool> pool = SlabPool::Create({.bytes_max = 8 << 10});
  TensorArena arena(pool);
  EXPECT_TRUE(arena.Allocate(9 << 10).empty());
  EXPECT_TRUE(arena.Allocate(SIZE_MAX).empty());
  EXPECT_TRUE(arena.Allocate(SIZE_MAX - 63).empty());
  EXPECT_EQ(arena.Allocate(100).size(), 100u);
}

TEST(TensorArena, StartsAnewWhenCleared) {
  const std::shared_ptr<SlabPool> pool = SlabPool::Create({});
  TensorArena arena(pool);
  const auto first = arena.Allocate(4000);
  const BufferRef owner = arena.OwnerOf(first);
  arena.Clear();
  EXPECT_FALSE(arena.OwnerOf(first));
  const auto second = arena.Allocate(4000);
  EXPECT_NE(first.data(), second.data()) << "somebody still has it";
  EXPECT_EQ(arena.OwnerOf(second)->size(), SlabPool::CapacityFor(4000));
}

}  // namespace
}  // namespace fastserve
