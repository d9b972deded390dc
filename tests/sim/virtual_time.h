// VirtualTime: threads that run one at a time, by a clock that jumps.
//
// Real code that blocks (an engine's run) or sleeps (an instance's thread) runs on threads of the
// system, but only one of them, or the driver, ever runs: it has the baton until it waits. When
// nobody can go on, time jumps to the next thing that happens. So an hour of traffic takes a
// second, and the same seed gives the same run, to the last bit.
//
//   VirtualTime time(seed);
//   time.Start([&] { time.Sleep(kSecond); ... });     // a thread
//   time.At(time.Now() + kSecond, [&] { ... });       // something that happens
//   time.Run();                                       // until nothing happens any more
//
// Where several threads could go on the seed decides; Yield is a place where another may, as a
// kernel may take a core away anywhere.
//
// Threads: Sleep, Yield and WaitFor on threads that were started here; the rest on the driver's.
// There is one VirtualTime at a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"

namespace fastserve {

class VirtualTime {
 public:
  using Ready = std::function<bool()>;

  explicit VirtualTime(uint64_t seed) : random_(seed) {
    FS_CHECK(current_ == nullptr);
    current_ = this;
  }
  // Every thread has ended.
  ~VirtualTime() {
    for (const auto& thread : threads_) thread->system.join();
    current_ = nullptr;
  }
  VirtualTime(const VirtualTime&) = delete;
  VirtualTime& operator=(const VirtualTime&) = delete;

  // What a Scheduler is given as its clock.
  static Nanos Now() { return current_->now_; }

  uint64_t Below(uint64_t end) { return random_() % end; }
  bool OnceIn(uint64_t times) { return Below(times) == 0; }
  // A time between events that come at random, `mean` apart.
  Nanos Exponential(Nanos mean) {
    const double uniform = (static_cast<double>(random_() >> 11) + 0.5) / 9007199254740992.0;
    return static_cast<Nanos>(-std::log(uniform) * static_cast<double>(mean));
  }

  void At(Nanos when, std::function<void()> action) {
    events_.push({when, events_made_++, std::move(action)});
  }

  void Start(std::function<void()> body) {
    threads_.push_back(std::make_unique<Thread>());
    Thread& thread = *threads_.back();
    thread.until = now_;
    thread.system = std::thread([this, &thread, body = std::move(body)] {
      thread.turn.acquire();
      body();
      thread.has_ended = true;
      driver_.release();
    });
  }

  // Until nothing happens any more by itself: no event is left and all threads wait for ever.
  void Run() {
    while (true) {
      if (Thread* const thread = Pick()) {
        FS_CHECK_OP(++steps_at_once_, <, kStepsAtOnceMax);  // Somebody turns round and round.
        Resume(*thread);
        continue;
      }
      steps_at_once_ = 0;
      Nanos next = events_.empty() ? kNever : events_.top().when;
      for (const auto& thread : threads_) {
        if (!thread->has_ended) next = std::min(next, thread->until);
      }
      if (next == kNever) return;
      now_ = std::max(now_, next);
      while (!events_.empty() && events_.top().when <= now_) {
        const std::function<void()> action = events_.top().action;
        events_.pop();
        action();
      }
    }
  }

  void Sleep(Nanos duration) { WaitFor({}, now_ + std::max(duration, Nanos{1})); }
  void Yield() { WaitFor({}, now_); }
  // Until `ready` says so (empty: never), or until then.
  void WaitFor(Ready ready, Nanos until = kNever) {
    Thread& self = *running_;
    self.ready = std::move(ready);
    self.until = until;
    driver_.release();
    self.turn.acquire();
  }

 private:
  struct Thread {
    std::thread system;
    std::binary_semaphore turn{0};
    Ready ready;
    Nanos until = 0;
    bool has_ended = false;
  };
  struct Event {
    Nanos when;
    uint64_t number;
    std::function<void()> action;
    // The order of a priority queue, whose largest comes first.
    bool operator<(const Event& other) const {
      return when != other.when ? when > other.when : number > other.number;
    }
  };

  // One of those that can go on; null without one.
  Thread* Pick() {
    able_.clear();
    for (const auto& thread : threads_) {
      if (thread->has_ended) continue;
      if (thread->until <= now_ || (thread->ready && thread->ready())) {
        able_.push_back(thread.get());
      }
    }
    return able_.empty() ? nullptr : able_[Below(able_.size())];
  }
  void Resume(Thread& thread) {
    running_ = &thread;
    thread.turn.release();
    driver_.acquire();
    running_ = nullptr;
  }

  // More than any burst takes between two moments.
  static constexpr uint64_t kStepsAtOnceMax = 100'000;

  static inline VirtualTime* current_ = nullptr;

  std::mt19937_64 random_;
  Nanos now_ = kSecond;  // 0 would be "not noted" to a request.
  std::priority_queue<Event> events_;
  uint64_t events_made_ = 0;
  uint64_t steps_at_once_ = 0;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Thread*> able_;
  Thread* running_ = nullptr;
  std::binary_semaphore driver_{0};
};

}  // namespace fastserve
