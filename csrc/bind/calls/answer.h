// The answer of a call, as Python sees it: a dict of numpy arrays, or an exception.
//
// Each array is a view of the memory that the engine gave, and a _core.Buffer, its base, keeps that
// alive; nothing is copied but BYTES, which become an array of objects. Arrays may be written to,
// except those that alias an input of the same call (a model may answer what it was given): rows of
// a joined batch share memory, but not bytes.
//
// Threads: with the GIL.
#pragma once

#include <Python.h>

#include "base/status.h"
#include "bind/calls/call.h"

namespace fastserve::bind {

// A new dict of the outputs that were wanted. Null: then either `why` is an error or an exception
// is set (raising.h). Once per call, which must have ended: the outputs are moved out of it.
PyObject* TakeAnswer(Call& call, Status* why);

}  // namespace fastserve::bind
