// AdaptiveSpin: looking for the next message for a while before going to sleep, as long as that
// pays.
//
//   if (spin.Look([&] { return !ring.was_empty(); })) { ... take it ... }
//   else { ... Prepare, look once more, Wait ... }
//
// A wake-up costs both sides microseconds, and a look nanoseconds: but a thread that looks takes a
// core from whoever needs one, be it the other side. So it looks only
//   - while looking has mostly found something of late, apart from a try now and then;
//   - while no other thread wanted its core: the kernel counts how often it was taken off;
//   - when few enough threads of the process look already, and the machine has more than one core.
//
// Threads: none; the limit on how many look at once is the process's.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace fastserve {

class AdaptiveSpin {
 public:
  // Each look takes at most `longest`; 0: never.
  explicit AdaptiveSpin(Nanos longest);

  // True as soon as `ready` says so; false when it did not in time, or when it was not asked.
  template <typename Ready>
  bool Look(Ready ready) {
    if (!Begin()) return false;
    const Nanos end = NowNanos() + longest_;
    bool found = false;
    do {
      for (int i = 0; i < kLooksPerClock && !found; ++i) {
        found = ready();
        if (!found) Relax();
      }
    } while (!found && NowNanos() < end);
    End(found);
    return found;
  }

  static void Relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

 private:
  static constexpr int kLooksPerClock = 32;

  bool Begin();
  void End(bool found);

  Nanos longest_;
  int score_;           // Above 0: looking pays.
  uint32_t waits_ = 0;  // Since the last look that was made although it did not.
  Nanos rest_until_ns_ = 0;
  Nanos rest_ = 0;
  int64_t taken_off_;  // The kernel's count.
};

}  // namespace fastserve
