#include "gateway/exchange.h"

#include <utility>

namespace fastserve {

Exchange::Exchange(std::shared_ptr<CompletionQueue> queue, std::shared_ptr<Admission> admission,
                   std::shared_ptr<SlabPool> pool)
    : body(std::move(admission), pool), arena(std::move(pool)), queue_(std::move(queue)) {
  request.sink = this;
}

void Exchange::OnResponse(InferenceRequest&, std::span<ResponseOutput> response) {
  // Over plain HTTP a request has one answer; how many there were decides at the end.
  if (responses++ > 0) return;
  outputs.clear();
  for (ResponseOutput& output : response) outputs.push_back(std::move(output));
}

void Exchange::OnEnd(RequestPtr ended, Status status) {
  static_cast<void>(ended.release());  // It is a member of this.
  end = std::move(status);
  // The loop may be gone, and then this is the last reference to the queue, which takes this
  // exchange with it when it goes.
  const std::shared_ptr<CompletionQueue> queue = std::move(queue_);
  queue->Push(this);
}

void Exchange::Clear(std::shared_ptr<CompletionQueue> queue) {
  queue_ = std::move(queue);
  connection = nullptr;
  servable.reset();
  request.Clear();
  request.sink = this;
  outputs.clear();
  responses = 0;
  end = Status();
  body.Reset();
  arena.Clear();
  wanted.clear();
}

void Exchange::Orphan(Exchange* exchange) {
  // This may be an instance's thread, which cannot destroy the servable that owns it. The process
  // is about to end, so the servable is left to it.
  new ServableHandle(std::move(exchange->servable));
  delete exchange;
}

}  // namespace fastserve
