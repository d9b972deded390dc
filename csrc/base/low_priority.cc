#include "base/low_priority.h"

#include <pthread.h>
#include <sched.h>

#include "base/thread.h"

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
  pthread_t thread;
  if (StartThread(&thread, &Main, const_cast<std::function<void()>*>(&work)) != 0) return work();
  pthread_join(thread, nullptr);
}

}  // namespace fastserve
