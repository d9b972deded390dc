// DeterministicSchedule: interleavings on demand.
//
// Runs real threads one at a time and decides, at each access to a DeterministicAtom, by a seeded
// generator who goes on. The same seed gives the same run, so a failure that prints its seed can be
// replayed in a debugger. A weak compare-exchange fails for no reason now and then, as it may.
//
//   DeterministicSchedule schedule(seed);
//   schedule.Run({[&] { queue.TryPush(1); }, [&] { queue.TryPop(); }});
//
// What it does not show: accesses that the hardware or the compiler reorders. All runs here are
// sequentially consistent; memory orders are the business of ThreadSanitizer and of review.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"

namespace fastserve {

class DeterministicSchedule {
 public:
  explicit DeterministicSchedule(uint64_t seed) : random_(seed) {}

  // Returns when every body has.
  void Run(std::vector<std::function<void()>> bodies) {
    for (size_t i = 0; i < bodies.size(); ++i) threads_.push_back(std::make_unique<Thread>());
    std::vector<std::thread> running;
    for (size_t i = 0; i < bodies.size(); ++i) {
      running.emplace_back([this, i, &bodies] {
        current_ = this;
        threads_[i]->turn.acquire();
        bodies[i]();
        threads_[i]->done = true;
        Switch();
      });
    }
    now_running_ = PickNext();
    threads_[now_running_]->turn.release();
    for (std::thread& thread : running) thread.join();
  }

  // How often all threads that were left slept, so that one had to be woken by force. With no
  // deadlines each of these is a wake-up that a protocol has lost.
  int lost_wakeups() const { return lost_wakeups_; }
  // Which thread ran at each step.
  const std::vector<uint8_t>& trace() const { return trace_; }

  // The following are for atoms and futexes. Outside of Run they do nothing.

  // A point at which another thread may go on.
  static void Step() {
    if (current_ != nullptr) current_->Switch();
  }
  // True about once in `n` times.
  static bool OnceIn(uint32_t n) { return current_ != nullptr && current_->random_() % n == 0; }
  static void SleepOn(const void* word) {
    if (current_ == nullptr) return;
    current_->threads_[current_->now_running_]->asleep_on = word;
    current_->Switch();
  }
  static void Wake(const void* word) {
    if (current_ == nullptr) return;
    for (auto& thread : current_->threads_) {
      if (thread->asleep_on == word) thread->asleep_on = nullptr;
    }
  }

 private:
  struct Thread {
    std::binary_semaphore turn{0};
    const void* asleep_on = nullptr;
    bool done = false;
  };

  // Called by the running thread alone: everything here is handed over with the turn.
  void Switch() {
    const size_t self = now_running_;
    const size_t next = PickNext();
    if (next == self) return;
    if (next == threads_.size()) return;  // All are done.
    now_running_ = next;
    Thread& me = *threads_[self];
    const bool done = me.done;  // After the release a finished thread touches nothing any more.
    threads_[next]->turn.release();
    if (!done) me.turn.acquire();
  }

  size_t PickNext() {
    std::vector<size_t> awake = Awake();
    if (awake.empty()) {
      for (auto& thread : threads_) thread->asleep_on = nullptr;
      awake = Awake();
      if (awake.empty()) return threads_.size();
      FS_CHECK_OP(++lost_wakeups_, <, 10'000);  // Forcing does not help either: a real deadlock.
    }
    const size_t next = awake[random_() % awake.size()];
    trace_.push_back(static_cast<uint8_t>(next));
    return next;
  }

  std::vector<size_t> Awake() const {
    std::vector<size_t> awake;
    for (size_t i = 0; i < threads_.size(); ++i) {
      if (!threads_[i]->done && threads_[i]->asleep_on == nullptr) awake.push_back(i);
    }
    return awake;
  }

  static inline thread_local DeterministicSchedule* current_ = nullptr;

  std::mt19937 random_;
  std::vector<std::unique_ptr<Thread>> threads_;
  size_t now_running_ = 0;
  int lost_wakeups_ = 0;
  std::vector<uint8_t> trace_;
};

// Stands in for std::atomic<T>. Others may run before each access, and after each that writes.
template <typename T>
class DeterministicAtom {
 public:
  static constexpr bool is_always_lock_free = true;

  T load(std::memory_order) const {
    DeterministicSchedule::Step();
    return value_;
  }
  void store(T value, std::memory_order order) { exchange(value, order); }
  T exchange(T value, std::memory_order) {
    return Change([value](T) { return value; });
  }
  T fetch_or(T bits, std::memory_order) {
    return Change([bits](T old) { return old | bits; });
  }
  T fetch_and(T bits, std::memory_order) {
    return Change([bits](T old) { return old & bits; });
  }
  T fetch_add(T more, std::memory_order) {
    return Change([more](T old) { return static_cast<T>(old + more); });
  }
  T fetch_sub(T less, std::memory_order) {
    return Change([less](T old) { return static_cast<T>(old - less); });
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order, std::memory_order) {
    DeterministicSchedule::Step();
    if (value_ != expected || DeterministicSchedule::OnceIn(8)) {
      expected = value_;
      return false;
    }
    value_ = desired;
    DeterministicSchedule::Step();
    return true;
  }

  // The value, without giving others a turn.
  T Peek() const { return value_; }

 private:
  template <typename F>
  T Change(F change) {
    DeterministicSchedule::Step();
    const T old = value_;
    value_ = change(old);
    DeterministicSchedule::Step();
    return old;
  }

  T value_{};
};

// Stands in for LinuxFutex. Deadlines never come.
struct DeterministicFutex {
  using Word = DeterministicAtom<uint32_t>;

  static void Wait(Word& word, uint32_t expected, Nanos) {
    DeterministicSchedule::Step();
    if (word.Peek() == expected) DeterministicSchedule::SleepOn(&word);
  }
  static void WakeAll(Word& word) {
    DeterministicSchedule::Step();
    DeterministicSchedule::Wake(&word);
  }
};

}  // namespace fastserve
