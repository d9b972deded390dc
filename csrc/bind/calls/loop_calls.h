// Calls that an asyncio loop awaits (ainfer), and the way of their answers back to it.
//
// Like a server's, the calls of one iteration of the loop are gathered: at its end (one call_soon)
// those that are cheap run on the loop's thread, without the GIL, and an instance's thread is woken
// once for the rest. Only while some are left the loop watches an eventfd, and a timer if one of
// them has a deadline; when none is, nothing of ours is in the loop.
//
// What engines see of it is a LoopQueue. The rest knows which calls are awaited, and what is
// registered; idle, it belongs to no loop and is kept for the next.
//
// Threads: the loop's, with the GIL.
#pragma once

#include <Python.h>

#include "bind/calls/call.h"

namespace fastserve::bind {

// Submits; a new reference to a future of the running loop, or null with an exception set
// (RuntimeError when no loop runs on this thread).
PyObject* SubmitForLoop(CallPtr call);

}  // namespace fastserve::bind
