// ChannelOutbox: what the server says to one client, and of which of its requests the end has not
// been said yet.
//
//   outbox.Open(number)                        // the session: it is under way
//   outbox.Attach(number, exchange)            // and goes to the scheduler
//   outbox.SayResponse(said)                   // any thread: what an engine gave
//   outbox.SayEnd(number, status)
//   outbox.Release(offset); outbox.Flush(now)  // the session: the client has read something
//
// What finds no room, in the heap (ResponseHeap) or the ring, waits until the client has released
// or read something, in order, up to kPatience and as many bytes as the heap has. Then its request
// ends with RESOURCE_EXHAUSTED. A client that releases does not ring, so the session is woken when
// something begins to wait, and calls Flush now and then as long as something is_waiting.
//
// Invariants:
//   1. Of a number nothing is said before Open, and nothing after its end; a number that is not
//      open is ignored.
//   2. An exchange in the table is with the scheduler: whoever gets it back says its end, or that
//      its end waits, before he does anything else with it.
//   3. A block is free, held by one thing that is to be said, or the client's until it releases it.
//
// Threads: Say* from any; the rest is the session's. Large outputs are copied without the mutex.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/annotations.h"
#include "base/clock.h"
#include "channel/channel_layout.h"
#include "gateway/channel/channel_exchange.h"
#include "gateway/channel/channel_stats.h"
#include "gateway/channel/response_heap.h"
#include "serving/servable.h"
#include "sync/event_fd.h"

namespace fastserve {

class ChannelOutbox {
 public:
  static constexpr Nanos kPatience = 5 * kSecond;
  // While something waits for room the session looks this often.
  static constexpr Nanos kLookForRoomEvery = 1 * kMillisecond;

  // `segment` is whole, and outlives this.
  ChannelOutbox(std::span<std::byte> segment, ChannelHead& head, EventFd event_fd,
                ChannelStats& stats);

  // False when the slot of that number is in use.
  [[nodiscard]] bool Open(uint64_t number) FS_EXCLUDES(mutex_);
  // It is open, and goes to the scheduler: its servable and deadline do not change any more.
  void Attach(uint64_t number, ChannelExchange* exchange) FS_EXCLUDES(mutex_);
  // Ends it with CANCELLED. Its servable, whose waiting requests are to be swept; null when it is
  // not open, or nobody but the session has it.
  ServableHandle Cancel(uint64_t number) FS_EXCLUDES(mutex_);
  // Ends those whose deadline has passed; returns the earliest of the others'.
  Nanos EndLate(Nanos now) FS_EXCLUDES(mutex_);
  // Those of exchanges whose deadline has passed.
  std::vector<ServableHandle> ServablesOfLate(Nanos now) FS_EXCLUDES(mutex_);
  // Nothing is said any more; all that is under way is cancelled. Their servables, each once.
  std::vector<ServableHandle> Close() FS_EXCLUDES(mutex_);

  // Room for a response that is to come, if it can be known (ResponseHeap::Lend); 0: none.
  uint64_t Lend(const ChannelExchange& exchange, std::vector<OutputPlace>* places)
      FS_EXCLUDES(mutex_);
  // It came to nothing.
  void TakeBack(uint64_t lent) FS_EXCLUDES(mutex_);

  // What was lent for it is taken care of. std::bad_alloc passes through, and nothing was said.
  void SayResponse(const SaidResponse& said) FS_EXCLUDES(mutex_);
  void SayDescription(uint64_t number, const ChannelMessage& message) FS_EXCLUDES(mutex_);
  // Also OK. It is said after all responses of that number.
  void SayEnd(uint64_t number, const Status& status) noexcept FS_EXCLUDES(mutex_);

  // False when no block begins there that the client has.
  [[nodiscard]] bool Release(uint64_t offset) FS_EXCLUDES(mutex_);
  // Says what waits and has room now.
  void Flush(Nanos now) FS_EXCLUDES(mutex_);
  // Whether something waits for room.
  bool is_waiting() const { return is_waiting_.load(std::memory_order_relaxed); }
  // There was no memory for something that had to be said: the client must be let go.
  bool has_failed() const FS_EXCLUDES(mutex_);

  // While one of these lives, what its thread says rings no bell: it rings at the end.
  class QuietScope {
   public:
    explicit QuietScope(ChannelOutbox& outbox);
    ~QuietScope();
    QuietScope(const QuietScope&) = delete;
    QuietScope& operator=(const QuietScope&) = delete;

   private:
    ChannelOutbox& outbox_;
  };

 private:
  static constexpr uint64_t kNobody = UINT64_MAX;
  // Of things that wait: streams may have any number.
  static constexpr size_t kWaitingMax = size_t{4} * kChannelSlots;

  struct Place {
    uint64_t number = kNobody;
    ChannelExchange* exchange = nullptr;
  };
  // Something that found no room. Its descriptor is made already, or its outputs are here.
  struct Waiting {
    Descriptor descriptor{};
    bool is_placed = true;
    bool closes = false;  // Its number is closed when it is said.
    Nanos since = 0;
    ServableHandle servable;
    std::string id;
    std::vector<size_t> wanted;
    std::vector<ResponseOutput> outputs;
    size_t bytes = 0;
    uint64_t lent = 0;
  };

  Place* Find(uint64_t number) FS_REQUIRES(mutex_);
  bool IsOpen(uint64_t number) FS_REQUIRES(mutex_) { return Find(number) != nullptr; }
  void CloseNumber(uint64_t number, Code code) FS_REQUIRES(mutex_);
  // Of one that is open: whatever its engine still gives is not wanted.
  void CancelExchange(uint64_t number) FS_REQUIRES(mutex_);
  void Free(uint64_t offset) FS_REQUIRES(mutex_) {
    if (offset != 0) static_cast<void>(heap_.Free(offset));
  }
  // Puts it into the ring, or among what waits. What it is about is open.
  void Push(const Descriptor& descriptor) FS_REQUIRES(mutex_);
  Descriptor EndOf(uint64_t number, const Status& status) FS_REQUIRES(mutex_);
  void EndNow(uint64_t number, const Status& status) FS_REQUIRES(mutex_);
  bool HasWaiting(uint64_t number) const FS_REQUIRES(mutex_);
  Waiting& AddWaiting(Waiting waiting) FS_REQUIRES(mutex_);
  void Wait(const SaidResponse& said) FS_REQUIRES(mutex_);
  bool FlushFront(Nanos now) FS_REQUIRES(mutex_);
  void Ring() noexcept;

  ChannelHead& head_;
  const EventFd event_fd_;
  ChannelStats& stats_;

  mutable Mutex mutex_;
  DescriptorRing::Producer responses_ FS_GUARDED_BY(mutex_);
  ResponseHeap heap_ FS_GUARDED_BY(mutex_);
  std::vector<Place> places_ FS_GUARDED_BY(mutex_);
  bool is_closed_ FS_GUARDED_BY(mutex_) = false;
  bool has_failed_ FS_GUARDED_BY(mutex_) = false;
  std::deque<Waiting> waiting_ FS_GUARDED_BY(mutex_);
  std::atomic<bool> is_waiting_{false};  // Whether that has any; the session's bell carries it.
  size_t waiting_bytes_ FS_GUARDED_BY(mutex_) = 0;
  // Scratch, for the capacity.
  std::vector<ChannelCopy> copies_ FS_GUARDED_BY(mutex_);
};

}  // namespace fastserve
