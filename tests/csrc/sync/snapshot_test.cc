#include "sync/snapshot.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace fastserve {
namespace {

TEST(Snapshot, ShowsAReaderTheNewestValue) {
  Snapshot<int> snapshot(std::make_shared<const int>(1));
  Snapshot<int>::Reader reader(snapshot);
  EXPECT_EQ(*reader.Get(), 1);
  snapshot.Store(std::make_shared<const int>(2));
  EXPECT_EQ(*reader.Get(), 2);
  EXPECT_EQ(*snapshot.Load(), 2);
}

TEST(Snapshot, MayHoldNothing) {
  Snapshot<int> snapshot;
  Snapshot<int>::Reader reader(snapshot);
  EXPECT_EQ(reader.Get(), nullptr);
  snapshot.Store(std::make_shared<const int>(2));
  EXPECT_NE(reader.Get(), nullptr);
}

TEST(Snapshot, KeepsAReplacedValueUntilItsLastReaderLooksAgain) {
  auto first = std::make_shared<const int>(1);
  const std::weak_ptr<const int> watched = first;
  Snapshot<int> snapshot(std::move(first));
  Snapshot<int>::Reader reader(snapshot);
  snapshot.Store(std::make_shared<const int>(2));
  EXPECT_FALSE(watched.expired());
  EXPECT_TRUE(reader.was_stale());
  (void)reader.Get();
  EXPECT_TRUE(watched.expired());
  EXPECT_FALSE(reader.was_stale());
}

// A value's destructor may use the snapshot: it must not run under the mutex.
TEST(Snapshot, DestroysReplacedValuesOutsideItsMutex) {
  struct LoadsWhenDestroyed {
    Snapshot<LoadsWhenDestroyed>* snapshot;
    int* destroyed;
    ~LoadsWhenDestroyed() {
      ++*destroyed;
      if (snapshot != nullptr) (void)snapshot->Load();
    }
  };
  int destroyed = 0;
  Snapshot<LoadsWhenDestroyed> snapshot;
  const auto store = [&](Snapshot<LoadsWhenDestroyed>* self) {
    snapshot.Store(std::shared_ptr<const LoadsWhenDestroyed>(
        new LoadsWhenDestroyed{self, &destroyed}));  // Would hang on replacing the one before.
  };
  store(&snapshot);
  store(&snapshot);
  EXPECT_EQ(destroyed, 1);
  Snapshot<LoadsWhenDestroyed>::Reader reader(snapshot);
  store(nullptr);
  EXPECT_EQ(destroyed, 1);
  (void)reader.Get();
  EXPECT_EQ(destroyed, 2);
}

// Both halves of a value are written before it is stored: no reader may see them differ, and no
// reader may go back in time.
TEST(Snapshot, IsNeverTornAndNeverGoesBackBetweenRealThreads) {
  struct Pair {
    int a;
    int b;
  };
  constexpr int kLast = 5'000;
  Snapshot<Pair> snapshot(std::make_shared<const Pair>(Pair{0, 0}));
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&snapshot] {
      Snapshot<Pair>::Reader reader(snapshot);
      int seen = 0;
      while (seen < kLast) {
        const auto& pair = reader.Get();
        ASSERT_EQ(pair->a, pair->b);
        ASSERT_GE(pair->a, seen);
        seen = pair->a;
      }
    });
  }
  for (int i = 1; i <= kLast; ++i) snapshot.Store(std::make_shared<const Pair>(Pair{i, i}));
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace fastserve
