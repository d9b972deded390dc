// Errors at the border: a Status becomes a CoreError(code, message), and nothing else is thrown.
#pragma once

#include <pybind11/pybind11.h>

#include "base/status.h"

namespace fastserve::bind {

// Makes the exception type; once, by the module.
void RegisterErrors(pybind11::module_& module);

// Raises CoreError unless `status` is ok.
void Check(const Status& status);

// The value, or the exception.
template <typename T>
T Take(Result<T> result) {
  Check(result.status());
  return *std::move(result);
}

}  // namespace fastserve::bind
