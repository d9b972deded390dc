// ClientChannel: what a client and its calls share: the rings, the table of what is under way, and
// whose turn it is to wait.
//
//   FS_RETURN_IF_ERROR(channel->Send(call, DescriptorKind::kInfer, deadline));
//   const ClientChannel::News news = channel->Await(*call, until);
//
// The first thread that waits leads: it alone looks for descriptors and sleeps on the doorbell,
// with the mutex released, and hands out what comes for others. They follow: each sleeps on its own
// call's Signal until something came for it, or the leader has left and it is the next.
//
// Invariants:
//   1. A call is in the table exactly while it is under way, and its number is the slot's.
//   2. What the server says of any other number is dropped, and its block goes back.
//   3. There is a leader whenever somebody follows, or one of them has been told to become it.
//   4. Nobody sleeps with the mutex.
// Threads: all from any thread; of Await, Watch and Abandon one at a time for a call.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/annotations.h"
#include "base/clock.h"
#include "base/status.h"
#include "channel/channel_layout.h"
#include "channel/client/call_state.h"
#include "channel/client/client_outbox.h"
#include "channel/client/client_segment.h"
#include "channel/owned_fd.h"

namespace fastserve {

class ClientChannel {
 public:
  struct News {
    enum class Kind : uint8_t { kNone, kResponse, kOver };
    Kind kind = Kind::kNone;
    CallState::Arrived response;  // The caller returns it to the segment.
    Status end;
  };

  // `event_fd` is signalled when a watched call has news. Errors: INTERNAL when the
  // consumer's end of the responses is taken.
  static Result<std::shared_ptr<ClientChannel>> Open(std::shared_ptr<ClientSegment> segment,
                                                     OwnedFd event_fd, Nanos spin);
  ClientChannel(const ClientChannel&) = delete;
  ClientChannel& operator=(const ClientChannel&) = delete;

  ClientSegment& segment() const { return *segment_; }

  // FAILED_PRECONDITION in a child of fork(), where Await and Close may not be called; the others
  // do nothing there.
  Status CheckProcess() const;
  // Also UNAVAILABLE when it is closed.
  Status CheckOpen() const FS_EXCLUDES(mutex_);
  bool is_open() const { return !is_closed_.load(std::memory_order_relaxed); }

  // ClientSegment::Allocate, after a look at what the server has ended meanwhile.
  BufferRef Allocate(size_t bytes) FS_EXCLUDES(mutex_);

  // Drops the responses that nobody took. Errors: FAILED_PRECONDITION when it is under way.
  Status BeginChange(CallState& call) FS_EXCLUDES(mutex_);
  // Hands the call's message over. Responses of an earlier time that nobody took are dropped.
  // Errors: UNAVAILABLE; FAILED_PRECONDITION when it is under way; RESOURCE_EXHAUSTED when
  // kChannelSlots are.
  Status Send(const std::shared_ptr<CallState>& call, DescriptorKind kind, Nanos deadline)
      FS_EXCLUDES(mutex_);
  // Waits until there are news of it, or `until`.
  News Await(CallState& call, Nanos until) FS_EXCLUDES(mutex_);
  // Tells the server that nobody waits for it, if it is under way.
  void Cancel(CallState& call) FS_EXCLUDES(mutex_);
  // The handle is gone.
  void Abandon(CallState& call) FS_EXCLUDES(mutex_);
  bool IsUnderWay(const CallState& call) const FS_EXCLUDES(mutex_);

  // An event loop is told of its news by `tag`, until it is over. True: there are some now.
  bool Watch(CallState& call, uint64_t tag) FS_EXCLUDES(mutex_);
  int fd() const { return event_fd_.get(); }
  std::vector<uint64_t> TakeReady() FS_EXCLUDES(mutex_);

  // Ends what is under way, but for what the server has answered already, and whatever comes
  // afterwards. The first reason stays.
  void Close(const Status& why) FS_EXCLUDES(mutex_);

 private:
  struct Slot {
    uint64_t number = 0;  // Of its last use.
    std::shared_ptr<CallState> call;
  };
  using Consumer = DescriptorRing::Consumer;

  ClientChannel(std::shared_ptr<ClientSegment> segment, Consumer responses, OwnedFd event_fd,
                Nanos spin);

  void Lead(CallState& call, Nanos until) FS_REQUIRES(mutex_);
  void Follow(CallState& call, Nanos until) FS_REQUIRES(mutex_);
  void PassOn() FS_REQUIRES(mutex_);

  void Pump() FS_REQUIRES(mutex_);
  void Take(const Descriptor& said) FS_REQUIRES(mutex_);
  void Tell(CallState& call) FS_REQUIRES(mutex_);
  void End(Slot& slot, Status end) FS_REQUIRES(mutex_);
  void CloseLocked(const Status& why) FS_REQUIRES(mutex_);
  Status EndOf(const Descriptor& said) const;
  void GiveBack(uint64_t offset) const;
  void DropArrived(CallState& call) const;
  void StopWatching(CallState& call) FS_REQUIRES(mutex_);
  void CancelLocked(CallState& call) FS_REQUIRES(mutex_);

  const std::shared_ptr<ClientSegment> segment_;
  ChannelHead& head_;
  ClientOutbox& outbox_;
  const OwnedFd event_fd_;
  const Nanos spin_;
  const uint32_t generation_;
  std::atomic<bool> is_closed_{false};
  // The leader looks at this while it has no mutex: something came that is not in the ring.
  std::atomic<bool> leader_has_news_{false};

  mutable Mutex mutex_;
  Consumer responses_ FS_GUARDED_BY(mutex_);
  std::vector<Slot> slots_ FS_GUARDED_BY(mutex_);
  // The last to become free is the first to be used: the server has memory for each that was.
  std::vector<uint32_t> free_ FS_GUARDED_BY(mutex_);
  Status closed_ FS_GUARDED_BY(mutex_);  // Why.

  CallState* leader_ FS_GUARDED_BY(mutex_) = nullptr;
  bool leader_is_out_ FS_GUARDED_BY(mutex_) = false;  // It has released the mutex.
  std::vector<CallState*> followers_ FS_GUARDED_BY(mutex_);

  size_t watched_ FS_GUARDED_BY(mutex_) = 0;
  std::vector<CallState*> ready_ FS_GUARDED_BY(mutex_);
  bool is_loop_told_ FS_GUARDED_BY(mutex_) = false;  // Or it is here.
};

}  // namespace fastserve
