// From the arguments of infer, submit or ainfer to a call that is bound to its model.
//
// Threads: with the GIL.
#pragma once

#include <Python.h>

#include "bind/calls/call.h"
#include "bind/calls/caller_object.h"

namespace fastserve::bind {

// What a METH_FASTCALL | METH_KEYWORDS function was given.
struct PassedArguments {
  PyObject* const* values;
  Py_ssize_t positional;
  PyObject* keywords;  // A tuple of the names of those after the positional ones, or null.
};

// A call of `caller`'s model with (inputs, outputs=None, *, timeout=None), not submitted yet. Null
// with an exception set: TypeError or ValueError for arguments that are none, the caller's error
// for a request that does not fit the model or a model that is not served.
CallPtr PrepareCall(CallerObject* caller, const char* method, const PassedArguments& arguments);

// A time-out in seconds, or None, as the time that it ends after `now`; false with an exception
// set.
bool ReadTimeout(PyObject* timeout, Nanos now, Nanos* until_ns);

}  // namespace fastserve::bind
