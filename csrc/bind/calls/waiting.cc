#include "bind/calls/waiting.h"

#include <Python.h>
#include <unistd.h>

#include <algorithm>

namespace fastserve::bind {
namespace {

// A signal ends a sleep at once, unless it comes just before, or to another thread: then this long
// after. Python runs handlers on its main thread alone, which most likely is the process's.
constexpr Nanos kMainThreadSleepMax = 50 * kMillisecond;
constexpr Nanos kSleepMax = kSecond;

Nanos SleepMax() {
  thread_local const bool is_main = getpid() == gettid();
  return is_main ? kMainThreadSleepMax : kSleepMax;
}

// One sleep, without the GIL. A call that is late by then, and was not begun, ends.
void SleepOnce(Call& call, Nanos until) {
  call.Sleep(std::min(until, NowNanos() + SleepMax()));
  if (!call.done() && NowNanos() > call.request.deadline_ns) call.servable->Sweep();
}

}  // namespace

Waited WaitFor(Call& call, Nanos until, bool may_run) {
  if (call.done()) return Waited::kEnded;
  until = std::min(until, call.request.deadline_ns);
  while (true) {
    GilPause pause;
    if (may_run) call.Run();
    may_run = false;
    if (!call.done()) SleepOnce(call, until);
    pause.Resume();
    if (call.done()) return Waited::kEnded;
    if (PyErr_CheckSignals() != 0) return Waited::kInterrupted;
    if (NowNanos() > until) return Waited::kLate;
  }
}

Status RunsLate(const Call& call) {
  const Nanos allowed = call.request.deadline_ns - call.received_ns;
  return Status(Code::kDeadlineExceeded, StrCat("model '", call.servable->name(),
                                                "' runs, but its answer is not there after ",
                                                allowed / kMillisecond, " ms"));
}

}  // namespace fastserve::bind
