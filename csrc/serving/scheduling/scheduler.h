// Scheduler: the queue of one model and its instances; decides who runs what, and owns no thread.
//
// It is driven by events: threads come by (an event loop at the end of its iteration, an instance's
// thread that was woken) and it hands them work. Submitting is lock-free. Whoever looks for work
// holds one mutex for as long as it takes to drain what arrived, ask the DynamicBatcher and take an
// idle instance; never during a run.
//
// Invariants:
//   1. At most `queue_depth` requests wait: in arrivals_ or in the line. waiting_ counts both, and
//      deadlines_ those of them that have a deadline.
//   2. A request leaves the queue once: into a batch, which ends it, or dropped, which ends it.
//      Requests are ended outside the mutex, since a sink may do anything.
//   3. An instance is in idle_ or held by exactly one thread.
//   4. Nothing waits unseen. When a request waits after the thread that submitted it has called
//      RunHere or Wake, at least one of these holds:
//        a. a thread holds an instance. It looks again in the critical section in which it gives
//           the instance back, so it sees whatever anybody saw before and could not start;
//        b. the signal was notified since an instance's thread last prepared to sleep, so that
//           thread looks again;
//        c. an instance's thread sleeps no longer than the batcher said that waiting pays
//           (armed_until_ remembers it, so that others need not wake it to say so again).
//      Every look under the mutex that finds something to do ends in a (it takes an instance), in b
//      (it may not run here, so it notifies) or in c; and one that finds no idle instance relies on
//      the thread of a, whose next look comes later.
//      A thread that gives an instance back without another look (RunUntil, once `done`) ends in
//      b: it notifies if something waits. Whoever relied on it looked before it gave back, under
//      the same mutex, so it sees that their requests wait.
//   5. Nothing here allocates once it is made, except for the text of errors, and that may fail:
//   the
//      request then ends with Status::OutOfMemory.
//   6. In a child of fork() everything here is a hull: another thread may have held the mutex, or
//      stood in the middle of a push. Nothing is locked, run or ended there but what is submitted
//      there, which ends at once.
//
// Threads: all from any thread; one destroys it when no other uses it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/annotations.h"
#include "base/clock.h"
#include "base/fork.h"
#include "base/status.h"
#include "serving/inference_request.h"
#include "serving/scheduling/batch.h"
#include "serving/scheduling/cost_model.h"
#include "serving/scheduling/dynamic_batcher.h"
#include "serving/scheduling/load_meter.h"
#include "serving/scheduling/wait_estimate.h"
#include "serving/scheduling/waiting_line.h"
#include "serving/servable_stats.h"
#include "sync/mpsc_queue.h"
#include "sync/signal.h"

namespace fastserve {

class Scheduler {
 public:
  struct Options {
    std::string model;  // For messages.
    DynamicBatcher::Options batching;
    size_t queue_depth = 1024;
    // RunHere runs what is likely to take at most this long; 0: nothing.
    Nanos caller_runs_max = 0;
    // Runs of at most this long are better done on the core of whoever wakes for them; 0: none.
    Nanos near_runs_max = 0;
    // The only clock that the scheduler and its batches read. Instances' threads sleep by NowNanos.
    Nanos (*now)() = &NowNanos;
    Batch::Options batch;
  };

  Scheduler(Options options, std::vector<std::unique_ptr<ModelInstance>> instances);
  // What waits ends with UNAVAILABLE. In a child of fork() a scheduler must be leaked instead.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // As in Servable.
  void Submit(RequestPtr request);
  Nanos RunHere(Nanos budget) FS_EXCLUDES(mutex_);
  void RunUntil(const std::atomic<bool>& done) FS_EXCLUDES(mutex_);
  void Wake();
  Nanos Sweep() FS_EXCLUDES(sweep_mutex_, mutex_);
  void EndWaiting() FS_EXCLUDES(sweep_mutex_, mutex_);
  void NoteCancelled() {
    // SYNC(request-cancelled): the request's own flag, set before, is visible to the sweep.
    was_cancelled_.store(true, std::memory_order_release);
  }
  Nanos ExpectedWait() const;
  double busy_share() const FS_EXCLUDES(mutex_);
  // Whether this process was forked since the scheduler was made.
  bool was_forked() const { return ForkedSince(fork_generation_); }
  size_t queue_depth() const { return waiting_.load(std::memory_order_relaxed); }

  // For an instance's thread: runs what may start now, a limited number of times.
  struct Step {
    bool ran = false;      // Then there may be more: look again.
    Nanos until = kNever;  // Else look again then.
  };
  Step RunSome() FS_EXCLUDES(mutex_);
  // Where instances' threads sleep. Prepare, RunSome, then Wait if it did not run.
  Signal& signal() { return signal_; }
  // The core on which an instance's thread had better sleep, because runs are short and whoever
  // woke last was there; -1: on any.
  int near_cpu() const { return near_cpu_.load(std::memory_order_relaxed); }

