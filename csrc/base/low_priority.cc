#include "base/low_priority.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

namespace fastserve {
namespace {

void* Main(void* work) {
  const sched_param none{};
  // In Linux this is about the calling thread alone. Where it is forbidden it stays as it is.
  sched_setscheduler(0, SCHED_IDLE, &none);
  (*static_cast<const std::function<void()>*>(work))();
  return nullptr;
}

}  // namespace

void RunAtLowPriority(const std::function<void()>& work) {
  // Signals are for the process's own threads.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool has_thread =
      pthread_create(&thread, nullptr, &Main, const_cast<std::function<void()>*>(&work)) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!has_thread) return work();
  pthread_join(thread, nullptr);
}

}  // namespace fastserve
