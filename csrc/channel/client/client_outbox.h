// ClientOutbox: what a client tells its server, in order, whether or not the ring has room for it.
//
//   outbox.Push(request); outbox.Ring();
//   outbox.Release(offset);                    // wherever the last reference to a response goes
//
// The ring has no room only if the server is stopped. Then what comes too late waits here, and
// flush_due() is signalled, so that the client's thread calls Flush until all is gone: nobody ever
// waits to send.
//
// A release is in the ring at once, since the server may be waiting for the memory, but rings only
// when many have gathered: a server that waits for memory looks for releases by itself.
//
// Threads: all from any thread; the mutex is the last to be taken, and nothing is called under it.
// In a child of fork() Release does nothing, and the rest may not be called.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "base/annotations.h"
#include "base/fork.h"
#include "channel/channel_layout.h"
#include "sync/event_fd.h"

namespace fastserve {

class ClientOutbox {
 public:
  // Releases without a ring, at most.
  static constexpr size_t kManyReleases = 64;

  ClientOutbox(ChannelHead& head, DescriptorRing::Producer requests, EventFd flush_due)
      : head_(head),
        flush_due_(std::move(flush_due)),
        generation_(ForkGeneration()),
        requests_(std::move(requests)) {}
  ClientOutbox(const ClientOutbox&) = delete;
  ClientOutbox& operator=(const ClientOutbox&) = delete;

  // May throw std::bad_alloc, but only if the ring has no room.
  void Push(const Descriptor& said) FS_EXCLUDES(mutex_);
  // The server may have back what came at `offset`. Without memory to note that it gets it when the
  // channel is closed.
  void Release(uint64_t offset) noexcept FS_EXCLUDES(mutex_);
  // The server looks at what was pushed.
  void Ring() { static_cast<void>(head_.server.Ring()); }

  // Signalled when Flush has something to do. Whoever waits for it may be told other things by it.
  const EventFd& flush_due() const { return flush_due_; }
  // False: the ring had no room for all. Try again soon.
  bool Flush() FS_EXCLUDES(mutex_);
  // Nobody is told anything any more.
  void Close() FS_EXCLUDES(mutex_);

 private:
  void PushLocked(const Descriptor& said) FS_REQUIRES(mutex_);

  ChannelHead& head_;
  const EventFd flush_due_;
  const uint32_t generation_;
  Mutex mutex_;
  DescriptorRing::Producer requests_ FS_GUARDED_BY(mutex_);
  std::deque<Descriptor> backlog_ FS_GUARDED_BY(mutex_);
  size_t unrung_ FS_GUARDED_BY(mutex_) = 0;  // Releases since the last Push.
  bool is_closed_ FS_GUARDED_BY(mutex_) = false;
};

}  // namespace fastserve