  // Makes RunSome and RunHere find nothing, and wakes the threads so that they end.
  void Stop();
  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

  size_t instance_count() const { return instances_.size(); }
  // Runs `inputs` on an instance, if that is idle, outside all statistics, and learns the cost if
  // `learn`. Errors: UNAVAILABLE when the instance is busy; the engine's; INTERNAL for an output
  // that has not a row for each one that went in.
  Status Rehearse(size_t instance, std::span<const BatchInput> inputs, int64_t rows, bool learn)
      FS_EXCLUDES(mutex_);

 private:
  struct Instance {
    Instance(std::unique_ptr<ModelInstance> model, const Batch::Options& options)
        : model(std::move(model)), batch(options) {}
    std::unique_ptr<ModelInstance> model;
    Batch batch;
    size_t number = 0;
    // Of the last run, for what is learned of it when the instance is given back.
    size_t run_bytes = 0;
    Nanos run_ns = kNever;
    Nanos finished_ns = 0;
  };

  // What a look for work found.
  struct Look {
    Instance* instance = nullptr;  // Taken, its batch filled; the finder runs it.
    CloseReason reason = CloseReason::kIdle;
    Nanos now = 0;
    Nanos until = kNever;
    bool wake = false;  // An instance's thread must look too.
  };
  enum class Looker : uint8_t { kCaller, kPatientCaller, kInstanceThread };

  // Gives `done` back, if there is one, and takes the next work that is likely to cost at most
  // `cost_max`. Ends what was dropped on the way.
  Look LookForWork(Looker looker, Nanos cost_max, Instance* done) FS_EXCLUDES(mutex_);
  Look LookLocked(Looker looker, Nanos cost_max, RequestList* dropped) FS_REQUIRES(mutex_);
  void TakeWork(bool is_away, Look* look) FS_REQUIRES(mutex_);
  void GiveBack(Instance* instance) FS_REQUIRES(mutex_);
  void NotifyInstances();
  void DrainArrivals() FS_REQUIRES(mutex_);
  Nanos SweepLine(Nanos now, RequestList* dropped) FS_REQUIRES(sweep_mutex_) FS_EXCLUDES(mutex_);
  bool BeginSweep(Nanos now, bool was_cancelled) FS_REQUIRES(mutex_);
  bool SweepSome(Nanos now, RequestList* dropped) FS_REQUIRES(mutex_);
  // Gives back the places of those who left the line since it had so many.
  void FreePlaces(size_t size_before, size_t deadlines_before) FS_REQUIRES(mutex_);

  Batch::Outcome Run(const Look& look);
  void EndDropped(RequestList& dropped, Nanos now);
  [[nodiscard]] bool ReservePlace();
  // Whether it had better end now than when it is late. What it would have had to wait is put into
  // `expected`.
  bool IsHopeless(const InferenceRequest& request, Nanos* expected);
  static void End(RequestPtr request, Status status);

  // Requests in arrivals_ and in the line.
  alignas(64) std::atomic<size_t> waiting_{0};
  std::atomic<size_t> deadlines_{0};
  const Options options_;
  const DynamicBatcher batcher_;
  const uint32_t fork_generation_ = ForkGeneration();
  std::vector<std::unique_ptr<Instance>> instances_;
  Signal signal_;
  std::atomic<bool> stopped_{false};
  // Hints, both: read and written for their own sake alone.
  std::atomic<bool> runs_are_short_{false};
  std::atomic<int> near_cpu_{-1};

  // Something that waits may have been cancelled since the last sweep.
  std::atomic<bool> was_cancelled_{false};
  // When a request that looked hopeless was last let through.
  std::atomic<Nanos> tried_ns_{0};

  Mutex sweep_mutex_;  // One sweep at a time. Taken before mutex_.
  mutable Mutex mutex_;
  WaitingLine line_ FS_GUARDED_BY(mutex_);
  std::vector<Instance*> idle_ FS_GUARDED_BY(mutex_);
  std::vector<uint32_t> chosen_ FS_GUARDED_BY(mutex_);
  LoadMeter load_ FS_GUARDED_BY(mutex_);
  // Written under mutex_, read by any thread.
  CostModel cost_;
  WaitEstimate waits_;
  // An instance's thread looks again by then on its own.
  Nanos armed_until_ FS_GUARDED_BY(mutex_) = kNever;

  // Popped under mutex_. Last, because it is aligned to lines.
  MpscQueue<RequestPtr> arrivals_;
};

}  // namespace fastserve
