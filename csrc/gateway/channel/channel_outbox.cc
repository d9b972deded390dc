#include "gateway/channel/channel_outbox.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace fastserve {
namespace {

// Larger ones are copied while others may speak.
constexpr size_t kCopiedUnderMutexMax = size_t{16} << 10;

// Of which this thread is to ring the bell later.
thread_local ChannelOutbox* quiet = nullptr;
thread_local bool has_spoken = false;

size_t BytesOfOutputs(std::span<const ResponseOutput> outputs) {
  size_t bytes = 0;
  for (const ResponseOutput& output : outputs) bytes += output.tensor.bytes.size();
  return bytes;
}

void AddOnce(const ServableHandle& servable, std::vector<ServableHandle>* all) {
  if (servable && std::ranges::find(*all, servable) == all->end()) all->push_back(servable);
}

}  // namespace

ChannelOutbox::QuietScope::QuietScope(ChannelOutbox& outbox) : outbox_(outbox) {
  quiet = &outbox;
  has_spoken = false;
}

ChannelOutbox::QuietScope::~QuietScope() {
  quiet = nullptr;
  if (has_spoken) outbox_.Ring();
}

ChannelOutbox::ChannelOutbox(std::span<std::byte> segment, ChannelHead& head, EventFd event_fd,
                             ChannelStats& stats)
    : head_(head),
      event_fd_(std::move(event_fd)),
      stats_(stats),
      responses_(head.responses.TakeProducer()),
      heap_(segment),
      places_(kChannelSlots) {}

// ------------------------------------------------------------------------------------------------
// What is open.

ChannelOutbox::Place* ChannelOutbox::Find(uint64_t number) {
  Place& place = places_[number % kChannelSlots];
  return place.number == number && number != kNobody ? &place : nullptr;
}

bool ChannelOutbox::Open(uint64_t number) {
  const MutexLock lock(mutex_);
  Place& place = places_[number % kChannelSlots];
  if (place.number != kNobody || number == kNobody || is_closed_) return false;
  place.number = number;
  stats_.in_flight.fetch_add(1, std::memory_order_relaxed);
  stats_.requests.Add();
  return true;
}

void ChannelOutbox::Attach(uint64_t number, ChannelExchange* exchange) {
  const MutexLock lock(mutex_);
  if (Place* const place = Find(number)) place->exchange = exchange;
}

void ChannelOutbox::CloseNumber(uint64_t number, Code code) {
  Place* const place = Find(number);
  *place = {};
  stats_.in_flight.fetch_sub(1, std::memory_order_relaxed);
  stats_.ends[static_cast<size_t>(code)].Add();
}

void ChannelOutbox::CancelExchange(uint64_t number) {
  ChannelExchange* const exchange = Find(number)->exchange;
  if (exchange != nullptr) exchange->request.cancelled.store(true, std::memory_order_relaxed);
}

bool ChannelOutbox::has_failed() const {
  const MutexLock lock(mutex_);
  return has_failed_;
}

ServableHandle ChannelOutbox::Cancel(uint64_t number) {
  ServableHandle servable;
  {
    const MutexLock lock(mutex_);
    const Place* const place = Find(number);
    if (place == nullptr) return nullptr;
    if (place->exchange != nullptr) {
      place->exchange->request.cancelled.store(true, std::memory_order_relaxed);
      servable = place->exchange->servable;
    }
    EndNow(number, MakeStatus(Code::kCancelled, "the client has cancelled the request"));
  }
  Ring();
  return servable;
}

std::vector<ServableHandle> ChannelOutbox::ServablesOfLate(Nanos now) {
  std::vector<ServableHandle> servables;
  const MutexLock lock(mutex_);
  for (const Place& place : places_) {
    if (place.exchange == nullptr || place.exchange->request.deadline_ns >= now) continue;
    AddOnce(place.exchange->servable, &servables);
  }
  return servables;
}

Nanos ChannelOutbox::EndLate(Nanos now) {
  Nanos earliest = kNever;
  bool any = false;
  {
    const MutexLock lock(mutex_);
    for (Place& place : places_) {
      if (place.exchange == nullptr) continue;
      const Nanos deadline = place.exchange->request.deadline_ns;
      if (deadline >= now) {
        earliest = std::min(earliest, deadline);
        continue;
      }
      place.exchange->request.cancelled.store(true, std::memory_order_relaxed);
      const std::string& model = place.exchange->servable->name();
      any = true;
      EndNow(place.number,
             MakeStatus(Code::kDeadlineExceeded, "model '", model,
                        "' was still at work on the request when its deadline passed"));
    }
  }
  if (any) Ring();
  return earliest;
}

