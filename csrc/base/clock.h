// The core's only clock: nanoseconds of CLOCK_MONOTONIC.
//
// Pure rooms (protocol, DynamicBatcher) never call it; they are told the time, so that a test can
// replay hours in seconds.
#pragma once

#include <time.h>

#include <cstdint>
#include <limits>

namespace fastserve {

// Nanoseconds; as a point in time, since an arbitrary start.
using Nanos = int64_t;

inline constexpr Nanos kNever = std::numeric_limits<Nanos>::max();
inline constexpr Nanos kMicrosecond = 1'000;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;

inline Nanos NowNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

}  // namespace fastserve
