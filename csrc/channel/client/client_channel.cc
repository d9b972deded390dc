#include "channel/client/client_channel.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "base/fork.h"
#include "channel/adaptive_spin.h"

namespace fastserve {
namespace {

constexpr size_t kEndTextBytesMax = 4096;

// Of the thread, because it counts how often the thread was taken off its core.
AdaptiveSpin& SpinOfThread(Nanos longest) {
  struct Spin {
    Nanos longest;
    AdaptiveSpin spin;
  };
  thread_local Spin mine{.longest = longest, .spin = AdaptiveSpin(longest)};
  if (mine.longest != longest) mine = {.longest = longest, .spin = AdaptiveSpin(longest)};
  return mine.spin;
}

// The descriptor is the server's gift: whatever it may be, these do not stop the process.
void SignalLoop(const OwnedFd& event_fd) {
  const uint64_t one = 1;
  ssize_t written = 0;
  do {
    written = write(event_fd.get(), &one, sizeof one);
  } while (written < 0 && errno == EINTR);
}

void DrainLoop(const OwnedFd& event_fd) {
  uint64_t signals = 0;
  ssize_t got = 0;
  do {
    got = read(event_fd.get(), &signals, sizeof signals);
  } while (got < 0 && errno == EINTR);
}

}  // namespace

Result<std::shared_ptr<ClientChannel>> ClientChannel::Open(std::shared_ptr<ClientSegment> segment,
                                                           OwnedFd event_fd, Nanos spin) {
  std::optional<Consumer> responses = segment->head().responses.TryTakeConsumer();
  if (!responses) {
    return Internal("the server's memory is in use by another client already");
  }
  return std::shared_ptr<ClientChannel>(
      new ClientChannel(std::move(segment), *std::move(responses), std::move(event_fd), spin));
}

ClientChannel::ClientChannel(std::shared_ptr<ClientSegment> segment, Consumer responses,
                             OwnedFd event_fd, Nanos spin)
    : segment_(std::move(segment)),
      head_(segment_->head()),
      outbox_(segment_->outbox()),
      event_fd_(std::move(event_fd)),
      spin_(spin),
      generation_(ForkGeneration()),
      responses_(std::move(responses)),
      slots_(kChannelSlots) {
  free_.reserve(kChannelSlots);
  for (uint32_t slot = kChannelSlots; slot > 0; --slot) {
    slots_[slot - 1].number = slot - 1;
    free_.push_back(slot - 1);
  }
}

Status ClientChannel::CheckProcess() const {
  if (!ForkedSince(generation_)) return {};
  return FailedPrecondition("the channel is the parent process's: connect anew after fork()");
}

Status ClientChannel::CheckOpen() const {
  FS_RETURN_IF_ERROR(CheckProcess());
  if (is_open()) return {};
  const MutexLock lock(mutex_);
  return closed_;
}

// ------------------------------------------------------------------------------------------------
// Out.

BufferRef ClientChannel::Allocate(size_t bytes) {
  BufferRef block = segment_->Allocate(bytes);
  if (block) return block;
  const MutexLock lock(mutex_);
  Pump();
  return segment_->Allocate(bytes);
}

Status ClientChannel::BeginChange(CallState& call) {
  const MutexLock lock(mutex_);
  if (call.is_under_way) return FailedPrecondition("the request is under way");
  DropArrived(call);
  return {};
}

Status ClientChannel::Send(const std::shared_ptr<CallState>& call, DescriptorKind kind,
                           Nanos deadline) {
  FS_RETURN_IF_ERROR(CheckProcess());
  const Descriptor said{.kind = kind,
                        .code = 0,
                        .request = 0,
                        .offset = segment_->OffsetOf(call->message->bytes()),
                        .bytes = call->message_bytes,
                        .deadline_ns = deadline,
                        .spare = {}};
  {
    const MutexLock lock(mutex_);
    if (call->is_under_way) return FailedPrecondition("the request is under way already");
    if (free_.empty()) Pump();
    if (!closed_.ok()) return closed_;
    if (free_.empty()) {
      return ResourceExhausted(kChannelSlots, " requests are under way, and no channel has more: ",
                               "wait for one of them, or use another channel as well");
    }
    DropArrived(*call);
    Descriptor numbered = said;
    Slot& slot = slots_[free_.back()];
    numbered.request = slot.number + kChannelSlots;
    outbox_.Push(numbered);
    free_.pop_back();
    slot.number = call->number = numbered.request;
    slot.call = call;
    call->is_under_way = true;
    call->is_cancelled = call->lacks_memory = false;
    call->end = {};
  }
  outbox_.Ring();
  return {};
}

void ClientChannel::Cancel(CallState& call) {
  if (!CheckProcess().ok()) return;
  const MutexLock lock(mutex_);
  CancelLocked(call);
}

void ClientChannel::CancelLocked(CallState& call) {
  if (!call.is_under_way || call.is_cancelled) return;
  try {
    outbox_.Push({.kind = DescriptorKind::kCancel,
                  .code = 0,
                  .request = call.number,
                  .offset = 0,
                  .bytes = 0,
                  .deadline_ns = 0,
                  .spare = {}});
  } catch (const std::bad_alloc&) {
    return;  // It ends by itself.
  }
  call.is_cancelled = true;
  outbox_.Ring();
}

void ClientChannel::Abandon(CallState& call) {
  // In a child its blocks are the parent's, and the mutex may be held for ever.
  if (!CheckProcess().ok()) return;
  const MutexLock lock(mutex_);
  StopWatching(call);
  if (call.is_ready) std::erase(ready_, &call);
  DropArrived(call);
  call.is_abandoned = true;
  CancelLocked(call);
}

// ------------------------------------------------------------------------------------------------
// In.

void ClientChannel::Pump() {
  Descriptor said;
  // No more than the ring has: a server that writes nonsense into its index may say that there are.
  for (uint32_t i = 0; i < kChannelSlots && responses_.TryPop(&said); ++i) Take(said);
}

void ClientChannel::Take(const Descriptor& said) {
  const bool is_response =
      said.kind == DescriptorKind::kResponse || said.kind == DescriptorKind::kLast;
  if (!is_response && said.kind != DescriptorKind::kEnd) {
    return CloseLocked(Internal("the server said ", static_cast<uint32_t>(said.kind),
                                ", which is nothing that a channel knows: connect again"));
  }
  Slot& slot = slots_[said.request % kChannelSlots];
  if (slot.call == nullptr || slot.number != said.request) {
    if (is_response || said.bytes > 0) GiveBack(said.offset);
    return;
  }
  CallState& call = *slot.call;
  if (is_response) {
    try {
      if (!call.is_abandoned) call.arrived.push_back({said.offset, said.bytes});
    } catch (const std::bad_alloc&) {
      call.lacks_memory = true;
    }
    if (call.is_abandoned || call.lacks_memory) GiveBack(said.offset);
  }
  if (said.kind == DescriptorKind::kResponse) return Tell(call);
  End(slot, is_response ? Status() : EndOf(said));
}

Status ClientChannel::EndOf(const Descriptor& said) const {
  std::string_view text = "the server gave no reason";
  const auto bytes = segment_->At(said.offset, said.bytes);
  if (said.bytes > 0 && bytes) {
    text = {reinterpret_cast<const char*>(bytes->data()),
            std::min(bytes->size(), kEndTextBytesMax)};
  }
  Status end;
  if (said.code > static_cast<uint32_t>(Code::kUnauthenticated)) {
    end = MakeStatus(Code::kUnknown, "error ", said.code, ": ", text);
  } else if (said.code != 0) {
    end = MakeStatus(static_cast<Code>(said.code), text);
  }
  if (said.bytes > 0) GiveBack(said.offset);
  return end;
}

void ClientChannel::End(Slot& slot, Status end) {
  const std::shared_ptr<CallState> call = std::exchange(slot.call, nullptr);
  free_.push_back(static_cast<uint32_t>(slot.number % kChannelSlots));
  call->end = call->lacks_memory && end.ok() ? Status::OutOfMemory() : std::move(end);
  call->is_under_way = false;
  Tell(*call);
  StopWatching(*call);
}

void ClientChannel::Tell(CallState& call) {
  if (call.is_watched && !call.is_ready) {
    call.is_ready = true;
    ready_.push_back(&call);
    if (!std::exchange(is_loop_told_, true)) SignalLoop(event_fd_);
  }
  if (call.is_following) call.news.Notify();
  if (&call == leader_ && leader_is_out_) {
    leader_has_news_.store(true, std::memory_order_relaxed);
    head_.client.Ring();
  }
}

void ClientChannel::GiveBack(uint64_t offset) const {
  if (segment_->layout().server_heap.Contains(offset, 1)) outbox_.Release(offset);
}

void ClientChannel::DropArrived(CallState& call) const {
  for (; call.taken < call.arrived.size(); ++call.taken) GiveBack(call.arrived[call.taken].offset);
  call.arrived.clear();
  call.taken = 0;
}

void ClientChannel::Close(const Status& why) {
  const MutexLock lock(mutex_);
  Pump();  // What the server said before it went is said.
  CloseLocked(why);
}

void ClientChannel::CloseLocked(const Status& why) {
  if (!closed_.ok()) return;
  closed_ = why;
  is_closed_.store(true, std::memory_order_relaxed);
  for (Slot& slot : slots_) {
    if (slot.call != nullptr) End(slot, why);
  }
  outbox_.Close();
  outbox_.flush_due().Signal();  // The client's thread is to know as well.
}

// ------------------------------------------------------------------------------------------------
// Whoever waits.

ClientChannel::News ClientChannel::Await(CallState& call, Nanos until) {
  const MutexLock lock(mutex_);
  if (!call.has_news() && leader_ == nullptr) Pump();
  while (!call.has_news()) {
    if (until != kNever && NowNanos() >= until) {
      Pump();  // The leader may be asleep still.
      break;
    }
    leader_ == nullptr ? Lead(call, until) : Follow(call, until);
  }
  PassOn();
  if (!call.has_news()) return {};
  if (call.taken == call.arrived.size()) {
    return {.kind = News::Kind::kOver, .response = {}, .end = call.end};
  }
  const News news{.kind = News::Kind::kResponse, .response = call.arrived[call.taken], .end = {}};
  if (++call.taken == call.arrived.size()) DropArrived(call);
  return news;
}

void ClientChannel::Lead(CallState& call, Nanos until) {
  leader_ = &call;
  leader_has_news_.store(false, std::memory_order_relaxed);
  leader_is_out_ = true;
  mutex_.Unlock();
  const bool found = SpinOfThread(spin_).Look([this] {
    return !head_.responses.was_empty() || leader_has_news_.load(std::memory_order_relaxed);
  });
  mutex_.Lock();
  leader_is_out_ = false;
  if (!found) {
    const uint32_t key = head_.client.Prepare();
    Pump();
    if (call.has_news()) {
      head_.client.Withdraw();
    } else {
      leader_is_out_ = true;
      mutex_.Unlock();
      head_.client.Wait(key, until);
      mutex_.Lock();
      leader_is_out_ = false;
    }
  }
  leader_ = nullptr;
  Pump();
}

void ClientChannel::Follow(CallState& call, Nanos until) {
  followers_.push_back(&call);
  call.is_following = true;
  const uint32_t key = call.news.Prepare();
  mutex_.Unlock();
  call.news.Wait(key, until);
  mutex_.Lock();
  call.is_following = false;
  std::erase(followers_, &call);
}

void ClientChannel::PassOn() {
  if (leader_ == nullptr && !followers_.empty()) followers_.front()->news.Notify();
}

bool ClientChannel::IsUnderWay(const CallState& call) const {
  if (!CheckProcess().ok()) return false;
  const MutexLock lock(mutex_);
  return call.is_under_way;
}

// ------------------------------------------------------------------------------------------------
// An event loop.

bool ClientChannel::Watch(CallState& call, uint64_t tag) {
  if (!CheckProcess().ok()) return true;  // Next says why.
  const MutexLock lock(mutex_);
  // Room for each that may become ready, so that telling needs no memory.
  const size_t most = ready_.size() + watched_ + 1;
  if (most > ready_.capacity()) ready_.reserve(2 * most);
  call.tag = tag;
  if (call.is_under_way && !call.is_watched) {
    call.is_watched = true;
    if (watched_++ == 0) head_.client.Watch();
  }
  // Of what this returns the loop need not be told as well.
  const bool was_ready = std::exchange(call.is_ready, true);
  Pump();
  const bool has_news = call.has_news();
  call.is_ready = was_ready && !has_news;
  if (was_ready && has_news) std::erase(ready_, &call);
  return has_news;
}

void ClientChannel::StopWatching(CallState& call) {
  if (!std::exchange(call.is_watched, false)) return;
  if (--watched_ == 0) head_.client.Unwatch();
}

std::vector<uint64_t> ClientChannel::TakeReady() {
  if (!CheckProcess().ok()) return {};
  DrainLoop(event_fd_);
  const MutexLock lock(mutex_);
  is_loop_told_ = true;  // What comes now it takes with it.
  Pump();
  is_loop_told_ = false;
  std::vector<uint64_t> tags;
  tags.reserve(ready_.size());
  for (CallState* call : ready_) {
    call->is_ready = false;
    tags.push_back(call->tag);
  }
  ready_.clear();
  return tags;
}

}  // namespace fastserve
