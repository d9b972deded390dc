#include "bind/calls/loop_queue.h"

namespace fastserve::bind {
namespace {

// The queue whose loop works on this thread, and will drain it before it sleeps.
thread_local const LoopQueue* draining_here = nullptr;

}  // namespace

LoopQueue::~LoopQueue() {
  for (Call* call = Drain(/*signalled=*/false); call != nullptr;) {
    Call* const next = call->next_in_queue;
    CallPtr(call).reset();
    call = next;
  }
}

void LoopQueue::Push(Call* call) {
  if (inbox_.Push(call) && draining_here != this) event_fd_.Signal();
}

Call* LoopQueue::Drain(bool signalled) {
  if (signalled) event_fd_.Drain();  // First: see sync/inbox.h.
  return inbox_.TakeAll();
}

LoopQueue::LoopScope::LoopScope(const LoopQueue& queue) : before_(draining_here) {
  draining_here = &queue;
}

LoopQueue::LoopScope::~LoopScope() { draining_here = before_; }

}  // namespace fastserve::bind
