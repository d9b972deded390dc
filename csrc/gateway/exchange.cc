#include "gateway/exchange.h"

#include <new>
#include <utility>

#include "base/check.h"

namespace fastserve {

Exchange::Exchange(std::shared_ptr<CompletionQueue> queue, std::shared_ptr<Admission> admission,
                   std::shared_ptr<SlabPool> pool)
    : body(std::move(admission), pool), arena(std::move(pool)), queue_(std::move(queue)) {
  request.sink = this;
}

void Exchange::OnResponse(InferenceRequest&, std::span<ResponseOutput> response) {
  // Over plain HTTP a request has one answer; how many there were decides at the end.
  const bool is_first = responses++ == 0;
  if (!is_first && !streams) return;
  outputs.clear();
  try {
    if (streams) {
      if (streamed.Add(response)) queue_->Push(this);
      return;
    }
    for (ResponseOutput& output : response) outputs.push_back(std::move(output));
    shared.Place(outputs);
  } catch (const std::bad_alloc&) {
    lacks_memory = true;  // None may leave a sink; the request ends so.
  }
}

void Exchange::OnEnd(RequestPtr ended, Status status) {
  FS_CHECK(ended.release() == &request);  // It is a member of this.
  end = lacks_memory && status.ok() ? Status::OutOfMemory() : std::move(status);
  if (notes_end) ended_ns = NowNanos();
  // The loop may be gone, and then this is the last reference to the queue, which takes this
  // exchange with it when it goes.
  const std::shared_ptr<CompletionQueue> queue = std::move(queue_);
  if (!streams || streamed.End()) queue->Push(this);
}

void Exchange::CountFailure(Code code) const {
  if (!servable) return;
  const bool is_full = code == Code::kUnavailable || code == Code::kResourceExhausted;
  servable->stats().CountFailure(is_full ? FailureReason::kRejected : FailureReason::kInvalid);
}

void Exchange::CountAnswer() const {
  ServableStats& stats = servable->stats();
  const Nanos sent = NowNanos();
  stats.receive.Record(received_ns - first_byte_ns);
  stats.send.Record(sent - request.computed_ns);
  stats.request.Record(sent - received_ns);
}

void Exchange::Clear(const std::shared_ptr<CompletionQueue>& queue) noexcept {
  queue_ = queue;
  owner = nullptr;
  servable.reset();
  is_submitted = false;
  is_in_flight = false;
  inference_header_length.reset();
  timeout = kNever;
  coding = ContentCoding::kIdentity;
  accepted = {};
  wants_timing = false;
  notes_end = false;
  is_traced = false;
  cors = {};
  head_bytes = 0;
  model_asked.clear();
  version_asked.clear();
  map_changes = 0;
  method.clear();
  path.clear();
  body_bytes = 0;
  id.clear();
  has_id = false;
  first_byte_ns = 0;
  received_ns = 0;
  request.Clear();
  request.sink = this;
  outputs.clear();
  responses = 0;
  lacks_memory = false;
  end = Status();
  ended_ns = 0;
  streams = false;
  format = InferFormat::kKserve;
  streamed.Clear();
  ready.clear();
  body.Reset();
  arena.Clear();
  shared.Clear();
  may_share.reset();
  wanted.clear();
}

}  // namespace fastserve
