// _core.Future: the answer of a submitted call, as in concurrent.futures.
//
// A raw C type without a condition variable: who waits sleeps on the call itself. Dropping a Future
// does not cancel its call.
//
// Threads: any, with the GIL. It counts on the GIL: a build without one would guard each Future
// with a critical section.
#pragma once

#include <pybind11/pybind11.h>

#include "bind/calls/call.h"

namespace fastserve::bind {

// Submits and wakes; a new reference to the call's Future, or null with an exception set.
PyObject* SubmitForFuture(CallPtr call);

// Its call has ended: makes the answer and calls the callbacks. What they raise is reported.
void FinishFuture(PyObject* future);

void RegisterFuture(pybind11::module_& module);

}  // namespace fastserve::bind
