#include "serving/inference_request.h"

#include <utility>

#include "base/check.h"

namespace fastserve {

void EndIfDropped::operator()(InferenceRequest* request) const {
  FS_CHECK(request->sink != nullptr);
  request->sink->OnEnd(
      RequestPtr(request),
      MakeStatus(Code::kCancelled, "the request was dropped before it was answered"));
}

void InferenceRequest::Clear() {
  inputs.clear();
  places.clear();
  rows = 1;
  input_bytes = 0;
  join_key = 0;
  submitted_ns = 0;
  deadline_ns = kNever;
  cancelled.store(false, std::memory_order_relaxed);
  sink = nullptr;
  started_ns = 0;
  staged_ns = 0;
  computed_ns = 0;
  batch_rows = 0;
  next = nullptr;
}

}  // namespace fastserve
