// LinuxFutex: sleeping on a word of this process until it changes; SharedFutex: of memory that
// processes share.
//
// The kernel's half of Signal and of Doorbell, kept apart so that a test can put a simulated one in
// its place.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>

#include "base/check.h"
#include "base/clock.h"

namespace fastserve {

// `kFlags` is FUTEX_PRIVATE_FLAG where all sleepers are of this process: then the kernel need not
// look up what the page is a part of.
template <int kFlags>
struct BasicFutex {
  using Word = std::atomic<uint32_t>;
  static_assert(sizeof(Word) == 4 && Word::is_always_lock_free,
                "the kernel compares the plain 32-bit word");

  // Sleeps while `word` holds `expected`, until Wake, `deadline` (NowNanos' clock) or a signal
  // handler; may return for no reason at all. The comparison and the falling asleep are one step
  // with regard to Wake.
  static void Wait(Word& word, uint32_t expected, Nanos deadline) {
    timespec until{};
    if (deadline != kNever && deadline > 0) {
      until.tv_sec = static_cast<time_t>(deadline / kSecond);
      until.tv_nsec = static_cast<long>(deadline % kSecond);
    }
    // The BITSET form, because its timeout is a point in time: no drift when woken for nothing.
    const long result =
        syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | kFlags, expected,
                deadline == kNever ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
    FS_CHECK(result == 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT);
  }

  // Wakes all that sleep on `word`.
  static void WakeAll(Word& word) { syscall(SYS_futex, &word, FUTEX_WAKE | kFlags, INT_MAX); }
};

using LinuxFutex = BasicFutex<FUTEX_PRIVATE_FLAG>;
using SharedFutex = BasicFutex<0>;

}  // namespace fastserve
