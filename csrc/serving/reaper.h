// Reaper: destroys versions that nobody needs any more, on a thread of its own.
//
// A Servable's end joins its threads and takes an engine down, which lasts milliseconds or more. An
// event loop has no time for that, and an instance's thread would join itself. So whoever lets go
// of the last ServableHandle only hands the servable over here, and goes on.
//
// There is one Reaper in a process, made with the first servable and never destroyed. The child of
// a fork() gets one of its own, also with the first servable; what it has of its parent's servables
// has no threads there, and is left as it is (see servable.h) at once.
//
// Threads: everything from any thread. Take needs no memory and cannot fail.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

#include "base/annotations.h"
#include "base/clock.h"
#include "base/fork.h"
#include "base/status.h"
#include "sync/signal.h"

namespace fastserve {

class Servable;

// Tells when a servable is gone: destroyed, with its threads and its engine's memory.
class Departure {
 public:
  bool is_gone() const;
  // Whether it is gone by `deadline` (NowNanos' clock; kNever: it waits for as long as that takes).
  bool WaitUntil(Nanos deadline);

 private:
  friend class Reaper;
  void Tell();

  std::atomic<bool> is_gone_{false};
  Signal told_;
};

class Reaper {
 public:
  // The one of this process. Errors: RESOURCE_EXHAUSTED when the system has no thread for it.
  static Result<Reaper*> OfProcess();

  // Destroys it soon.
  void Take(Servable* servable) noexcept FS_EXCLUDES(mutex_);

  // Whether all that was taken before this call is destroyed by `deadline`.
  bool WaitUntil(Nanos deadline) FS_EXCLUDES(mutex_);
  // The same of this process's, if it has one.
  static bool WaitForAllUntil(Nanos deadline);

 private:
  Reaper() : generation_(ForkGeneration()) {}
  static Result<Reaper*> Start();
  static void* Main(void* self);
  Servable* Next() FS_EXCLUDES(mutex_);
  static void Destroy(Servable* servable) noexcept;

  const uint32_t generation_;
  pthread_t thread_{};  // It runs for as long as the process does.
  Mutex mutex_;
  // Linked through Servable::next_dead_, the oldest first.
  Servable* first_ FS_GUARDED_BY(mutex_) = nullptr;
  Servable* last_ FS_GUARDED_BY(mutex_) = nullptr;
  uint64_t taken_ FS_GUARDED_BY(mutex_) = 0;
  std::atomic<uint64_t> destroyed_{0};
  Signal has_work_;
  Signal has_destroyed_;
};

}  // namespace fastserve
