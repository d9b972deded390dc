// Calls that an asyncio loop awaits (ainfer), and the way of their answers back to it.
//
// Like a server's, the calls of one iteration of the loop are gathered: at its end (one call_soon)
// those that are cheap run on the loop's thread, without the GIL, and an instance's thread is woken
// once for the rest. Only while some are left the loop watches an eventfd, and a timer if one of them
// has a deadline; when none is, nothing of ours is in the loop.
//
// LoopQueue is the part that engines see: any thread pushes, the loop drains.
// LoopCalls is the rest: which calls are awaited, and what is registered. Idle ones belong to no
// loop and are kept for the next.
//
// Threads: SubmitForLoop on the loop's, with the GIL. Push from any.
#pragma once

#include <Python.h>

#include <memory>
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

// Submits; a new reference to a future of the running loop, or null with an exception set
// (RuntimeError when no loop runs on this thread).
PyObject* SubmitForLoop(CallPtr call);

}  // namespace fastserve::bind
