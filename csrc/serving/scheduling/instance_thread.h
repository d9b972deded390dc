// InstanceThread: runs what a Scheduler has to run, and sleeps when there is nothing.
//
// There is one for each instance, but none owns one: whichever thread is awake takes whichever
// instance is idle. It is named "fs-<model>" (as much as fits in 15 bytes) and receives no signals:
// these belong to the process's own threads.
//
// Threads: Start and destruction on any thread but its own.
#pragma once

#include <pthread.h>

#include <atomic>
#include <memory>
#include <string>

#include "base/status.h"
#include "serving/scheduling/scheduler.h"
#include "sync/signal.h"

namespace fastserve {

class InstanceThread {
 public:
  // `scheduler` must outlive the thread. When this returns the thread has seen that there is
  // nothing to do: it looks again only when it is notified, so what is submitted can be counted on
  // to wait for RunHere or Wake. Errors: RESOURCE_EXHAUSTED when the system has no thread.
  static Result<std::unique_ptr<InstanceThread>> Start(Scheduler* scheduler,
                                                       const std::string& model);
  // Waits for the thread, which ends when the scheduler was stopped; in a child of fork(), where
  // there is no such thread, for nothing.
  ~InstanceThread();
  InstanceThread(const InstanceThread&) = delete;
  InstanceThread& operator=(const InstanceThread&) = delete;

 private:
  InstanceThread(Scheduler* scheduler, const std::string& model)
      : scheduler_(scheduler), name_(("fs-" + model).substr(0, kNameBytesMax)) {}
  static void* Main(void* self);
  void Announce();

  static constexpr size_t kNameBytesMax = 15;  // Linux's limit.

  Scheduler* const scheduler_;
  const std::string name_;
  std::atomic<bool> is_asleep_{false};
  Signal asleep_;
  pthread_t thread_{};
};

}  // namespace fastserve
