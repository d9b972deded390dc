#include "serving/instance_thread.h"

#include <signal.h>

#include <cstring>

#include "base/check.h"

namespace fastserve {

Result<std::unique_ptr<InstanceThread>> InstanceThread::Start(Scheduler* scheduler,
                                                              const std::string& model) {
  std::unique_ptr<InstanceThread> started(new InstanceThread(scheduler));
  // Blocked here for a moment, because a thread inherits the mask: there is no instant at which the
  // new one could be chosen to handle a signal.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error =
      pthread_create(&started->thread_, nullptr, &InstanceThread::Main, started.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    started->thread_ = {};
    return ResourceExhausted("no thread for model '", model, "': ", std::strerror(error));
  }
  constexpr size_t kNameMax = 15;
  const std::string name = ("fs-" + model).substr(0, kNameMax);
  pthread_setname_np(started->thread_, name.c_str());
  return started;
}

InstanceThread::~InstanceThread() {
  if (thread_ == pthread_t{}) return;
  FS_CHECK(pthread_equal(thread_, pthread_self()) == 0);
  pthread_join(thread_, nullptr);
}

void* InstanceThread::Main(void* self) {
  Scheduler& scheduler = *static_cast<InstanceThread*>(self)->scheduler_;
  while (!scheduler.stopped()) {
    if (scheduler.RunAll().ran) continue;
    // Only now: Prepare makes the next Notify a system call.
    const uint32_t key = scheduler.signal().Prepare();
    const Scheduler::Step step = scheduler.RunAll();
    if (!step.ran && !scheduler.stopped()) scheduler.signal().Wait(key, step.until);
  }
  return nullptr;
}

}  // namespace fastserve
