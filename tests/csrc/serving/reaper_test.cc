#include "serving/reaper.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "serving/fake_backend.h"
#include "serving/serving_map.h"

namespace fastserve {
namespace {

// An engine that tells which thread has destroyed it.
class Tracked {
 public:
  ServableHandle Make() {
    auto backend = FloatBackend();
    // What owns the engine goes with it.
    std::shared_ptr<Backend> tracked(backend.get(), [this, backend](Backend*) mutable {
      thread = ThisThreadsName();
      ++destroyed;
    });
    return ServeUnawaited(std::move(tracked), UpTo(8));
  }

  std::string thread;
  std::atomic<int> destroyed{0};
};

TEST(Reaper, DestroysOnItsOwnThread) {
  Tracked tracked;
  ServableHandle servable = tracked.Make();
  const std::shared_ptr<Departure> departure = servable->departure();
  EXPECT_FALSE(departure->is_gone());
  EXPECT_FALSE(departure->WaitUntil(NowNanos() + kMillisecond));
  servable.reset();
  EXPECT_TRUE(departure->WaitUntil(kNever));
  EXPECT_TRUE(departure->is_gone());
  EXPECT_EQ(tracked.thread, "fs-reaper");
  EXPECT_EQ(tracked.destroyed, 1);
}

TEST(Reaper, IsOneForAll) {
  Result<Reaper*> first = Reaper::OfProcess();
  ASSERT_TRUE(first.ok());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { EXPECT_EQ(*Reaper::OfProcess(), *first); });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Reaper, DestroysAllThatManyThreadsLetGoOf) {
  constexpr int kThreads = 4;
  constexpr int kEach = 25;
  Tracked tracked;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kEach; ++j) tracked.Make().reset();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE((*Reaper::OfProcess())->WaitUntil(kNever));
  EXPECT_EQ(tracked.destroyed, kThreads * kEach);
}

TEST(Reaper, WaitsForWhatWasLetGoOfBefore) {
  Reaper& reaper = **Reaper::OfProcess();
  EXPECT_TRUE(reaper.WaitUntil(NowNanos())) << "there is nothing to wait for";
  Tracked tracked;
  tracked.Make().reset();
  EXPECT_TRUE(reaper.WaitUntil(kNever));
  EXPECT_EQ(tracked.destroyed, 1);
}

// A loop that sleeps has looked long ago, and keeps nothing alive for it.
TEST(Reaper, IsGivenWhatIsRetiredWhileReadersSleep) {
  ServingMap map;
  ServingMap::Reader reader(map);
  Tracked tracked;
  map.Publish(tracked.Make());
  ASSERT_NE(reader.Find("m", ""), nullptr);
  ServableHandle retired = *map.Retire("m", 1);
  const std::shared_ptr<Departure> departure = retired->departure();
  retired.reset();
  EXPECT_TRUE(departure->WaitUntil(kNever));
}

}  // namespace
}  // namespace fastserve
