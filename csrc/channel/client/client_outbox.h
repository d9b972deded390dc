// ClientOutbox: what a client tells its server, in order, whether or not the ring has room for it.
//
//   outbox.Push(request);
//   outbox.PushWaiting();          // releases go with whatever goes
//   outbox.Ring();
//
// The ring has no room only if the server is stopped. Then what came too late waits here, and
// ClientSegment::many_returned() is signalled, so that the client's thread calls Flush until all is
// gone: nobody waits to send.
//
// A release wakes nobody: a server that is short of memory looks for releases by itself. Only when
// many have gathered it is told.
//
// Threads: none; its owner brings a mutex. Ring from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "channel/channel_layout.h"
#include "channel/client/client_segment.h"

namespace fastserve {

class ClientOutbox {
 public:
  ClientOutbox(std::shared_ptr<ClientSegment> segment, DescriptorRing::Producer requests)
      : segment_(std::move(segment)), requests_(std::move(requests)) {}

  // May throw std::bad_alloc, and nothing is pushed, only if the ring has no room.
  void Push(const Descriptor& said);
  // What waits and finds room now; the loans that were returned. Nothing waits behind a Push that
  // found no room.
  void PushWaiting();
  // The same, when there is something; many are worth a ring.
  void PushReleases();
  // The same, and tells the server. False: some of it waits still.
  bool Flush();
  // What waits is for nobody.
  void Clear();

  // All that was pushed is worth a look of the server's.
  void Ring() const { segment_->head().server.Ring(); }
  // The caller rings soon.
  void WillRing() { unrung_ = 0; }

 private:
  void AskForFlush();

  const std::shared_ptr<ClientSegment> segment_;
  DescriptorRing::Producer requests_;
  std::deque<Descriptor> backlog_;
  std::vector<uint64_t> returning_;
  bool is_flush_due_ = false;  // The client's thread knows.
  size_t unrung_ = 0;          // Pushed since the last ring.
};

}  // namespace fastserve
