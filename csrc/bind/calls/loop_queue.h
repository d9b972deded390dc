// LoopQueue: the way of ended calls back to the asyncio loop that awaits them.
//
// Instances' threads push; the loop drains when the eventfd is readable, and after it ran models
// itself. The eventfd is written only by the push that found the queue empty, and not at all by the
// loop's own thread, which drains anyway.
//
// Lifetime: each call that is under way holds a reference. What nobody drained dies with the queue.
// Threads: Push from any; Drain from the loop's.
#pragma once

#include <utility>

#include "bind/calls/call.h"
#include "sync/event_fd.h"
#include "sync/inbox.h"

namespace fastserve::bind {

class LoopQueue {
 public:
  explicit LoopQueue(EventFd event_fd) : event_fd_(std::move(event_fd)) {}
  // Drops what nobody drained.
  ~LoopQueue();
  LoopQueue(const LoopQueue&) = delete;
  LoopQueue& operator=(const LoopQueue&) = delete;

  int fd() const { return event_fd_.fd(); }
  // A call that has ended, with the scheduler's share.
  void Push(Call* call);
  // All that were pushed, linked by next_in_queue. `signalled`: fd() may be readable.
  Call* Drain(bool signalled);

  // While one lives, pushes of its thread do not signal: the thread drains when it is done.
  class LoopScope {
   public:
    explicit LoopScope(const LoopQueue& queue);
    ~LoopScope();
    LoopScope(const LoopScope&) = delete;
    LoopScope& operator=(const LoopScope&) = delete;

   private:
    const LoopQueue* const before_;
  };

 private:
  EventFd event_fd_;
  Inbox<Call, &Call::next_in_queue> inbox_;
};

}  // namespace fastserve::bind
