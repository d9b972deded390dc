#include "memory/slab_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

namespace fastserve {
namespace {

constexpr size_t kKib = 1024;
constexpr size_t kMib = 1024 * kKib;

// The hook counts, and fails the allocation that a test has chosen.
std::atomic<int> allocations_until_failure{-1};
std::atomic<int> allocations{0};

void* CountedAllocate(size_t alignment, size_t bytes) {
  ++allocations;
  if (allocations_until_failure.fetch_sub(1) == 0) return nullptr;
  return std::aligned_alloc(alignment, bytes);
}

SlabPool::Options Counted() {
  allocations = 0;
  allocations_until_failure = -1;
  return {.allocate = CountedAllocate};
}

TEST(SlabPool, RoundsToPowersOfTwoAndAboveOneMebibyteToQuarters) {
  EXPECT_EQ(SlabPool::CapacityFor(0), 4 * kKib);
  EXPECT_EQ(SlabPool::CapacityFor(1), 4 * kKib);
  EXPECT_EQ(SlabPool::CapacityFor(4 * kKib), 4 * kKib);
  EXPECT_EQ(SlabPool::CapacityFor(4 * kKib + 1), 8 * kKib);
  EXPECT_EQ(SlabPool::CapacityFor(600 * kKib), kMib);
  EXPECT_EQ(SlabPool::CapacityFor(kMib), kMib);
  EXPECT_EQ(SlabPool::CapacityFor(kMib + 1), kMib + kMib / 4);
  EXPECT_EQ(SlabPool::CapacityFor(2 * kMib - 1), 2 * kMib);
  EXPECT_EQ(SlabPool::CapacityFor(2 * kMib + 1), 2 * kMib + kMib / 2);
  EXPECT_EQ(SlabPool::CapacityFor(SlabPool::kCapacityMax), SlabPool::kCapacityMax);
  EXPECT_EQ(SlabPool::CapacityFor(SlabPool::kCapacityMax + 1), 0u);
}

// Every capacity holds what was asked for, is its own capacity, and wastes no more than it says.
TEST(SlabPool, NeverRoundsDownAndWastesAtMostAQuarterOfLargeSizes) {
  for (size_t bytes = 1; bytes < SlabPool::kCapacityMax; bytes = bytes * 9 / 8 + 1) {
    const size_t capacity = SlabPool::CapacityFor(bytes);
    ASSERT_GE(capacity, bytes);
    ASSERT_EQ(SlabPool::CapacityFor(capacity), capacity);
    if (bytes > kMib) {
      ASSERT_LE(capacity - bytes, bytes / 4);
    }
  }
}

TEST(SlabPool, GivesAlignedMemoryWithReadableSpareBytes) {
  const auto pool = SlabPool::Create({});
  for (const size_t bytes : {size_t{0}, size_t{1}, 5 * kKib, kMib, 3 * kMib + 7}) {
    const BufferRef buffer = pool->Acquire(bytes);
    ASSERT_TRUE(buffer);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
    EXPECT_EQ(buffer->size(), SlabPool::CapacityFor(bytes));
    EXPECT_TRUE(buffer->has_one_owner());
    // AddressSanitizer would object if one of these were not ours.
    std::memset(buffer->data(), 0x5a, buffer->size() + SlabPool::kSpareBytes);
  }
}

TEST(SlabPool, HandsOutTheSlabThatWasReleasedLast) {
  const auto pool = SlabPool::Create(Counted());
  BufferRef first = pool->Acquire(10 * kKib);
  BufferRef second = pool->Acquire(10 * kKib);
  std::byte* const released_last = second->data();
  first = {};
  second = {};
  const BufferRef again = pool->Acquire(9 * kKib);
  EXPECT_EQ(again->data(), released_last);
  EXPECT_EQ(allocations, 2);
  EXPECT_EQ(pool->stats().reused, 1u);
}

TEST(SlabPool, RefusesWhatWouldPassItsLimitAndRecoversAfterARelease) {
  const auto pool = SlabPool::Create({.bytes_max = 64 * kKib});
  BufferRef large = pool->Acquire(60 * kKib);
  ASSERT_TRUE(large);
  EXPECT_FALSE(pool->Acquire(1));
  EXPECT_FALSE(pool->Acquire(SIZE_MAX));
  EXPECT_EQ(pool->stats().in_use_bytes, 64 * kKib);
  EXPECT_EQ(pool->stats().refused, 2u);
  large = {};
  EXPECT_TRUE(pool->Acquire(1));
  EXPECT_FALSE(pool->Acquire(64 * kKib + 1));
}

TEST(SlabPool, CountsASlabAsInUseUntilItsLastReferenceIsGone) {
  const auto pool = SlabPool::Create({});
  BufferRef one = pool->Acquire(1);
  BufferRef other = one;
  one = {};
  EXPECT_EQ(pool->stats().in_use_bytes, 4 * kKib);
  EXPECT_EQ(pool->stats().cached_bytes, 0u);
  other = {};
  EXPECT_EQ(pool->stats().in_use_bytes, 0u);
  EXPECT_EQ(pool->stats().cached_bytes, 4 * kKib);
}

TEST(SlabPool, KeepsNoMoreThanItsCacheLimit) {
  const auto pool = SlabPool::Create({.cached_bytes_max = 8 * kKib});
  std::vector<BufferRef> buffers;
  for (int i = 0; i < 5; ++i) buffers.push_back(pool->Acquire(1));
  buffers.push_back(pool->Acquire(16 * kKib));  // Larger than the whole cache.
  buffers.clear();
  EXPECT_EQ(pool->stats().cached_bytes, 8 * kKib);
  EXPECT_EQ(pool->stats().in_use_bytes, 0u);
}

// Traffic changes its sizes: the cache follows.
TEST(SlabPool, LetsOtherSizesMakeRoomForTheSizeInUse) {
  const auto pool = SlabPool::Create({.cached_bytes_max = 16 * kKib});
  std::vector<BufferRef> small;
  for (int i = 0; i < 4; ++i) small.push_back(pool->Acquire(1));
  small.clear();
  ASSERT_EQ(pool->stats().cached_bytes, 16 * kKib);
  (void)pool->Acquire(8 * kKib);
  EXPECT_EQ(pool->stats().cached_bytes, 16 * kKib);
  (void)pool->Acquire(8 * kKib);
  EXPECT_EQ(pool->stats().reused, 1u);
}

TEST(SlabPool, TrimGivesEverythingCachedBack) {
  const auto pool = SlabPool::Create({});
  {
    const BufferRef a = pool->Acquire(1), b = pool->Acquire(kMib);
  }
  EXPECT_EQ(pool->Trim(), kMib + 4 * kKib);
  EXPECT_EQ(pool->stats().cached_bytes, 0u);
  EXPECT_EQ(pool->Trim(), 0u);
}

TEST(SlabPool, LetsItsSlabsOutliveIt) {
  auto pool = SlabPool::Create({});
  BufferRef first = pool->Acquire(kMib);
  BufferRef second = pool->Acquire(1);
  (void)pool->Acquire(1);  // Something cached, too.
  pool.reset();
  std::memset(first->data(), 1, first->size());
  first = {};
  std::memset(second->data(), 1, second->size());
  second = {};  // LeakSanitizer sees what would stay behind.
}

TEST(SlabPool, TakesReleasesFromOtherThreads) {
  constexpr int kThreads = 3;
  constexpr int kRounds = 3'000;
  auto pool = SlabPool::Create({.bytes_max = 4 * kMib, .cached_bytes_max = 256 * kKib});
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&pool, &failures, t] {
      BufferRef kept;
      for (int i = 0; i < kRounds; ++i) {
        BufferRef buffer = pool->Acquire(static_cast<size_t>((i * 37 + t) % 64) * kKib);
        if (!buffer) {
          ++failures;
          continue;
        }
        std::memset(buffer->data(), t, 64);
        kept = std::move(buffer);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(pool->stats().in_use_bytes, 0u);
  EXPECT_LE(pool->stats().cached_bytes, 256 * kKib);
  // The last reference goes on another thread, and after the pool.
  std::thread last([buffer = pool->Acquire(kMib)]() mutable { buffer = {}; });
  pool.reset();
  last.join();
}

// Runs a fixed piece of traffic, failing its i-th allocation, for each i in turn.
TEST(SlabPool, SurvivesTheFailureOfEachAllocationInTurn) {
  int runs_without_failure = 0;
  for (int i = 0; runs_without_failure == 0; ++i) {
    ASSERT_LT(i, 100);
    const auto pool = SlabPool::Create(Counted());
    allocations_until_failure = i;
    size_t expected_bytes = 0;
    uint64_t refused = 0;
    std::vector<BufferRef> buffers;
    for (const size_t bytes : {size_t{1}, 5 * kKib, kMib, 2 * kMib, size_t{1}}) {
      BufferRef buffer = pool->Acquire(bytes);
      if (!buffer) {
        ++refused;
        continue;
      }
      expected_bytes += buffer->size();
      buffers.push_back(std::move(buffer));
    }
    EXPECT_EQ(pool->stats().in_use_bytes, expected_bytes);
    EXPECT_EQ(pool->stats().refused, refused);
    EXPECT_EQ(pool->stats().acquired, buffers.size());
    EXPECT_EQ(refused, i < 5 ? 1u : 0u);
    buffers.clear();
    EXPECT_EQ(pool->stats().in_use_bytes, 0u);
    if (refused == 0) ++runs_without_failure;
  }
}

TEST(SlabPool, GivesUpItsCacheBeforeItRefuses) {
  const auto pool = SlabPool::Create(Counted());
  (void)pool->Acquire(kMib);
  ASSERT_EQ(pool->stats().cached_bytes, kMib);
  allocations_until_failure = 0;
  EXPECT_TRUE(pool->Acquire(2 * kMib));  // Fails once, trims, and succeeds.
  EXPECT_EQ(allocations, 3);
  EXPECT_EQ(pool->stats().refused, 0u);
}

TEST(SlabPool, CountsTheSlabsThereAre) {
  const auto pool = SlabPool::Create({.bytes_max = 64 * kKib, .cached_bytes_max = 8 * kKib});
  BufferRef small = pool->Acquire(1);
  BufferRef large = pool->Acquire(16 * kKib);
  EXPECT_FALSE(pool->Acquire(64 * kKib));
  EXPECT_EQ(pool->stats().slabs, 2u);
  small = BufferRef();
  EXPECT_EQ(pool->stats().slabs, 2u) << "kept";
  small = pool->Acquire(1);
  EXPECT_EQ(pool->stats().slabs, 2u) << "used again";
  large = BufferRef();
  EXPECT_EQ(pool->stats().slabs, 1u) << "too large to keep";
  small = BufferRef();
  BufferRef other = pool->Acquire(8 * kKib);
  other = BufferRef();
  EXPECT_EQ(pool->stats().slabs, 1u) << "one made room for the other";
  pool->Trim();
  EXPECT_EQ(pool->stats().slabs, 0u);
}

#if defined(__SANITIZE_ADDRESS__)
TEST(SlabPoolDeathTest, ReportsAReadOfAReleasedSlab) {
  const auto pool = SlabPool::Create({});
  volatile std::byte* released = pool->Acquire(1)->data();
  ASSERT_GT(pool->stats().cached_bytes, 0u);
  EXPECT_DEATH((void)released[0], "use-after-poison");
}
#endif

}  // namespace
}  // namespace fastserve
