// ServableStats: what is counted of one version of a model. Python reads it for /metrics.
//
// Threads: all members may be written and read from any thread (base/counter.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/counter.h"

namespace fastserve {

// Why a request was not answered with a result.
enum class FailureReason : uint8_t {
  kRejected,   // The queue, or the memory, was full.
  kCancelled,  // The client left, or the server stopped, before it ran.
  kDeadline,   // Its deadline passed before it ran.
  kInvalid,    // It does not fit the model.
  kBackend,    // The engine failed.
};
inline constexpr std::array<std::string_view, 5> kFailureReasonNames = {
    "rejected", "cancelled", "deadline", "invalid", "backend"};

// Why a batch was closed, i.e. run with the requests it had.
enum class CloseReason : uint8_t {
  kFull,       // No other request that waits would fit.
  kPreferred,  // It has a preferred size.
  kIdle,       // An instance was free and nothing else had to be waited for.
  kDelay,      // Its oldest request had waited as long as it may.
};
inline constexpr std::array<std::string_view, 4> kCloseReasonNames = {"full", "preferred", "idle",
                                                                      "delay"};

struct ServableStats {
  // Batches of more rows than this are counted as this many.
  static constexpr size_t kRowsMax = 1024;

  // The first eight are in one cache line: those that a request adds to when all is well.
  alignas(64) Counter success;  // Requests answered with a result.
  Counter rows;                 // Of those.
  Counter executions;           // Runs of the engine, warm-up left out.
  Counter caller_runs;          // Executions on the thread that held the requests.
  std::array<Counter, kCloseReasonNames.size()> closes;
  std::array<Counter, kRowsMax + 1> batch_rows;  // Executions by rows.
  std::array<Counter, kFailureReasonNames.size()> failures;

  // The phases, in their order. Of each request:
  DurationHistogram receive;  // Its first byte to its last; the front end records it.
  DurationHistogram queue;    // Submitted to started.
  // Of each execution:
  DurationHistogram stage;   // Started until the rows are gathered; nearly 0 for a single request.
  DurationHistogram run;     // The engine alone. Responses before the last are delivered within it.
  DurationHistogram finish;  // Checking the outputs, handing out their rows, ending the requests.
  // Of each request, recorded by the front end:
  DurationHistogram send;     // The engine was done until the answer was handed to the socket.
  DurationHistogram request;  // Its last byte until then: all from queue on.

  void CountFailure(FailureReason reason) { failures[static_cast<size_t>(reason)].Add(); }
  void CountClose(CloseReason reason, bool is_alone) {
    closes[static_cast<size_t>(reason)].Add(1, is_alone);
  }
};

}  // namespace fastserve
