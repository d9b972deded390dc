// InferenceRequest: what travels from a front end to an engine and back; ResponseSink: the way
// back.
//
// A request moves along the route as a RequestPtr and whoever holds it must end it: by
// ResponseSink::OnEnd, exactly once. Dropping a RequestPtr ends the request with CANCELLED, so that
// nothing is ever lost in silence.
//
//   sink->OnResponse(*request, outputs);            // 0..n times; an ordinary model once
//   sink->OnEnd(std::move(request), Status());      // the last word
//
// The memory belongs to the sink: OnEnd takes the pointer back (release()) and may reuse it. Front
// ends keep requests in a pool, so the steady path allocates nothing.
//
// Threads: a request is in one place at a time; `cancelled` alone may be set from any thread.
// OnResponse and OnEnd are called on whatever thread holds the request, never two at once for one
// request.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "serving/backend.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace fastserve {

class ResponseSink;
struct InferenceRequest;

// Ends a request that nobody ended: OnEnd with CANCELLED.
struct EndIfDropped {
  void operator()(InferenceRequest* request) const;
};
using RequestPtr = std::unique_ptr<InferenceRequest, EndIfDropped>;

// One output of a response; rows of a joined batch are views of it that share its owner.
struct ResponseOutput {
  Tensor tensor;
  BufferRef owner;
};

class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  // One response. outputs[i] belongs to outputs[i] of the engine's signature; it may be moved from.
  virtual void OnResponse(InferenceRequest& request, std::span<ResponseOutput> outputs) = 0;
  // No more responses come. An error makes what came before it void, unless the front end streams.
  virtual void OnEnd(RequestPtr request, Status status) = 0;
};

struct InferenceRequest {
  // One entry per input of the engine's signature, in its order.
  std::vector<BatchInput> inputs;
  // Length of dimension 0 of each input; 1 when the model has no batch dimension.
  int64_t rows = 1;
  size_t input_bytes = 0;  // Of all inputs together.
  // Where outputs are wanted: one entry per output of the engine's signature, or none at all.
  std::vector<OutputPlace> places;
  // Requests may share a batch only if this is equal and so are types, row shapes and present
  // inputs (it is a hash of them: unequal keys differ for sure).
  uint64_t join_key = 0;

  Nanos submitted_ns = 0;              // When it was handed over; Submit notes it if it is 0.
  Nanos deadline_ns = kNever;          // Not started after that: DEADLINE_EXCEEDED.
  std::atomic<bool> cancelled{false};  // Not started when set: CANCELLED.

  ResponseSink* sink = nullptr;

  // Written by the scheduler before the first OnResponse; 0 when the request never ran.
  Nanos started_ns = 0;   // It left the queue.
  Nanos staged_ns = 0;    // Its batch was gathered: the engine begins.
  Nanos computed_ns = 0;  // The engine was done.
  int64_t batch_rows = 0;

  // The next one in a RequestList.
  InferenceRequest* next = nullptr;

  // As new, but with the capacity of `inputs`; drops the owners of the inputs' bytes.
  void Clear();
};

// Requests that one holder has, in order. It is made of the requests themselves, so that putting
// one in cannot fail; those left in it when it goes end as if dropped.
class RequestList {
 public:
  RequestList() = default;
  ~RequestList() {
    while (Pop() != nullptr) continue;
  }
  RequestList(const RequestList&) = delete;
  RequestList& operator=(const RequestList&) = delete;

  bool empty() const { return first_ == nullptr; }
  void Push(RequestPtr request) {
    InferenceRequest* const added = request.release();
    added->next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = added;
    last_ = added;
  }
  // The first one; null when there is none.
  RequestPtr Pop() {
    InferenceRequest* const popped = first_;
    if (popped != nullptr) first_ = std::exchange(popped->next, nullptr);
    return RequestPtr(popped);
  }

 private:
  InferenceRequest* first_ = nullptr;
  InferenceRequest* last_ = nullptr;  // Good while there is a first one.
};

}  // namespace fastserve
