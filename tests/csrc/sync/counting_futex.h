// CountingFutex: all that a test can see of a futex, without a kernel.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"

namespace fastserve {

struct CountingFutex {
  using Word = std::atomic<uint32_t>;
  static void Wait(Word&, uint32_t, Nanos) { ++waits; }
  static void WakeAll(Word&) { ++wakes; }
  static inline int waits = 0;
  static inline int wakes = 0;
};

}  // namespace fastserve
