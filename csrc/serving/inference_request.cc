#include "serving/inference_request.h"

namespace fastserve {

void InferenceRequest::Reset() {
  servable.reset();
  inputs.clear();
  rows = 1;
  shape_key = 0;
  deadline = kNever;
  cancelled.store(false, std::memory_order_relaxed);
  times = {};
  batch_rows = 0;
  final_response.next = nullptr;
  final_response.final = false;
  final_response.empty = false;
  final_response.status = {};
  final_response.outputs.clear();
}

void Complete(InferenceRequest* request) {
  // What the request read is no longer needed; its bytes go back to their pool before the answer is
  // written (an output that is a view of an input holds its own reference).
  request->inputs.clear();
  request->final_response.final = true;
  request->sink->OnResponse(&request->final_response);
}

void CancelAbandoned::operator()(InferenceRequest* request) const {
  request->final_response.status =
      Status(Code::kCancelled, "the request was dropped before it ran: the model is going away");
  ResponseSink* sink = request->sink;
  Complete(request);
  sink->Flush();
}

void Fail(RequestPtr request, Status status) {
  request->final_response.status = std::move(status);
  Complete(request.release());
}

}  // namespace fastserve