std::vector<ServableHandle> ChannelOutbox::Close() {
  std::vector<ServableHandle> servables;
  std::deque<Waiting> dropped;  // Outside of the mutex: outputs may be anybody's.
  const MutexLock lock(mutex_);
  is_closed_ = true;
  for (const Place& place : places_) {
    if (place.number == kNobody) continue;
    if (place.exchange != nullptr) {
      place.exchange->request.cancelled.store(true, std::memory_order_relaxed);
      AddOnce(place.exchange->servable, &servables);
    }
    CloseNumber(place.number, Code::kCancelled);
  }
  dropped.swap(waiting_);
  waiting_bytes_ = 0;
  return servables;
}

// ------------------------------------------------------------------------------------------------
// The heap.

bool ChannelOutbox::Release(uint64_t offset) {
  const MutexLock lock(mutex_);
  return heap_.Free(offset);
}

uint64_t ChannelOutbox::Lend(const ChannelExchange& exchange, std::vector<OutputPlace>* places) {
  const MutexLock lock(mutex_);
  // What waits has been there before.
  if (!waiting_.empty()) return 0;
  return heap_.Lend(*exchange.servable, exchange.message.id, exchange.wanted, exchange.request.rows,
                    places);
}

void ChannelOutbox::TakeBack(uint64_t lent) {
  if (lent == 0) return;
  const MutexLock lock(mutex_);
  Free(lent);
}

// ------------------------------------------------------------------------------------------------
// What is said.

void ChannelOutbox::Ring() noexcept {
  if (quiet == this) {
    has_spoken = true;
  } else if (head_.client.Ring()) {
    event_fd_.Signal();
  }
}

void ChannelOutbox::Push(const Descriptor& descriptor) {
  if (descriptor.kind != DescriptorKind::kEnd) stats_.responses.Add();
  if (descriptor.kind != DescriptorKind::kResponse) {
    CloseNumber(descriptor.request, static_cast<Code>(descriptor.code));
  }
  // What waits for room in the heap may be overtaken; what waits for the ring may not.
  const bool is_ring_full = std::ranges::any_of(waiting_, &Waiting::is_placed);
  if (!is_ring_full && responses_.TryPush(descriptor)) return;
  AddWaiting({}).descriptor = descriptor;
}

ChannelOutbox::Waiting& ChannelOutbox::AddWaiting(Waiting waiting) {
  waiting_.push_back(std::move(waiting));
  is_waiting_.store(true, std::memory_order_relaxed);
  // Whoever says this may be an engine's thread, while the session sleeps.
  static_cast<void>(head_.server.Ring());
  return waiting_.back();
}

Descriptor ChannelOutbox::EndOf(uint64_t number, const Status& status) {
  Descriptor end{};
  end.kind = DescriptorKind::kEnd;
  end.code = static_cast<uint32_t>(status.code());
  end.request = number;
  heap_.PlaceText(status.message(), &end);
  return end;
}

void ChannelOutbox::EndNow(uint64_t number, const Status& status) { Push(EndOf(number, status)); }

void ChannelOutbox::SayEnd(uint64_t number, const Status& status) noexcept {
  try {
    const MutexLock lock(mutex_);
    Place* const place = Find(number);
    if (place == nullptr) return;
    place->exchange = nullptr;
    if (HasWaiting(number)) {
      Waiting& waiting = AddWaiting({});
      waiting.descriptor = EndOf(number, status);
      waiting.closes = true;
    } else {
      EndNow(number, status);
    }
  } catch (const std::bad_alloc&) {
    const MutexLock lock(mutex_);
    has_failed_ = true;
  }
  Ring();
}

bool ChannelOutbox::HasWaiting(uint64_t number) const {
  return std::ranges::any_of(waiting_, [&](const Waiting& waiting) {
    return waiting.descriptor.request == number && !waiting.is_placed;
  });
}

void ChannelOutbox::SayDescription(uint64_t number, const ChannelMessage& message) {
  {
    const MutexLock lock(mutex_);
    if (!IsOpen(number)) return;
    Descriptor descriptor{};
    descriptor.kind = DescriptorKind::kLast;
    descriptor.request = number;
    if (heap_.PlaceMessage(message, &descriptor)) {
      Push(descriptor);
    } else {
      EndNow(number, ResourceExhausted("no room for the description: release responses first"));
    }
  }
  Ring();
}

