#include "sync/doorbell.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>

#include "sync/counting_futex.h"
#include "sync/deterministic_schedule.h"
#include "sync/spsc_ring.h"

namespace fastserve {
namespace {

TEST(Doorbell, WakesNobodyWhoDoesNotSleep) {
  CountingFutex::waits = CountingFutex::wakes = 0;
  BasicDoorbell<CountingFutex> bell;
  bell.Ring();
  const uint32_t key = bell.Prepare();
  bell.Withdraw();
  bell.Ring();
  EXPECT_EQ(CountingFutex::wakes, 0);
  bell.Wait(key, kNever);
  EXPECT_EQ(CountingFutex::waits, 0);
}

TEST(Doorbell, DoesNotSleepWhenRungAfterPrepare) {
  Doorbell bell;
  const uint32_t key = bell.Prepare();
  bell.Ring();
  bell.Wait(key, kNever);  // Would hang.
}

TEST(Doorbell, ReturnsAtItsDeadline) {
  Doorbell bell;
  const Nanos deadline = NowNanos() + 2 * kMillisecond;
  while (NowNanos() < deadline) bell.Wait(bell.Prepare(), deadline);
}

// The count may turn over; the mark stays what it is.
TEST(Doorbell, CountsBeyondItsEnd) {
  CountingFutex::waits = CountingFutex::wakes = 0;
  BasicDoorbell<CountingFutex> bell;
  auto& word = reinterpret_cast<std::atomic<uint32_t>&>(bell);
  word.store(UINT32_MAX - 3, std::memory_order_relaxed);
  const uint32_t key = bell.Prepare();
  bell.Ring();
  EXPECT_EQ(CountingFutex::wakes, 1);
  bell.Wait(key, kNever);
  EXPECT_EQ(CountingFutex::waits, 0);
  EXPECT_EQ(word.load(std::memory_order_relaxed), 0u);
}

TEST(Doorbell, TellsWhoRingsWhetherSomebodyWatches) {
  BasicDoorbell<CountingFutex> bell;
  EXPECT_FALSE(bell.Ring());
  bell.Watch();
  EXPECT_TRUE(bell.Ring());
  EXPECT_TRUE(bell.Ring());
  bell.Watch();
  EXPECT_TRUE(bell.Ring());
  bell.Unwatch();
  EXPECT_FALSE(bell.Ring());
  bell.Unwatch();
  EXPECT_FALSE(bell.Ring());
}

TEST(Doorbell, AWatcherAndASleeperDoNotDisturbEachOther) {
  CountingFutex::waits = CountingFutex::wakes = 0;
  BasicDoorbell<CountingFutex> bell;
  bell.Watch();
  uint32_t key = bell.Prepare();
  EXPECT_TRUE(bell.Ring());
  EXPECT_EQ(CountingFutex::wakes, 1);
  bell.Wait(key, kNever);  // It was rung.
  EXPECT_EQ(CountingFutex::waits, 0);
  EXPECT_TRUE(bell.Ring());  // The watcher's mark is there still,
  EXPECT_EQ(CountingFutex::wakes, 1);
  bell.Prepare();
  bell.Unwatch();
  EXPECT_FALSE(bell.Ring());  // and so is the sleeper's.
  EXPECT_EQ(CountingFutex::wakes, 2);
  bell.Withdraw();
  // Whoever begins to watch wakes the sleeper for nothing at worst.
  key = bell.Prepare();
  bell.Watch();
  bell.Wait(key, kNever);
  EXPECT_EQ(CountingFutex::waits, 0);
}

TEST(Doorbell, LosesNoRingInAnyInterleaving) {
  constexpr int kRecords = 5;
  for (uint64_t seed = 1; seed <= 500 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    BasicDoorbell<DeterministicFutex> bell;
    SpscRing<int, 2, DeterministicAtom> ring;
    auto producer = ring.TakeProducer();
    auto consumer = ring.TakeConsumer();
    int popped = 0;
    DeterministicSchedule schedule(seed);
    schedule.Run({[&] {
                    for (int i = 0; i < kRecords; ++i) {
                      while (!producer.TryPush(i)) DeterministicSchedule::Step();
                      bell.Ring();
                    }
                  },
                  [&] {
                    int record = 0;
                    while (popped < kRecords) {
                      const uint32_t key = bell.Prepare();
                      bool found = false;
                      while (consumer.TryPop(&record)) {
                        EXPECT_EQ(record, popped++);
                        found = true;
                      }
                      found ? bell.Withdraw() : bell.Wait(key, kNever);
                    }
                  }});
    EXPECT_EQ(popped, kRecords);
    EXPECT_EQ(schedule.lost_wakeups(), 0);
  }
}

// A loop that watches for a while, and looks whenever it was signalled or has changed its mind.
TEST(Doorbell, SignalsAWatcherInAnyInterleaving) {
  constexpr int kRecords = 5;
  for (uint64_t seed = 1; seed <= 500 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    BasicDoorbell<DeterministicFutex> bell;
    BasicDoorbell<DeterministicFutex> event_fd;
    SpscRing<int, 2, DeterministicAtom> ring;
    auto producer = ring.TakeProducer();
    auto consumer = ring.TakeConsumer();
    int popped = 0;
    DeterministicSchedule schedule(seed);
    schedule.Run({[&] {
                    for (int i = 0; i < kRecords; ++i) {
                      while (!producer.TryPush(i)) DeterministicSchedule::Step();
                      if (bell.Ring()) event_fd.Ring();
                    }
                  },
                  [&] {
                    int record = 0;
                    const auto take_all = [&] {
                      while (consumer.TryPop(&record)) EXPECT_EQ(record, popped++);
                    };
                    while (popped < kRecords) {
                      bell.Watch();
                      const uint32_t key = event_fd.Prepare();
                      take_all();
                      popped < kRecords ? event_fd.Wait(key, kNever) : event_fd.Withdraw();
                      if (popped % 2 == 0) bell.Unwatch();
                      take_all();
                    }
                  }});
    EXPECT_EQ(popped, kRecords);
    EXPECT_EQ(schedule.lost_wakeups(), 0);
  }
}

// The same bell has a sleeper as well, who takes what it finds.
TEST(Doorbell, LosesNoRingBesideAWatcherInAnyInterleaving) {
  constexpr int kRecords = 5;
  for (uint64_t seed = 1; seed <= 500 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    BasicDoorbell<DeterministicFutex> bell;
    SpscRing<int, 2, DeterministicAtom> ring;
    auto producer = ring.TakeProducer();
    auto consumer = ring.TakeConsumer();
    int popped = 0;
    DeterministicSchedule schedule(seed);
    schedule.Run({[&] {
                    for (int i = 0; i < kRecords; ++i) {
                      while (!producer.TryPush(i)) DeterministicSchedule::Step();
                      bell.Ring();
                    }
                  },
                  [&] {
                    int record = 0;
                    while (popped < kRecords) {
                      const uint32_t key = bell.Prepare();
                      bool found = false;
                      while (consumer.TryPop(&record)) {
                        EXPECT_EQ(record, popped++);
                        found = true;
                      }
                      found ? bell.Withdraw() : bell.Wait(key, kNever);
                    }
                  },
                  [&] {
                    for (int i = 0; i < 4; ++i) {
                      bell.Watch();
                      bell.Unwatch();
                    }
                  }});
    EXPECT_EQ(popped, kRecords);
    EXPECT_EQ(schedule.lost_wakeups(), 0);
  }
}

// Two bells in memory that is shared with a child, which answers each ring.
TEST(Doorbell, WakesAnotherProcess) {
  constexpr int kRounds = 2000;
  struct Shared {
    Doorbell there;
    Doorbell back;
    std::atomic<int> asked{0};
    std::atomic<int> answered{0};
  };
  void* const memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* const shared = new (memory) Shared;
  const auto await = [](Doorbell& bell, const std::atomic<int>& count, int wanted) {
    const Nanos deadline = NowNanos() + 20 * kSecond;
    while (true) {
      const uint32_t key = bell.Prepare();
      // SYNC(doorbell-test): pairs with the other process's store.
      if (count.load(std::memory_order_acquire) >= wanted) break;
      if (NowNanos() > deadline) return false;
      bell.Wait(key, deadline);
    }
    bell.Withdraw();
    return true;
  };
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 1; i <= kRounds; ++i) {
      if (!await(shared->there, shared->asked, i)) _exit(1);
      // SYNC(doorbell-test): pairs with the other process's load.
      shared->answered.store(i, std::memory_order_release);
      shared->back.Ring();
    }
    _exit(0);
  }
  for (int i = 1; i <= kRounds; ++i) {
    // SYNC(doorbell-test): pairs with the other process's load.
    shared->asked.store(i, std::memory_order_release);
    shared->there.Ring();
    ASSERT_TRUE(await(shared->back, shared->answered, i)) << i;
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  munmap(memory, sizeof(Shared));
}

}  // namespace
}  // namespace fastserve
