// `await future` for the Future of a submitted call: a bridge to the running asyncio loop.
//
// It goes over the thread of the callbacks (done_callbacks.h), so it costs two wake-ups; ainfer is
// the way for those who know that they will wait in a loop.
//
// Threads: the loop's, with the GIL.
#pragma once

#include <Python.h>

namespace fastserve::bind {

// The iterator of an asyncio future that follows `future`, and cancels it when it is cancelled.
PyObject* AwaitFuture(PyObject* future);

}  // namespace fastserve::bind
