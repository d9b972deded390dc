// Scheduler: ending those that wait in vain.
#include <algorithm>
#include <utility>

#include "serving/scheduling/scheduler.h"

namespace fastserve {
namespace {

// When to sweep again if somebody was in the middle of submitting.
constexpr Nanos kSweepAgain = kMillisecond;

}  // namespace

Nanos Scheduler::Sweep() {
  const bool is_idle = deadlines_.load(std::memory_order_relaxed) == 0 &&
                       !was_cancelled_.load(std::memory_order_relaxed);
  if (is_idle || was_forked()) return kNever;
  const Nanos now = options_.now();
  RequestList dropped;
  Nanos next = kNever;
  {
    const MutexLock sweeping(sweep_mutex_);
    next = SweepLine(now, &dropped);
  }
  EndDropped(dropped, now);
  return next;
}

Nanos Scheduler::SweepLine(Nanos now, RequestList* dropped) {
  // SYNC(request-cancelled): pairs with NoteCancelled and with the store below.
  const bool was_cancelled = was_cancelled_.exchange(false, std::memory_order_acquire);
  bool is_done = false;
  bool is_torn = false;
  {
    const MutexLock lock(mutex_);
    DrainArrivals();
    // A push that is not complete hides those behind it.
    is_torn = !arrivals_.was_empty();
    is_done = !BeginSweep(now, was_cancelled);
  }
  while (!is_done) {
    const MutexLock lock(mutex_);
    is_done = SweepSome(now, dropped);
  }
  if (is_torn && was_cancelled) {
    // SYNC(request-cancelled): hands on what was seen of NoteCancelled.
    was_cancelled_.store(true, std::memory_order_release);
  }
  const MutexLock lock(mutex_);
  return is_torn ? std::min(line_.next_deadline(), now + kSweepAgain) : line_.next_deadline();
}

// False when there is nothing to find.
bool Scheduler::BeginSweep(Nanos now, bool was_cancelled) {
  if (!was_cancelled && line_.next_deadline() > now) return false;
  line_.BeginSweep();
  return true;
}

bool Scheduler::SweepSome(Nanos now, RequestList* dropped) {
  const size_t size = line_.size();
  const size_t deadlines = line_.deadlines();
  const bool is_done = line_.SweepSome(now, dropped);
  FreePlaces(size, deadlines);
  return is_done;
}

void Scheduler::EndDropped(RequestList& dropped, Nanos now) {
  ServableStats& stats = *options_.batch.stats;
  while (RequestPtr request = dropped.Pop()) {
    if (request->cancelled.load(std::memory_order_relaxed)) {
      stats.CountFailure(FailureReason::kCancelled);
      End(std::move(request),
          MakeStatus(Code::kCancelled, "the request was cancelled before it ran"));
      continue;
    }
    stats.CountFailure(FailureReason::kDeadline);
    const Nanos late = now - request->deadline_ns;
    End(std::move(request),
        MakeStatus(Code::kDeadlineExceeded, "the request waited for ", options_.model, " until ",
                   late / kMicrosecond, " us past its deadline"));
  }
}

}  // namespace fastserve
