// Signal: sleep until something happened, without ever missing it.
//
// An event count: the sleeper takes a key, looks whether there is work, and sleeps only if nobody
// notified since it took the key. The notifier makes its work visible first, then notifies. It
// costs one atomic instruction, and a system call only when somebody may be asleep.
//
//   while (true) {                                      // the sleeper
//     const uint32_t key = signal.Prepare();
//     if (!queue.was_empty()) { Drain(); continue; }
//     signal.Wait(key, deadline);
//   }
//   queue.TryPush(std::move(job)); signal.Notify();     // a notifier
//
// Why no wake-up is lost: Prepare and Notify are read-modify-writes of one word, so one comes
// first. If Notify does, Prepare sees its epoch and with it the work. If Prepare does, Notify finds
// the sleeper's mark, changes the epoch so that the key no longer fits, and wakes.
//
// Layout of the word: bit 0 says that somebody may sleep, the other 31 count notifications. A
// sleeper would miss a wake-up if exactly a multiple of 2^31 notifications came between its Prepare
// and its Wait.
// Threads: everything from any thread. Notify wakes all that wait.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "sync/futex.h"

namespace fastserve {

// `Futex` is LinuxFutex, except in tests that choose the interleaving.
template <typename Futex>
class BasicSignal {
 public:
  BasicSignal() { word_.store(0, std::memory_order_relaxed); }
  BasicSignal(const BasicSignal&) = delete;
  BasicSignal& operator=(const BasicSignal&) = delete;

  // A key for Wait. Look for work after this call and before Wait; if there is some, simply do not
  // wait.
  uint32_t Prepare() {
    // SYNC(signal-notified): pairs with Notify; its work is visible after this.
    return word_.fetch_or(kSleeper, std::memory_order_acquire) | kSleeper;
  }

  // Returns when Notify was called after the Prepare that gave `key`, at `deadline` (a point in
  // time of NowNanos; kNever for none), or spuriously.
  void Wait(uint32_t key, Nanos deadline) {
    // SYNC(signal-notified): pairs with Notify; saves the system call if it came meanwhile.
    if (word_.load(std::memory_order_acquire) != key) return;
    Futex::Wait(word_, key, deadline);
    // SYNC(signal-notified): pairs with Notify, which is what has most likely woken us.
    (void)word_.load(std::memory_order_acquire);
  }

  // Call after the work was made visible (pushed).
  void Notify() {
    uint32_t word = word_.load(std::memory_order_relaxed);
    // SYNC(signal-notified): what this thread pushed becomes visible to whoever sees the new epoch.
    while (!word_.compare_exchange_weak(word, (word & ~kSleeper) + kEpoch,
                                        std::memory_order_release, std::memory_order_relaxed)) {
    }
    if ((word & kSleeper) != 0) Futex::WakeAll(word_);
  }

 private:
  static constexpr uint32_t kSleeper = 1;
  static constexpr uint32_t kEpoch = 2;

  typename Futex::Word word_;
};

using Signal = BasicSignal<LinuxFutex>;

}  // namespace fastserve
