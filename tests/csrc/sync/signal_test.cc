#include "sync/signal.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "sync/counting_futex.h"
#include "sync/deterministic_schedule.h"
#include "sync/mpsc_queue.h"

namespace fastserve {
namespace {

TEST(Signal, MakesNoSystemCallWhenNobodyMayWait) {
  CountingFutex::waits = CountingFutex::wakes = 0;
  BasicSignal<CountingFutex> signal;
  signal.Notify();
  signal.Notify();
  EXPECT_EQ(CountingFutex::wakes, 0);
  const uint32_t key = signal.Prepare();
  signal.Notify();
  EXPECT_EQ(CountingFutex::wakes, 1);
  signal.Notify();
  EXPECT_EQ(CountingFutex::wakes, 1);
  signal.Wait(key, kNever);
  EXPECT_EQ(CountingFutex::waits, 0);
}

TEST(Signal, DoesNotSleepWhenNotifiedAfterPrepare) {
  Signal signal;
  const uint32_t key = signal.Prepare();
  signal.Notify();
  signal.Wait(key, kNever);  // Would hang.
}

// The epoch's reason: the second sleeper's mark makes the word look as the first one left it.
TEST(Signal, IsNotHiddenFromOneSleeperByTheMarkOfAnother) {
  CountingFutex::waits = CountingFutex::wakes = 0;
  BasicSignal<CountingFutex> signal;
  const uint32_t first = signal.Prepare();
  signal.Notify();
  const uint32_t second = signal.Prepare();
  signal.Wait(first, kNever);
  EXPECT_EQ(CountingFutex::waits, 0);
  signal.Wait(second, kNever);
  EXPECT_EQ(CountingFutex::waits, 1);
}

TEST(Signal, ReturnsAtItsDeadline) {
  Signal signal;
  const Nanos deadline = NowNanos() + 2 * kMillisecond;
  // The kernel may wake for nothing: go back until the time has come, as a user would.
  while (NowNanos() < deadline) signal.Wait(signal.Prepare(), deadline);
  EXPECT_GE(NowNanos(), deadline);
}

TEST(Signal, ReturnsAtOnceWhenTheDeadlineIsPast) {
  Signal signal;
  signal.Wait(signal.Prepare(), NowNanos() - kSecond);
  signal.Wait(signal.Prepare(), 0);
  signal.Wait(signal.Prepare(), -kSecond);
}

// A hang of this test is a lost wake-up.
TEST(Signal, WakesARealThreadForEveryPush) {
  constexpr int kProducers = 2;
  constexpr int kEach = 20'000;
  MpscQueue<int> queue(16);
  Signal filled;
  Signal freed;
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        while (true) {
          const uint32_t key = freed.Prepare();
          if (queue.TryPush(int{i})) break;
          freed.Wait(key, kNever);
        }
        filled.Notify();
      }
    });
  }
  for (int popped = 0; popped < kProducers * kEach;) {
    const uint32_t key = filled.Prepare();
    int value = 0;
    if (queue.TryPop(&value)) {
      ++popped;
      freed.Notify();
    } else {
      filled.Wait(key, kNever);
    }
  }
  for (std::thread& producer : producers) producer.join();
}

// The scheduler's loop: prepare, look, sleep. The last check is was_empty, which counts pushes that
// have begun, so a sleeper that trusts it must be woken by their Notify.
TEST(Signal, LosesNoWakeUpInAnyInterleaving) {
  for (uint64_t seed = 1; seed <= 400 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    BasicSignal<DeterministicFutex> signal;
    MpscQueue<int, DeterministicAtom> queue(8);
    int popped = 0;
    const auto produce = [&] {
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(queue.TryPush(int{i}));
        signal.Notify();
      }
    };
    DeterministicSchedule schedule(seed);
    schedule.Run({produce, produce, [&] {
                    while (popped < 6) {
                      const uint32_t key = signal.Prepare();
                      while (queue.TryPop()) ++popped;
                      if (popped < 6 && queue.was_empty()) signal.Wait(key, kNever);
                    }
                  }});
    EXPECT_EQ(popped, 6);
    EXPECT_EQ(schedule.lost_wakeups(), 0);
  }
}

// Notify wakes all: with two sleepers none may be left behind.
TEST(Signal, WakesEverySleeperInAnyInterleaving) {
  for (uint64_t seed = 1; seed <= 300 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    BasicSignal<DeterministicFutex> signal;
    DeterministicAtom<int> work;
    const auto sleep_until_work = [&] {
      while (true) {
        const uint32_t key = signal.Prepare();
        if (work.load(std::memory_order_acquire) != 0) return;
        signal.Wait(key, kNever);
      }
    };
    DeterministicSchedule schedule(seed);
    schedule.Run({sleep_until_work, sleep_until_work, [&] {
                    work.store(1, std::memory_order_release);
                    signal.Notify();
                  }});
    EXPECT_EQ(schedule.lost_wakeups(), 0);
  }
}

}  // namespace
}  // namespace fastserve
