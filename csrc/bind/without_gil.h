// WithoutGil: work of the core for which the caller has nothing to do but wait.
//
// Threads: with the GIL, which is given up meanwhile.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <optional>
#include <utility>

#include "base/low_priority.h"

namespace fastserve::bind {

// `gently`: on a thread of low priority, so that models that are served do not notice.
template <typename Work>
auto WithoutGil(Work&& work, bool gently = false) {
  const pybind11::gil_scoped_release released;
  if (!gently) return work();
  std::optional<decltype(work())> result;
  std::exception_ptr failure;
  RunAtLowPriority([&] {
    try {
      result.emplace(work());
    } catch (...) {  // Out of memory, most likely.
      failure = std::current_exception();
    }
  });
  if (failure != nullptr) std::rethrow_exception(failure);
  return *std::move(result);
}

}  // namespace fastserve::bind
