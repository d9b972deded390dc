#include "sync/spsc_ring.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <thread>
#include <type_traits>

#include "sync/deterministic_schedule.h"

namespace fastserve {
namespace {

struct Record {
  uint64_t number;
  uint64_t check;
};

Record RecordOf(uint64_t number) { return {number, ~number}; }

using Ring = SpscRing<Record, 4>;
static_assert(!std::is_copy_constructible_v<Ring::Producer>);
static_assert(!std::is_copy_constructible_v<Ring::Consumer>);
static_assert(!std::is_copy_constructible_v<Ring>);

TEST(SpscRing, PopsInTheOrderOfPushes) {
  Ring ring;
  Ring::Producer producer = ring.TakeProducer();
  Ring::Consumer consumer = ring.TakeConsumer();
  Record record{};
  uint64_t next_out = 0;
  for (uint64_t i = 0; i < 30; i += 3) {
    for (uint64_t k = 0; k < 3; ++k) ASSERT_TRUE(producer.TryPush(RecordOf(i + k)));
    for (int k = 0; k < 3; ++k) {
      ASSERT_TRUE(consumer.TryPop(&record));
      EXPECT_EQ(record.number, next_out++);
    }
  }
}

TEST(SpscRing, RefusesWhenFullAndUsesEverySlot) {
  Ring ring;
  Ring::Producer producer = ring.TakeProducer();
  Ring::Consumer consumer = ring.TakeConsumer();
  for (uint64_t i = 0; i < 4; ++i) EXPECT_TRUE(producer.TryPush(RecordOf(i)));
  EXPECT_FALSE(producer.TryPush(RecordOf(4)));
  EXPECT_EQ(ring.size_approx(), 4u);
  Record record{};
  ASSERT_TRUE(consumer.TryPop(&record));
  EXPECT_EQ(record.number, 0u);
  EXPECT_TRUE(producer.TryPush(RecordOf(4)));
  EXPECT_FALSE(producer.TryPush(RecordOf(5)));
}

TEST(SpscRing, EachEndIsTakenOnce) {
  Ring ring;
  const std::optional<Ring::Producer> producer = ring.TryTakeProducer();
  const std::optional<Ring::Consumer> consumer = ring.TryTakeConsumer();
  EXPECT_TRUE(producer.has_value());
  EXPECT_TRUE(consumer.has_value());
  EXPECT_FALSE(ring.TryTakeProducer().has_value());
  EXPECT_FALSE(ring.TryTakeConsumer().has_value());
}

TEST(SpscRing, LeavesTheTargetAloneWhenEmpty) {
  Ring ring;
  Ring::Consumer consumer = ring.TakeConsumer();
  Record record{7, 8};
  EXPECT_FALSE(consumer.TryPop(&record));
  EXPECT_EQ(record.number, 7u);
  EXPECT_TRUE(ring.was_empty());
}

TEST(SpscRingDeathTest, HandsEachEndOutOnce) {
  Ring ring;
  (void)ring.TakeProducer();
  (void)ring.TakeConsumer();
  EXPECT_DEATH((void)ring.TakeProducer(), "producer.has_value");
  EXPECT_DEATH((void)ring.TakeConsumer(), "consumer.has_value");
}

// The one who holds the other half of a shared ring may write anything into the indices.
TEST(SpscRing, StaysInsideItsSlotsWhenThePeerWritesNonsense) {
  Ring ring;
  Ring::Producer producer = ring.TakeProducer();
  Ring::Consumer consumer = ring.TakeConsumer();
  for (uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(producer.TryPush(RecordOf(i)));
  auto* indices = reinterpret_cast<uint64_t*>(&ring);  // tail at byte 0, head at byte 64.
  indices[8] = 1'000;                                  // head far beyond tail.
  EXPECT_FALSE(producer.TryPush(RecordOf(4)));
  EXPECT_FALSE(producer.TryPush(RecordOf(4)));  // Nor on a second try.
  indices[0] = ~uint64_t{0};
  Record record{};
  for (uint64_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(consumer.TryPop(&record));  // Repeats records, reads nothing else.
    EXPECT_EQ(record.number, i % 4);
  }
}

TEST(SpscRing, LosesNothingBetweenRealThreads) {
  constexpr uint64_t kCount = 50'000;
  const auto ring = std::make_unique<SpscRing<Record, 8>>();
  std::thread writer([producer = ring->TakeProducer()]() mutable {
    for (uint64_t i = 0; i < kCount; ++i) {
      while (!producer.TryPush(RecordOf(i))) std::this_thread::yield();
    }
  });
  auto consumer = ring->TakeConsumer();
  for (uint64_t i = 0; i < kCount;) {
    Record record{};
    if (!consumer.TryPop(&record)) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(record.number, i);
    ASSERT_EQ(record.check, ~i);
    ++i;
  }
  writer.join();
}

TEST(SpscRing, LosesNothingInAnyInterleaving) {
  constexpr uint64_t kCount = 10;
  for (uint64_t seed = 1; seed <= 300 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    using SmallRing = SpscRing<Record, 2, DeterministicAtom>;
    SmallRing ring;
    SmallRing::Producer producer = ring.TakeProducer();
    SmallRing::Consumer consumer = ring.TakeConsumer();
    DeterministicSchedule schedule(seed);
    schedule.Run({[&] {
                    for (uint64_t i = 0; i < kCount; ++i) {
                      while (!producer.TryPush(RecordOf(i))) {
                      }
                    }
                  },
                  [&] {
                    for (uint64_t i = 0; i < kCount;) {
                      EXPECT_LE(ring.size_approx(), 2u);
                      Record record{};
                      if (!consumer.TryPop(&record)) continue;
                      EXPECT_EQ(record.number, i);
                      EXPECT_EQ(record.check, ~i);
                      ++i;
                    }
                  }});
    EXPECT_TRUE(ring.was_empty());
  }
}

}  // namespace
}  // namespace fastserve
