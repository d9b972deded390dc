#include "gateway/channel/channel_session.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/thread.h"

namespace fastserve {
namespace {

// Taken from the ring before models run: a burst becomes a batch, and nobody waits for long.
constexpr int kTakenAtOnceMax = 256;
// Of the thread's time that goes to models before it looks at the ring again.
constexpr Nanos kIterationBudget = 1 * kMillisecond;
// It looks around so often although nobody rang: a client can tamper with its bell.
constexpr Nanos kSleepMax = 1 * kSecond;
constexpr size_t kIdleExchangesMax = kChannelSlots;
// What exchanges keep of their messages.
constexpr size_t kKeptTextBytes = size_t{16} << 10;

// The whole segment, for as long as anybody refers to it.
class SegmentBuffer final : public Buffer {
 public:
  explicit SegmentBuffer(SealedSegment segment)
      : Buffer(segment.bytes().data(), segment.bytes().size(),
               [](Buffer* buffer) { delete static_cast<SegmentBuffer*>(buffer); }),
        segment_(std::move(segment)) {}

 private:
  const SealedSegment segment_;
};

}  // namespace

// ------------------------------------------------------------------------------------------------
// Life.

Result<std::shared_ptr<ChannelSession>> ChannelSession::Create(
    std::shared_ptr<ChannelShared> shared, size_t segment_bytes) {
  Result<SealedSegment> segment = SealedSegment::Create(segment_bytes);
  if (!segment.ok()) return segment.status();
  Result<EventFd> event_fd = EventFd::Create();
  if (!event_fd.ok()) return event_fd.status();
  const int fd = segment->fd();
  auto* const head = new (segment->bytes().data()) ChannelHead;
  BufferRef buffer = BufferRef::Adopt(new SegmentBuffer(*std::move(segment)));
  return std::shared_ptr<ChannelSession>(
      new ChannelSession(std::move(shared), std::move(buffer), fd, head, *std::move(event_fd)));
}

ChannelSession::ChannelSession(std::shared_ptr<ChannelShared> shared, BufferRef segment,
                               int segment_fd, ChannelHead* head, EventFd event_fd)
    : shared_(std::move(shared)),
      segment_(std::move(segment)),
      segment_fd_(segment_fd),
      bytes_(segment_->bytes()),
      layout_(ChannelLayout::For(bytes_.size())),
      head_(*head),
      requests_(head->requests.TakeConsumer()),
      event_fd_(event_fd.fd()),
      outbox_(bytes_, *head, std::move(event_fd), *shared_->stats),
      serving_(*shared_->serving_map),
      spin_(shared_->spin) {
  idle_.reserve(kIdleExchangesMax);  // So that Recycle needs no memory.
  shared_->stats->segment_bytes.fetch_add(bytes_.size(), std::memory_order_relaxed);
}

ChannelSession::~ChannelSession() {
  shared_->stats->segment_bytes.fetch_sub(bytes_.size(), std::memory_order_relaxed);
}

Status ChannelSession::Start() {
  const auto main = [](void* self) -> void* {
    static_cast<ChannelSession*>(self)->Run();
    return nullptr;
  };
  if (const int error = StartThread(&thread_, main, this); error != 0) {
    return ResourceExhausted("channel: no thread for another client: error ", error);
  }
  is_running_ = true;
  return {};
}

void ChannelSession::Stop() {
  // Relaxed: the bell's ring carries it, and kSleepMax bounds what a client can do about that.
  is_stopping_.store(true, std::memory_order_relaxed);
  static_cast<void>(head_.server.Ring());
}

void ChannelSession::Join() {
  if (std::exchange(is_running_, false)) pthread_join(thread_, nullptr);
}

void ChannelSession::Run() {
  pthread_setname_np(pthread_self(), "fs-shm-client");
  try {
    while (!is_stopping_.load(std::memory_order_relaxed) && Serve()) WaitForMore();
  } catch (const std::bad_alloc&) {
    // What had to be said cannot be: the client is let go, and told by that.
    shared_->stats->violations.Add();
  }
  End();
}

bool ChannelSession::Serve() {
  int taken = 0;
  do {
    taken = TakeDescriptors();
    if (taken < 0 || outbox_.has_failed()) {
      shared_->stats->violations.Add();
      return false;
    }
    RunModels();
    if (outbox_.is_waiting()) outbox_.Flush(NowNanos());
    if (earliest_deadline_ns_ != kNever) EndLate(NowNanos());
  } while (taken > 0 && !is_stopping_.load(std::memory_order_relaxed));
  return true;
}

void ChannelSession::WaitForMore() {
  const auto has_more = [this] {
    return !head_.requests.was_empty() || is_stopping_.load(std::memory_order_relaxed);
  };
  if (spin_.Look(has_more)) return;
  const uint32_t key = head_.server.Prepare();
  if (has_more()) return head_.server.Withdraw();
  const Nanos now = NowNanos();
  Nanos until = now + (outbox_.is_waiting() ? ChannelOutbox::kLookForRoomEvery : kSleepMax);
  if (earliest_deadline_ns_ != kNever) until = std::min(until, earliest_deadline_ns_ + 1);
  head_.server.Wait(key, until);
}

void ChannelSession::End() {
  // What waits is swept out; what runs comes back to a hull.
  for (const ServableHandle& servable : outbox_.Close()) {
    servable->NoteCancelled();
    servable->Sweep();
    servable->Wake();
  }
  touched_.clear();
  has_ended_.store(true, std::memory_order_relaxed);
  shared_->ended->Signal();
}

// ------------------------------------------------------------------------------------------------
// What the client says.

int ChannelSession::TakeDescriptors() {
  const ChannelOutbox::QuietScope scope(outbox_);
  int taken = 0;
  Descriptor descriptor;
  while (taken < kTakenAtOnceMax && requests_.TryPop(&descriptor)) {
    ++taken;
    if (!Take(descriptor)) return -1;
  }
  return taken;
}

bool ChannelSession::Take(const Descriptor& descriptor) {
  switch (descriptor.kind) {
    case DescriptorKind::kInfer:
    case DescriptorKind::kStream:
      if (!outbox_.Open(descriptor.request)) return false;
      Infer(descriptor);
      return true;
    case DescriptorKind::kDescribe:
      if (!outbox_.Open(descriptor.request)) return false;
      Describe(descriptor);
      return true;
    case DescriptorKind::kCancel:
      // It may have ended meanwhile.
      if (const ServableHandle servable = outbox_.Cancel(descriptor.request)) {
        servable->NoteCancelled();
        servable->Sweep();
      }
      return true;
    case DescriptorKind::kRelease:
      return outbox_.Release(descriptor.offset);
    default:
      return false;
  }
}

void ChannelSession::LendPlaces(ChannelExchange* exchange) {
  if (exchange->streams || !exchange->servable->backend()->takes_places()) return;
  std::vector<OutputPlace>& places = exchange->request.places;
  exchange->lent = outbox_.Lend(*exchange, &places);
  for (OutputPlace& place : places) {
    if (!place.bytes.empty()) place.owner = segment_;
  }
}

void ChannelSession::Infer(const Descriptor& descriptor) {
  std::unique_ptr<ChannelExchange> exchange;
  Status status;
  try {
    exchange = NewExchange();
    exchange->number = descriptor.request;
    exchange->streams = descriptor.kind == DescriptorKind::kStream;
    exchange->received_ns = NowNanos();
    status = Prepare(descriptor, exchange.get());
    if (status.ok() && std::ranges::find(touched_, exchange->servable) == touched_.end()) {
      touched_.push_back(exchange->servable);
    }
    if (status.ok()) LendPlaces(exchange.get());
  } catch (const std::bad_alloc&) {
    status = Status::OutOfMemory();
  }
  inputs_.clear();
  if (!status.ok()) {
    if (exchange) outbox_.TakeBack(exchange->lent);
    if (exchange && exchange->servable) {
      exchange->servable->stats().CountFailure(FailureReason::kInvalid);
    }
    outbox_.SayEnd(descriptor.request, status);
    if (exchange) Recycle(std::move(exchange));
    return;
  }
  InferenceRequest& request = exchange->request;
  request.submitted_ns = exchange->received_ns;
  request.deadline_ns = descriptor.deadline_ns;
  earliest_deadline_ns_ = std::min(earliest_deadline_ns_, request.deadline_ns);
  exchange->owner = shared_from_this();
  outbox_.Attach(descriptor.request, exchange.get());
  Servable& servable = *exchange->servable;
  [[maybe_unused]] ChannelExchange* const returned = exchange.release();  // Through TakeEnd.
  servable.Submit(RequestPtr(&request));
}

// ------------------------------------------------------------------------------------------------
// Engines.

void ChannelSession::RunModels() {
  const ChannelOutbox::QuietScope scope(outbox_);
  Nanos budget = kIterationBudget;
  for (const ServableHandle& servable : touched_) {
    budget -= std::min(budget, servable->RunHere(budget));
  }
  touched_.clear();
}

void ChannelSession::EndLate(Nanos now) {
  if (now <= earliest_deadline_ns_) return;
  // The scheduler ends those that wait, with what it knows. What it does not end is running.
  for (const ServableHandle& servable : outbox_.ServablesOfLate(now)) servable->Sweep();
  earliest_deadline_ns_ = outbox_.EndLate(now);
}

void ChannelSession::TakeResponse(ChannelExchange& exchange, std::span<ResponseOutput> outputs) {
  outbox_.SayResponse({.number = exchange.number,
                       .last = false,
                       .servable = exchange.servable,
                       .id = exchange.message.id,
                       .wanted = exchange.wanted,
                       .outputs = outputs});
}

void ChannelSession::TakeEnd(ChannelExchange& exchange, Status end) {
  std::unique_ptr<ChannelExchange> owned(&exchange);
  try {
    if (end.ok() && !exchange.streams) {
      outbox_.SayResponse({.number = exchange.number,
                           .last = true,
                           .servable = exchange.servable,
                           .id = exchange.message.id,
                           .wanted = exchange.wanted,
                           .outputs = exchange.outputs,
                           .lent = exchange.lent});
      exchange.lent = 0;
    } else {
      outbox_.SayEnd(exchange.number, end);
    }
  } catch (const std::bad_alloc&) {
    outbox_.SayEnd(exchange.number, Status::OutOfMemory());
  }
  outbox_.TakeBack(exchange.lent);
  if (end.ok() && exchange.responses > 0) {
    ServableStats& stats = exchange.servable->stats();
    const Nanos now = NowNanos();
    stats.receive.Record(0);
    stats.send.Record(now - exchange.request.computed_ns);
    stats.request.Record(now - exchange.received_ns);
  }
  Recycle(std::move(owned));
}

std::unique_ptr<ChannelExchange> ChannelSession::NewExchange() {
  {
    const MutexLock lock(idle_mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<ChannelExchange> exchange = std::move(idle_.back());
      idle_.pop_back();
      return exchange;
    }
  }
  return std::make_unique<ChannelExchange>(shared_->pool);
}

void ChannelSession::Recycle(std::unique_ptr<ChannelExchange> exchange) noexcept {
  exchange->Clear();
  if (exchange->text.capacity() > kKeptTextBytes) exchange->text = {};
  const MutexLock lock(idle_mutex_);
  if (idle_.size() < idle_.capacity()) idle_.push_back(std::move(exchange));
}

}  // namespace fastserve
