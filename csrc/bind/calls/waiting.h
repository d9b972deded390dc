// WaitFor: a thread of Python's sleeps, without the GIL, until a call has ended.
//
// Threads: with the GIL; it is given up meanwhile. No frame above may be noexcept (GilPause).
#pragma once

#include "base/clock.h"
#include "base/status.h"
#include "bind/calls/call.h"

namespace fastserve::bind {

enum class Waited : uint8_t {
  kEnded,
  kLate,         // `until`, or the request's deadline, has passed.
  kInterrupted,  // An exception is set: a signal's handler raised it.
};

// `may_run`: the model may run on this thread, for this call and for others that wait, and then
// neither time nor signal is looked at before the run ends. A call that waits beyond its deadline
// ends with DEADLINE_EXCEEDED meanwhile.
Waited WaitFor(Call& call, Nanos until, bool may_run);

// What a caller is told whose deadline passes while the model runs.
Status RunsLate(const Call& call);

}  // namespace fastserve::bind
