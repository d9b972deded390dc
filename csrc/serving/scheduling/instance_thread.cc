#include "serving/scheduling/instance_thread.h"

#include <sched.h>

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/thread.h"

namespace fastserve {
namespace {

// On which cores the calling thread may run. Asks the kernel only when that changes.
class Placement {
 public:
  Placement() { may_change_ = sched_getaffinity(0, sizeof everywhere_, &everywhere_) == 0; }

  // On `cpu` alone, or wherever it might at first if that is -1.
  void Set(int cpu) {
    if (cpu == cpu_ || !may_change_) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    if (cpu >= 0) CPU_SET(static_cast<size_t>(cpu), &one);
    // Where it is forbidden it stays forbidden: the thread then sleeps where it is.
    may_change_ = sched_setaffinity(0, sizeof one, cpu < 0 ? &everywhere_ : &one) == 0;
    cpu_ = cpu;
  }

 private:
  cpu_set_t everywhere_;
  int cpu_ = -1;
  bool may_change_;
};

}  // namespace

Result<std::unique_ptr<InstanceThread>> InstanceThread::Start(Scheduler* scheduler,
                                                              const std::string& model) {
  std::unique_ptr<InstanceThread> started(new InstanceThread(scheduler, model));
  const int error = StartThread(&started->thread_, &InstanceThread::Main, started.get());
  if (error != 0) {
    started->thread_ = {};
    return ResourceExhausted("no thread for model '", model, "': ", std::strerror(error));
  }
  while (true) {
    const uint32_t key = started->asleep_.Prepare();
    // SYNC(instance-asleep): pairs with Announce.
    if (started->is_asleep_.load(std::memory_order_acquire)) return started;
    started->asleep_.Wait(key, kNever);
  }
}

InstanceThread::~InstanceThread() {
  if (thread_ == pthread_t{}) return;
  // Joining a thread that was not copied would wait for ever.
  if (scheduler_->was_forked()) return;
  FS_CHECK(pthread_equal(thread_, pthread_self()) == 0);
  pthread_join(thread_, nullptr);
}

void* InstanceThread::Main(void* self) {
  InstanceThread& thread = *static_cast<InstanceThread*>(self);
  Scheduler& scheduler = *thread.scheduler_;
  // Of itself a thread tells the kernel its name without a detour over /proc.
  pthread_setname_np(pthread_self(), thread.name_.c_str());
  Placement placement;
  bool is_announced = false;
  while (!scheduler.stopped()) {
    if (scheduler.RunSome().ran) {
      // Long runs are free at once. A thread follows its waker only when it is about to sleep,
      // because where it is does not matter while there is work.
      if (scheduler.near_cpu() < 0) placement.Set(-1);
      continue;
    }
    placement.Set(scheduler.near_cpu());
    // Only now: Prepare makes the next Notify a system call.
    const uint32_t key = scheduler.signal().Prepare();
    const Scheduler::Step step = scheduler.RunSome();
    if (!std::exchange(is_announced, true)) thread.Announce();
    if (!step.ran && !scheduler.stopped()) scheduler.signal().Wait(key, step.until);
  }
  if (!is_announced) thread.Announce();
  return nullptr;
}

void InstanceThread::Announce() {
  // SYNC(instance-asleep): pairs with Start.
  is_asleep_.store(true, std::memory_order_release);
  asleep_.Notify();
}

}  // namespace fastserve
