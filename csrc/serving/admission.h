// Admission: the one place that says no before a request is received.
//
// A front end asks when it knows how many bytes are to come, and gives back when the request is
// answered. What is admitted can be held; what is not is refused before its body is read.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/counter.h"
#include "base/status.h"

namespace fastserve {

class Admission {
 public:
  struct Options {
    size_t body_bytes_max = size_t{64} << 20;
    size_t in_flight_bytes_max = size_t{1} << 30;
  };

  explicit Admission(const Options& options) : options_(options) {}

  // Reserves `bytes` of one request. Errors: OUT_OF_RANGE when no request may be that large (HTTP
  // 413), UNAVAILABLE when the server holds too much already (HTTP 503: try again).
  Status Reserve(size_t bytes);
  void Release(size_t bytes);

  size_t in_flight_bytes() const { return in_flight_bytes_.load(std::memory_order_relaxed); }
  const Options& options() const { return options_; }

 private:
  const Options options_;
  std::atomic<size_t> in_flight_bytes_{0};
};

}  // namespace fastserve
