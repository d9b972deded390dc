// InferenceRequest, its responses, and the sink that takes them.
//
// A request moves: gateway -> Scheduler -> Batch -> ResponseSink. Whoever holds the RequestPtr must
// complete it; dropping it completes it with CANCELLED, so that no request is lost silently. A
// request gets 0..n responses, the last one marked final; the final one lives inside the request, so
// that an ordinary answer allocates nothing.
//
// Threads: a request belongs to one holder at a time. `cancelled` alone may be set by anyone while
// another thread holds it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "serving/backend.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace fastserve {

class Servable;
class InferenceRequest;

// One output of one response. `index` counts in Servable::outputs().
struct OutputTensor {
  size_t index = 0;
  Tensor tensor;
  BufferRef owner;
};

struct InferenceResponse {
  InferenceResponse* next = nullptr;  // The sink's queue; nobody else touches it.
  InferenceRequest* request = nullptr;
  bool final = false;
  // A final response that only says that there are no more.
  bool empty = false;
  Status status;
  std::vector<OutputTensor> outputs;
};

// Takes responses, on any thread.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  // Takes `response` over: a final one brings its request back with it; any other is deleted by the
  // sink when it has been sent.
  virtual void OnResponse(InferenceResponse* response) = 0;
  // Called once after a group of OnResponse calls from the calling thread: wake the reader now.
  virtual void Flush() = 0;
};

// When a request reached each phase; 0 where it has not.
struct RequestTimes {
  Nanos arrival = 0;  // Its body was complete.
  Nanos start = 0;    // Its batch was closed.
  Nanos run = 0;      // Its batch was staged and the engine began.
  Nanos end = 0;      // The engine was done.
};

class InferenceRequest {
 public:
  InferenceRequest() { final_response.request = this; }
  InferenceRequest(const InferenceRequest&) = delete;
  InferenceRequest& operator=(const InferenceRequest&) = delete;

  // Set by whoever submits.
  std::shared_ptr<Servable> servable;
  std::vector<BatchInput> inputs;  // One for each of Servable::inputs(), in that order.
  int64_t rows = 1;
  uint64_t shape_key = 0;  // Only requests with equal keys share a batch.
  Nanos deadline = kNever;
  ResponseSink* sink = nullptr;

  // Set to true by the submitter when nobody waits for the answer any more.
  std::atomic<bool> cancelled{false};

  // Filled on the way.
  RequestTimes times;
  int64_t batch_rows = 0;
  InferenceResponse final_response;

  // Makes a used request ready for the next use; containers keep their capacity.
  void Reset();
};

// Sends the final response that was filled into `request->final_response`.
void Complete(InferenceRequest* request);

struct CancelAbandoned {
  void operator()(InferenceRequest* request) const;
};
using RequestPtr = std::unique_ptr<InferenceRequest, CancelAbandoned>;

// Completes `request` with an error.
void Fail(RequestPtr request, Status status);

}  // namespace fastserve
