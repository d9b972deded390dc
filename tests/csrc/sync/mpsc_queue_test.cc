#include "sync/mpsc_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "sync/deterministic_schedule.h"

namespace fastserve {
namespace {

using IntPtr = std::unique_ptr<int>;

TEST(MpscQueue, RoundsItsCapacityUpToAPowerOfTwo) {
  EXPECT_EQ(MpscQueue<int>(0).capacity(), 2u);
  EXPECT_EQ(MpscQueue<int>(5).capacity(), 8u);
  EXPECT_EQ(MpscQueue<int>(8).capacity(), 8u);
}

// Several laps, so that every cell is used more than once.
TEST(MpscQueue, PopsInTheOrderOfPushes) {
  MpscQueue<int> queue(4);
  int next_out = 0;
  for (int i = 0; i < 30; i += 3) {
    for (int k = 0; k < 3; ++k) ASSERT_TRUE(queue.TryPush(i + k));
    for (int k = 0; k < 3; ++k) EXPECT_EQ(queue.TryPop(), next_out++);
  }
  EXPECT_EQ(queue.TryPop(), std::nullopt);
}

TEST(MpscQueue, RefusesWhenFullAndLeavesTheValueAlone) {
  MpscQueue<IntPtr> queue(2);
  ASSERT_TRUE(queue.TryPush(std::make_unique<int>(1)));
  ASSERT_TRUE(queue.TryPush(std::make_unique<int>(2)));
  IntPtr third = std::make_unique<int>(3);
  EXPECT_FALSE(queue.TryPush(std::move(third)));
  ASSERT_NE(third, nullptr);
  EXPECT_EQ(*third, 3);
  EXPECT_EQ(**queue.TryPop(), 1);
  EXPECT_TRUE(queue.TryPush(std::move(third)));
  EXPECT_EQ(third, nullptr);
}

TEST(MpscQueue, LeavesTheTargetAloneWhenThereIsNothingToPop) {
  MpscQueue<IntPtr> queue(2);
  IntPtr out = std::make_unique<int>(7);
  EXPECT_FALSE(queue.TryPop(&out));
  EXPECT_EQ(*out, 7);
}

TEST(MpscQueue, KnowsItsSizeWhenNobodyElseIsBusy) {
  MpscQueue<int> queue(4);
  EXPECT_TRUE(queue.was_empty());
  ASSERT_TRUE(queue.TryPush(1));
  ASSERT_TRUE(queue.TryPush(2));
  EXPECT_EQ(queue.size_approx(), 2u);
  (void)queue.TryPop();
  EXPECT_EQ(queue.size_approx(), 1u);
  EXPECT_FALSE(queue.was_empty());
}

TEST(MpscQueue, DestroysWhatItPopsAndWhatIsLeft) {
  const auto counted = std::make_shared<int>(0);
  {
    MpscQueue<std::shared_ptr<int>> queue(4);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(queue.TryPush(std::shared_ptr<int>(counted)));
    EXPECT_EQ(counted.use_count(), 4);
    (void)queue.TryPop();
    EXPECT_EQ(counted.use_count(), 3);
  }
  EXPECT_EQ(counted.use_count(), 1);
}

// What one producer pushed: its number and a running count.
struct Tagged {
  int producer;
  int count;
};

// Checks that values arrive once each, and in order for each producer.
class ArrivalLog {
 public:
  explicit ArrivalLog(int producers) : next_(producers, 0) {}
  void Add(const Tagged& value) { EXPECT_EQ(value.count, next_[value.producer]++); }
  int total() const {
    int sum = 0;
    for (int count : next_) sum += count;
    return sum;
  }

 private:
  std::vector<int> next_;
};

// Small capacity, so that producers meet a full queue all the time.
TEST(MpscQueue, LosesNothingBetweenRealThreads) {
  constexpr int kProducers = 3;
  constexpr int kEach = 20'000;
  MpscQueue<std::unique_ptr<Tagged>> queue(8);
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p) {
    producers.emplace_back([&queue, p] {
      for (int i = 0; i < kEach; ++i) {
        auto value = std::make_unique<Tagged>(Tagged{p, i});
        while (!queue.TryPush(std::move(value))) std::this_thread::yield();
      }
    });
  }
  ArrivalLog log(kProducers);
  while (log.total() < kProducers * kEach) {
    if (auto value = queue.TryPop()) {
      log.Add(**value);
    } else {
      std::this_thread::yield();
    }
  }
  for (std::thread& producer : producers) producer.join();
  EXPECT_TRUE(queue.was_empty());
}

// Two producers through two cells: each seed is another interleaving of claim, publish and pop.
TEST(MpscQueue, LosesNothingInAnyInterleaving) {
  constexpr int kEach = 4;
  for (uint64_t seed = 1; seed <= 300 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    MpscQueue<std::unique_ptr<Tagged>, DeterministicAtom> queue(2);
    ArrivalLog log(2);
    const auto produce = [&queue](int producer) {
      for (int i = 0; i < kEach; ++i) {
        auto value = std::make_unique<Tagged>(Tagged{producer, i});
        while (!queue.TryPush(std::move(value))) {
        }
      }
    };
    DeterministicSchedule schedule(seed);
    schedule.Run({[&] { produce(0); }, [&] { produce(1); },
                  [&] {
                    while (log.total() < 2 * kEach) {
                      EXPECT_LE(queue.size_approx(), queue.capacity());
                      if (auto value = queue.TryPop()) {
                        ASSERT_NE(*value, nullptr);
                        log.Add(**value);
                      }
                    }
                  }});
    EXPECT_TRUE(queue.was_empty());
  }
}

}  // namespace
}  // namespace fastserve
