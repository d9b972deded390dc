#include "channel/adaptive_spin.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>
#include <vector>

namespace fastserve {
namespace {

int Cores() { return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)); }

// How many of so many looks, which find nothing, were made.
int Looks(AdaptiveSpin& spin, int times) {
  int looks = 0;
  for (int i = 0; i < times; ++i) {
    bool has_looked = false;
    EXPECT_FALSE(spin.Look([&] {
      has_looked = true;
      return false;
    }));
    looks += has_looked ? 1 : 0;
  }
  return looks;
}

TEST(AdaptiveSpin, FindsWhatIsThere) {
  if (Cores() < 2) GTEST_SKIP() << "one core: it never looks";
  AdaptiveSpin spin(kMillisecond);
  for (int i = 0; i < 100; ++i) {
    int left = 3;
    EXPECT_TRUE(spin.Look([&] { return --left == 0; }));
    EXPECT_EQ(left, 0);
  }
}

TEST(AdaptiveSpin, LooksForAsLongAsItMay) {
  if (Cores() < 2) GTEST_SKIP() << "one core: it never looks";
  AdaptiveSpin spin(2 * kMillisecond);
  const Nanos begin = NowNanos();
  EXPECT_EQ(Looks(spin, 1), 1);
  EXPECT_GE(NowNanos() - begin, 2 * kMillisecond);
}

TEST(AdaptiveSpin, NeverLooksWhenToldSo) {
  for (const Nanos longest : {Nanos{0}, Nanos{-1}}) {
    AdaptiveSpin spin(longest);
    EXPECT_EQ(Looks(spin, 1000), 0);
  }
}

TEST(AdaptiveSpin, LooksSeldomWhileItFindsNothing) {
  AdaptiveSpin spin(kMicrosecond);
  const int looks = Looks(spin, 64 * 20);
  EXPECT_LE(looks, 4 + 20);  // Until it is known not to pay, and a try now and then.
}

TEST(AdaptiveSpin, LooksAgainWhenThatPays) {
  if (Cores() < 2) GTEST_SKIP() << "one core: it never looks";
  AdaptiveSpin spin(kMicrosecond);
  Looks(spin, 200);
  // A try finds something, so the next ones look at once, as soon as it rests no more.
  const Nanos deadline = NowNanos() + 20 * kSecond;
  const auto is_there = [] { return true; };
  while (!spin.Look(is_there) && NowNanos() < deadline) {
  }
  EXPECT_TRUE(spin.Look(is_there));
}

TEST(AdaptiveSpin, LeavesHalfOfTheCoresToOthers) {
  if (Cores() < 2) GTEST_SKIP() << "one core: it never looks";
  // As many as may look, and hold on to it.
  const int most = Cores() / 2;
  std::atomic<int> looking{0};
  std::atomic<bool> is_done{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < most; ++i) {
    threads.emplace_back([&] {
      AdaptiveSpin spin(20 * kSecond);
      spin.Look([&, is_counted = false]() mutable {
        if (!std::exchange(is_counted, true)) looking.fetch_add(1, std::memory_order_relaxed);
        return is_done.load(std::memory_order_relaxed);
      });
    });
  }
  const Nanos deadline = NowNanos() + 20 * kSecond;
  while (looking.load(std::memory_order_relaxed) < most && NowNanos() < deadline) {
    std::this_thread::yield();
  }
  AdaptiveSpin spin(kMicrosecond);
  EXPECT_EQ(Looks(spin, 3), 0);
  is_done.store(true, std::memory_order_relaxed);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace fastserve
