// CompletionQueue: the way of finished exchanges back to their event loop.
//
// Instance threads push; the loop drains when the eventfd is readable, and after each iteration in
// which it ran models itself. The eventfd is written only by the push that found the queue empty,
// and not at all by the loop's own thread, which drains anyway.
//
// Lifetime: every exchange that is under way holds a reference, so an engine that ends after the
// gateway is gone still has a place to push to. What nobody drained dies with the queue.
// Threads: Push from any thread; Drain from the loop's.
#pragma once

#include <memory>

#include "base/status.h"
#include "sync/event_fd.h"
#include "sync/inbox.h"

namespace fastserve {

class Exchange;

// The link of an exchange in the queue; a base, so that this header need not know what it carries.
struct CompletionLink {
  CompletionLink* next_completion = nullptr;
};

class CompletionQueue {
 public:
  static Result<std::shared_ptr<CompletionQueue>> Create();
  explicit CompletionQueue(EventFd event_fd) : event_fd_(std::move(event_fd)) {}
  ~CompletionQueue();
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;

  // For the loop's poller.
  int fd() const { return event_fd_.fd(); }

  void Push(Exchange* exchange);

  // All that was pushed, oldest first, linked by next_completion; null when there is none.
  // `signalled` says that fd() may be readable and is to be made quiet.
  Exchange* Drain(bool signalled);
  static Exchange* Next(Exchange* exchange);

  // While one of these lives, pushes of its thread do not signal: the thread drains when it is
  // done.
  class LoopScope {
   public:
    explicit LoopScope(const CompletionQueue& queue);
    ~LoopScope();
    LoopScope(const LoopScope&) = delete;
    LoopScope& operator=(const LoopScope&) = delete;

   private:
    const CompletionQueue* const before_;
  };

 private:
  EventFd event_fd_;
  Inbox<CompletionLink, &CompletionLink::next_completion> inbox_;
};

}  // namespace fastserve
