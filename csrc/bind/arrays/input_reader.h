// ReadInput: what Python gives for an input, as the tensor that the core takes.
//
//   numpy array            no copy when it is C-contiguous, aligned and in this machine's byte
//                          order; else copied. Of another dtype: refused, with the cast that helps
//   list, tuple, scalar    converted by numpy to the model's dtype
//   __dlpack__ (torch...)  no copy on the CPU when it is row-major, else copied
//   buffer (bytes, ...)    no copy; with a format of its own it is an array like any other, as raw
//                          bytes it is the tensor's memory, and its shape is the model's (which may
//                          leave one dimension open)
//   anything else          what numpy.asarray makes of it, which must have the model's dtype
//   for BYTES              see bytes_elements.h
//
// What is not copied must not be written to until the answer is there, and aliases of it may be in
// the answer.
//
// Threads: with the GIL.
#pragma once

#include <Python.h>

#include "base/status.h"
#include "bind/arrays/numpy_arrays.h"
#include "serving/servable.h"
#include "tensor/tensor.h"

namespace fastserve::bind {

// Fills tensor and owner of `input`, whose name is spec.name. On failure either the Status says why
// or an exception is set (raising.h). The datatype may still be another than spec's.
Status ReadInput(const Numpy& numpy, PyObject* value, const TensorSpec& spec, NamedInput* input);

// The same for a client, which knows no model: the type is the value's own, and numpy's for what
// has none (1.5 is FP64; str and bytes are BYTES). `input->name` is for messages.
Status ReadTypedInput(const Numpy& numpy, PyObject* value, NamedInput* input);

}  // namespace fastserve::bind
