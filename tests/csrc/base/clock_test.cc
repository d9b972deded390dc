#include "base/clock.h"

#include <gtest/gtest.h>

#include <type_traits>

namespace fastserve {
namespace {

TEST(Clock, UnitsAreNanoseconds) {
  static_assert(std::is_same_v<Nanos, int64_t>);
  static_assert(kMicrosecond == 1'000);
  static_assert(kMillisecond == 1'000 * kMicrosecond);
  static_assert(kSecond == 1'000 * kMillisecond);
  // A deadline of kNever is after every time that a process can see.
  static_assert(kNever / kSecond / 86'400 / 365 > 290);
}

// The same clock as the system's, in its unit, and between two looks at it.
TEST(Clock, NowIsTheMonotonicClock) {
  const auto system_now = [] {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return Nanos{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  };
  const Nanos before = system_now();
  const Nanos now = NowNanos();
  EXPECT_LE(before, now);
  EXPECT_LE(now, system_now());
}

}  // namespace
}  // namespace fastserve
