// ModelStats: what a servable counts. Read by the metrics; see base/counter.h for what a reader
// sees.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/counter.h"
#include "serving/dynamic_batcher.h"

namespace fastserve {

// Why a request failed; a label of the metrics.
enum class FailureReason : uint8_t {
  kRejected,   // A limit said no: queue depth, bytes in flight, draining.
  kCancelled,  // Nobody waited any more, or the model went away.
  kDeadline,   // Its time was up before it ran.
  kInvalid,    // It did not fit the model.
  kBackend,    // The engine failed.
};
inline constexpr size_t kFailureReasonCount = 5;

constexpr std::string_view FailureReasonName(FailureReason reason) {
  constexpr std::string_view kNames[] = {"rejected", "cancelled", "deadline", "invalid", "backend"};
  return kNames[static_cast<size_t>(reason)];
}

struct ModelStats {
  Counter success;      // Requests answered.
  Counter rows;         // Rows of those.
  Counter executions;   // Runs of the engine.
  Counter caller_runs;  // Of those, on the thread that held the requests.
  std::array<Counter, kFailureReasonCount> failure;
  std::array<Counter, kCloseReasonCount> close_reasons;
  // Executions by rows: 1, 2, 3-4, 5-8, ... up to 2^(i-1) < rows <= 2^i at index i.
  std::array<Counter, 24> batch_rows;
  DurationHistogram queue;    // Arrival to start.
  DurationHistogram compute;  // Start to end: staging and the engine; once a request.
  DurationHistogram request;  // Arrival to end.

  void CountFailure(FailureReason reason) { failure[static_cast<size_t>(reason)].Add(); }
  void CountBatch(int64_t rows_in_batch, CloseReason reason) {
    executions.Add();
    close_reasons[static_cast<size_t>(reason)].Add();
    const size_t index = rows_in_batch <= 1 ? 0 : std::bit_width(uint64_t(rows_in_batch - 1));
    batch_rows[index < batch_rows.size() ? index : batch_rows.size() - 1].Add();
  }
};

}  // namespace fastserve