void ChannelOutbox::SayResponse(const SaidResponse& said) {
  Descriptor descriptor{};
  descriptor.kind = said.last ? DescriptorKind::kLast : DescriptorKind::kResponse;
  descriptor.request = said.number;
  std::vector<ChannelCopy> copies;
  {
    const MutexLock lock(mutex_);
    if (!IsOpen(said.number)) return Free(said.lent);
    const bool may_overtake = waiting_.empty() || said.lent != 0;
    if (!may_overtake || !heap_.PlaceResponse(said, &descriptor, &copies_)) {
      Wait(said);
    } else if (BytesOf(copies_) <= kCopiedUnderMutexMax) {
      Make(copies_);
      if (descriptor.offset != said.lent) Free(said.lent);
      Push(descriptor);
    } else {
      copies.swap(copies_);
    }
  }
  if (!copies.empty()) {
    Make(copies);
    const MutexLock lock(mutex_);
    copies_.swap(copies);
    Free(said.lent);
    if (IsOpen(said.number)) {
      Push(descriptor);
    } else {
      Free(descriptor.offset);
    }
  }
  Ring();
}

// ------------------------------------------------------------------------------------------------
// What waits.

void ChannelOutbox::Wait(const SaidResponse& said) {
  const size_t bytes = BytesOfOutputs(said.outputs);
  Status refusal;
  if (!heap_.CouldHold(bytes)) {
    refusal =
        ResourceExhausted("the response has ", bytes, " bytes, too many for the ", heap_.bytes(),
                          " that the shared segment has for responses; "
                          "connect with a larger segment");
  } else if (waiting_bytes_ + bytes > heap_.bytes() || waiting_.size() >= kWaitingMax) {
    refusal = ResourceExhausted("no room for a response of ", bytes,
                                " bytes: ", heap_.bytes_in_use(), " of ", heap_.bytes(),
                                " bytes are held by responses that were not released, and ",
                                waiting_bytes_, " wait");
  }
  if (!refusal.ok()) {
    Free(said.lent);
    CancelExchange(said.number);
    return EndNow(said.number, refusal);
  }
  Waiting waiting;
  waiting.descriptor.kind = said.last ? DescriptorKind::kLast : DescriptorKind::kResponse;
  waiting.descriptor.request = said.number;
  waiting.is_placed = false;
  waiting.since = NowNanos();
  waiting.servable = said.servable;
  waiting.id = said.id;
  waiting.wanted.assign(said.wanted.begin(), said.wanted.end());
  for (ResponseOutput& output : said.outputs) waiting.outputs.push_back(std::move(output));
  waiting.bytes = bytes;
  waiting.lent = said.lent;
  AddWaiting(std::move(waiting));
  waiting_bytes_ += bytes;
  if (said.last) Find(said.number)->exchange = nullptr;
}

bool ChannelOutbox::FlushFront(Nanos now) {
  Waiting& front = waiting_.front();
  Descriptor& descriptor = front.descriptor;
  if (front.closes) {
    if (!IsOpen(descriptor.request)) {
      Free(descriptor.offset);
      return true;
    }
    CloseNumber(descriptor.request, static_cast<Code>(descriptor.code));
    front.closes = false;
  }
  if (front.is_placed) return responses_.TryPush(descriptor);
  // Its request may have ended meanwhile.
  if (!IsOpen(descriptor.request)) {
    Free(front.lent);
    return true;
  }
  const SaidResponse said{.number = descriptor.request,
                          .last = descriptor.kind == DescriptorKind::kLast,
                          .servable = front.servable,
                          .id = front.id,
                          .wanted = front.wanted,
                          .outputs = front.outputs,
                          .lent = front.lent};
  if (heap_.PlaceResponse(said, &descriptor, &copies_)) {
    Make(copies_);
    if (descriptor.offset != front.lent) Free(front.lent);
  } else if (now - front.since < kPatience) {
    return false;
  } else {
    Free(front.lent);
    CancelExchange(descriptor.request);
    descriptor = EndOf(descriptor.request,
                       ResourceExhausted("no room for a response of ", front.bytes, " bytes for ",
                                         kPatience / kSecond, " s: release responses sooner"));
  }
  front.is_placed = true;
  front.lent = 0;
  waiting_bytes_ -= std::exchange(front.bytes, 0);
  if (descriptor.kind != DescriptorKind::kEnd) stats_.responses.Add();
  if (descriptor.kind != DescriptorKind::kResponse) {
    CloseNumber(descriptor.request, static_cast<Code>(descriptor.code));
  }
  return responses_.TryPush(descriptor);
}

void ChannelOutbox::Flush(Nanos now) {
  bool any = false;
  {
    const MutexLock lock(mutex_);
    while (!waiting_.empty() && FlushFront(now)) {
      waiting_bytes_ -= waiting_.front().bytes;
      waiting_.pop_front();
      any = true;
    }
    is_waiting_.store(!waiting_.empty(), std::memory_order_relaxed);
  }
  if (any) Ring();
}

}  // namespace fastserve
