// BYTES tensors and Python's strings.
//
// In: str (as UTF-8) and bytes, from arrays of dtype object, S or U, or whatever numpy makes such
// an array of (lists, a single string). Out: an array of objects, each of them bytes, since what is
// in a model's answer need not be UTF-8.
//
// Threads: with the GIL.
#pragma once

#include <Python.h>

#include "base/status.h"
#include "bind/arrays/numpy_arrays.h"
#include "serving/servable.h"

namespace fastserve::bind {

// Fills tensor and owner of `input` from `value`; `input->name` is for messages. On failure either
// the Status says why or an exception is set (see raising.h).
Status ReadStrings(const Numpy& numpy, PyObject* value, NamedInput* input);

// A new array of the elements of a validated BYTES tensor; null with an exception set.
PyObject* StringsOf(const Numpy& numpy, const Tensor& tensor);

}  // namespace fastserve::bind
