#include "gateway/completion_queue.h"

#include <utility>

#include "gateway/exchange.h"

namespace fastserve {
namespace {

// The queue whose loop is working on this thread, and will drain it before it sleeps.
thread_local const CompletionQueue* draining_here = nullptr;

}  // namespace

Result<std::shared_ptr<CompletionQueue>> CompletionQueue::Create() {
  Result<EventFd> event_fd = EventFd::Create();
  if (!event_fd.ok()) return event_fd.status();
  return std::make_shared<CompletionQueue>(*std::move(event_fd));
}

CompletionQueue::~CompletionQueue() {
  for (Exchange* exchange = Drain(false); exchange != nullptr;) {
    delete std::exchange(exchange, Next(exchange));
  }
}

void CompletionQueue::Push(Exchange* exchange) {
  if (inbox_.Push(exchange) && draining_here != this) event_fd_.Signal();
}

Exchange* CompletionQueue::Drain(bool signalled) {
  if (signalled) event_fd_.Drain();  // First: see sync/inbox.h.
  return static_cast<Exchange*>(inbox_.TakeAll());
}

Exchange* CompletionQueue::Next(Exchange* exchange) {
  return static_cast<Exchange*>(exchange->next_completion);
}

CompletionQueue::LoopScope::LoopScope(const CompletionQueue& queue) : before_(draining_here) {
  draining_here = &queue;
}

CompletionQueue::LoopScope::~LoopScope() { draining_here = before_; }

}  // namespace fastserve
