// Doorbell: one process sleeps until another one has rung, without ever missing it.
//
// Signal's idea (sync/signal.h) for a word in memory that two processes share, one of which may be
// hostile. There is one sleeper, and every call ends after a fixed number of steps whatever the
// other side writes: nothing is tried again until it succeeds.
//
//   while (true) {                                      // the sleeper
//     const uint32_t key = bell.Prepare();
//     if (consumer.TryPop(&record)) { bell.Withdraw(); ... continue; }
//     bell.Wait(key, deadline);
//   }
//   producer.TryPush(record); bell.Ring();              // the other one
//
// Why no ring is lost: Prepare and Ring are read-modify-writes of one word, so one comes first. If
// Ring does, Prepare sees its count and with it the record. If Prepare does, Ring finds the
// sleeper's mark, has changed the word so that the key no longer fits, and wakes.
//
// What a hostile side can do with the word: have the sleeper wake for nothing, or let it sleep
// until its deadline over records that it has put there itself. It can lose its own rings, and no
// others.
//
// Layout of the word: bit 0 says that the sleeper may sleep, the other 31 count rings. The sleeper
// would miss one if exactly a multiple of 2^31 came between its Prepare and its Wait.
// Threads: Ring from any thread of either process; the rest is the one sleeper's.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "sync/futex.h"

namespace fastserve {

// `Futex` is SharedFutex, except in tests that choose the interleaving.
template <typename Futex>
class BasicDoorbell {
 public:
  BasicDoorbell() { word_.store(0, std::memory_order_relaxed); }
  BasicDoorbell(const BasicDoorbell&) = delete;
  BasicDoorbell& operator=(const BasicDoorbell&) = delete;

  // Call after the record was put. A system call only when somebody may be asleep.
  void Ring() {
    // SYNC(doorbell-rung): what this thread put becomes visible to whoever sees the new count.
    if ((word_.fetch_add(kRing, std::memory_order_release) & kSleeper) != 0) {
      Futex::WakeAll(word_);
    }
  }

  // A key for Wait. Look for work after this call; then either Wait or Withdraw.
  uint32_t Prepare() {
    // SYNC(doorbell-rung): pairs with Ring; what was put before it is visible after this.
    return word_.fetch_or(kSleeper, std::memory_order_acquire) | kSleeper;
  }
  // There was work: whoever rings need not wake anybody.
  void Withdraw() {
    // SYNC(doorbell-rung): pairs with Ring; a ring until here is seen as one before Prepare is.
    word_.fetch_and(~kSleeper, std::memory_order_acquire);
  }

  // Returns when it was rung after the Prepare that gave `key`, at `deadline` (a point in time of
  // NowNanos; kNever for none), or spuriously.
  void Wait(uint32_t key, Nanos deadline) {
    // SYNC(doorbell-rung): pairs with Ring; saves the system call if it came meanwhile.
    if (word_.load(std::memory_order_acquire) == key) Futex::Wait(word_, key, deadline);
    Withdraw();
  }

 private:
  static constexpr uint32_t kSleeper = 1;
  static constexpr uint32_t kRing = 2;

  typename Futex::Word word_;
};

using Doorbell = BasicDoorbell<SharedFutex>;
static_assert(sizeof(Doorbell) == 4, "two builds must agree on the layout");

}  // namespace fastserve
