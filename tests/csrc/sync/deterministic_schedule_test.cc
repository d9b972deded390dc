// The instrument is tested before what it measures: it must be repeatable, and it must find the
// classic mistakes.
#include "sync/deterministic_schedule.h"

#include <gtest/gtest.h>

#include "sync/signal.h"

namespace fastserve {
namespace {

// Two threads that increment without a read-modify-write.
int CountTo4InARacyWay(DeterministicSchedule& schedule) {
  DeterministicAtom<int> counter;
  const auto increment_twice = [&counter] {
    for (int i = 0; i < 2; ++i) {
      const int value = counter.load(std::memory_order_relaxed);
      counter.store(value + 1, std::memory_order_relaxed);
    }
  };
  schedule.Run({increment_twice, increment_twice});
  return counter.Peek();
}

TEST(DeterministicSchedule, RepeatsARunFromItsSeed) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    DeterministicSchedule first(seed);
    DeterministicSchedule second(seed);
    const int result = CountTo4InARacyWay(first);
    EXPECT_EQ(CountTo4InARacyWay(second), result) << "seed " << seed;
    EXPECT_EQ(first.trace(), second.trace()) << "seed " << seed;
  }
}

TEST(DeterministicSchedule, FindsTheLostUpdateOfARacyCounter) {
  int right = 0;
  int wrong = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    DeterministicSchedule schedule(seed);
    (CountTo4InARacyWay(schedule) == 4 ? right : wrong) += 1;
  }
  EXPECT_GT(right, 0);
  EXPECT_GT(wrong, 0);
}

// The sleeper looks for work before it takes its key: work that comes in between is slept over.
TEST(DeterministicSchedule, FindsTheLostWakeUpOfASleeperThatPreparesTooLate) {
  int lost = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    BasicSignal<DeterministicFutex> signal;
    DeterministicAtom<int> work;
    DeterministicSchedule schedule(seed);
    schedule.Run({[&] {
                    while (work.load(std::memory_order_acquire) == 0) {
                      signal.Wait(signal.Prepare(), kNever);
                    }
                  },
                  [&] {
                    work.store(1, std::memory_order_release);
                    signal.Notify();
                  }});
    lost += schedule.lost_wakeups();
  }
  EXPECT_GT(lost, 0);
}

}  // namespace
}  // namespace fastserve
