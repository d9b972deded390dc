// Doorbell: one process sleeps until another one has rung, without ever missing it.
//
// It may also watch: whoever rings is then told to signal a descriptor (an eventfd), which an event
// loop can wait for together with others.
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
//   producer.TryPush(record);                           // the other one
//   if (bell.Ring()) event_fd.Signal();
//
// Why no ring is lost: Prepare and Ring are read-modify-writes of one word, so one comes first. If
// Ring does, Prepare sees its count and with it the record. If Prepare does, Ring finds the
// sleeper's mark, has changed the word so that the key no longer fits, and wakes. The same holds
// for Watch and Ring.
//
// What a hostile side can do with the word: have the sleeper wake for nothing, or let it sleep
// until its deadline over records that it has put there itself. It can lose its own rings, and no
// others.
//
// Layout of the word: bit 0 says that the sleeper may sleep, bit 1 that the watcher watches, the
// other 30 count rings. The sleeper would miss one if exactly a multiple of 2^30 came between its
// Prepare and its Wait.
// Threads: Ring from any thread of either process; Watch and Unwatch are the one watcher's, the
// rest the one sleeper's, who may be another thread.
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

  // Call after the record was put. A system call only when somebody may be asleep. True: somebody
  // watches, and his descriptor is to be signalled.
  bool Ring() {
    // SYNC(doorbell-rung): what this thread put becomes visible to whoever sees the new count.
    const uint32_t word = word_.fetch_add(kRing, std::memory_order_release);
    if ((word & kSleeper) != 0) Futex::WakeAll(word_);
    return (word & kWatcher) != 0;
  }

  // From here on the descriptor is signalled. Look for what is there already after this call.
  void Watch() {
    // SYNC(doorbell-rung): pairs with Ring, as Prepare does.
    word_.fetch_or(kWatcher, std::memory_order_acquire);
  }
  // No more; look for what is there after this call.
  void Unwatch() {
    // SYNC(doorbell-rung): pairs with Ring, as Withdraw does.
    word_.fetch_and(~kWatcher, std::memory_order_acquire);
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
  static constexpr uint32_t kWatcher = 2;
  static constexpr uint32_t kRing = 4;

  typename Futex::Word word_;
};

using Doorbell = BasicDoorbell<SharedFutex>;
static_assert(sizeof(Doorbell) == 4, "two builds must agree on the layout");

}  // namespace fastserve
