// Statuses as the exceptions that a user of the embedding API chose.
//
// Reading what Python hands over can fail with a Status (the request is wrong) or with an exception
// that is set already (numpy's own, say). PythonsError() stands for the second among Statuses.
//
// Threads: with the GIL.
#pragma once

#include <Python.h>

#include <string>

#include "base/status.h"

namespace fastserve::bind {

// The Status that says: an exception is set. Raise leaves that one alone.
Status PythonsError();

// Sets the exception error(code, message), unless one is set. Returns null.
PyObject* Raise(PyObject* error, const Status& status);

// The same as a new exception object, to be raised elsewhere; none is set then. Null with an
// exception set when there is no memory for it.
PyObject* TakeError(PyObject* error, const Status& status);

// str(object), for a message.
std::string TextOf(PyObject* object);

}  // namespace fastserve::bind
