// Errors at the border: a Status becomes a CoreError(code, message), and nothing else is thrown.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <new>

#include "base/status.h"

namespace fastserve::bind {

// Makes the exception type; once, by the module.
void RegisterErrors(pybind11::module_& module);

// What a slot of a raw C type does, with a C++ exception turned into Python's: none may pass
// through the interpreter's frames. `failed` is what the slot returns with an exception set.
//
// Not noexcept: a daemon thread that asks for the GIL while the interpreter ends is unwound.
template <typename T, typename Body>
T Guarded(T failed, Body&& body) {
  try {
    return body();
  } catch (pybind11::error_already_set& error) {
    error.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return failed;
}

// Raises CoreError unless `status` is ok.
void Check(const Status& status);

// The value, or the exception.
template <typename T>
T Take(Result<T> result) {
  Check(result.status());
  return *std::move(result);
}

}  // namespace fastserve::bind
