#include "gateway/gateway.h"

#include <algorithm>
#include <functional>
#include <new>
#include <optional>
#include <utility>

namespace fastserve {
namespace {

// More than are under way at once at 64 connections a few times over; beyond it memory is given
// back.
constexpr size_t kIdleExchangesMax = 1024;

// Capacities of slabs are up to twice what is in them, and answers take memory too: the pool's own
// limit is the last resort, Admission's is what clients meet.
SlabPool::Options PoolOptions(const GatewayOptions& options) {
  SlabPool::Options pool;
  pool.bytes_max = 4 * options.in_flight_bytes_max;
  return pool;
}

}  // namespace

Result<std::unique_ptr<Gateway>> Gateway::Create(std::shared_ptr<ServingMap> serving_map,
                                                 GatewayHost& host, const GatewayOptions& options) {
  Result<std::shared_ptr<CompletionQueue>> completions = CompletionQueue::Create();
  if (!completions.ok()) return completions.status();
  // From a pool of its own: it is none of the requests' memory, and may outlive the gateway.
  BufferRef shared =
      SlabPool::Create({.bytes_max = kSharedBufferBytes})->Acquire(kSharedBufferBytes);
  if (!shared) return Unavailable("no memory for the buffer of ", kSharedBufferBytes, " bytes");
  return std::unique_ptr<Gateway>(new Gateway(std::move(serving_map), host, options,
                                              *std::move(completions), std::move(shared)));
}

Gateway::Gateway(std::shared_ptr<ServingMap> serving_map, GatewayHost& host,
                 const GatewayOptions& options, std::shared_ptr<CompletionQueue> completions,
                 BufferRef shared_buffer)
    : options_(options),
      host_(host),
      serving_map_(std::move(serving_map)),
      serving_(*serving_map_),
      admission_(std::make_shared<Admission>(
          Admission::Options{.body_bytes_max = options.body_bytes_max,
                             .in_flight_bytes_max = options.in_flight_bytes_max})),
      pool_(SlabPool::Create(PoolOptions(options))),
      completions_(std::move(completions)),
      codec_(options.regions.get()),
      access_log_(options.access_log, stats_.access_records_dropped),
      trace_log_(true, stats_.trace_records_dropped),
      cors_(options.cors_origins),
      clients_(options.connections_per_client_max),
      shared_buffer_(std::move(shared_buffer)) {
  idle_exchanges_.reserve(kIdleExchangesMax);  // So that Recycle needs no memory.
}

Gateway::~Gateway() {
  FS_CHECK_OP(connections_.size(), ==, size_t{0});
  // What was submitted and not yet run is cancelled, but somebody must look at it, or it and its
  // servable hold each other for ever.
  for (const Touched& touched : touched_) touched.servable->Wake();
  touched_.clear();
  for (Exchange* exchange = completions_->Drain(false); exchange != nullptr;) {
    Exchange* const drained = std::exchange(exchange, CompletionQueue::Next(exchange));
    // One that goes on comes back to the queue, which it keeps alive.
    if (!drained->streams || drained->streamed.Take(&drained->ready)) delete drained;
  }
}

Exchange* Gateway::NewExchange() {
  if (idle_exchanges_.empty()) return new Exchange(completions_, admission_, pool_);
  Exchange* const exchange = idle_exchanges_.back().release();
  idle_exchanges_.pop_back();
  return exchange;
}

void Gateway::Recycle(Exchange* exchange) noexcept {
  std::unique_ptr<Exchange> owned(exchange);
  deadlines_.Remove(exchange);
  if (idle_exchanges_.size() == kIdleExchangesMax) return;
  exchange->Clear(completions_);
  idle_exchanges_.push_back(std::move(owned));
}

Gateway::Touched& Gateway::Touch(const ServableHandle& servable) {
  const auto found = std::ranges::find(touched_, servable, &Touched::servable);
  return found != touched_.end() ? *found : touched_.emplace_back(Touched{servable});
}

void Gateway::Submit(Exchange* exchange, Nanos now) {
  InferenceRequest& request = exchange->request;
  request.submitted_ns = now;
  // All that may fail for lack of memory comes before the scheduler has it.
  Touch(exchange->servable).has_new = true;
  if (request.deadline_ns != kNever) {
    deadlines_.Add(exchange, request.deadline_ns);
    WakeAt(request.deadline_ns + 1, now);
  }
  const bool is_scheduled = ScheduleIteration();
  exchange->is_submitted = true;
  {
    // A full queue ends it at once; an iteration would look at that without a signal.
    std::optional<CompletionQueue::LoopScope> scope;
    if (is_scheduled) scope.emplace(*completions_);
    exchange->servable->Submit(RequestPtr(&request));
  }
  if (!is_scheduled) RunElsewhere();
}

void Gateway::Abandon(Exchange* exchange) noexcept {
  deadlines_.Remove(exchange);
  exchange->owner = nullptr;
  exchange->request.cancelled.store(true, std::memory_order_relaxed);
  exchange->servable->NoteCancelled();
  ++abandoned_;
  try {
    Touch(exchange->servable).has_abandoned = true;
  } catch (const std::bad_alloc&) {
    exchange->servable->Sweep();
    return;
  }
  if (!ScheduleIteration()) RunElsewhere();
}

bool Gateway::ScheduleIteration() noexcept {
  if (std::exchange(iteration_is_scheduled_, true)) return true;
  if (host_.ScheduleIteration()) return true;
  iteration_is_scheduled_ = false;
  return false;
}

void Gateway::RunElsewhere() noexcept {
  for (const Touched& touched : touched_) {
    if (touched.has_abandoned) touched.servable->Sweep();
    if (touched.has_new) touched.servable->Wake();
  }
  touched_.clear();
}

void Gateway::WakeAt(Nanos at, Nanos now) {
  at = std::min(at, now + kWakeUpMax);
  if (at < wake_up_ns_ && host_.ScheduleWakeUp(at)) wake_up_ns_ = at;
}

void Gateway::Record(const Exchange* exchange, AccessRecord record) {
  if (exchange != nullptr && exchange->is_traced) trace_log_.Add(record);
  if (access_log_.enabled()) access_log_.Add(std::move(record));
}

std::string_view Gateway::DateAt(Nanos now) {
  if (now >= date_until_ns_) {
    timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    date_ = FormatHttpDate(time.tv_sec);
    date_until_ns_ = now + kSecond - time.tv_nsec;
  }
  return {date_.data(), date_.size()};
}

void Gateway::RunModels() {
  iteration_is_scheduled_ = false;
  const CompletionQueue::LoopScope scope(*completions_);
  Nanos budget = kIterationBudget;
  for (const Touched& touched : touched_) {
    if (touched.has_abandoned) touched.servable->Sweep();
    if (touched.has_new) budget -= std::min(budget, touched.servable->RunHere(budget));
  }
  touched_.clear();
}

void Gateway::FlushSoon(Http2Connection* connection) noexcept {
  dirty_.push_back(connection);  // Connections reserved the room.
  if (flush_scopes_ == 0) static_cast<void>(ScheduleIteration());
}

void Gateway::FlushDirty() noexcept {
  while (!dirty_.empty()) {
    Http2Connection* const connection = dirty_.back();
    dirty_.pop_back();
    connection->is_dirty_ = false;
    connection->Flush();
  }
}

void Gateway::Drain(bool signalled) {
  const FlushScope scope(*this);
  Exchange* exchange = completions_->Drain(signalled);
  if (exchange == nullptr) return;
  const Nanos now = NowNanos();
  while (exchange != nullptr) {
    Exchange* const next = CompletionQueue::Next(exchange);
    Finish(exchange, now);
    exchange = next;
  }
}

void Gateway::Finish(Exchange* exchange, Nanos now) {
  if (exchange->streams && !exchange->streamed.Take(&exchange->ready)) {
    if (exchange->owner != nullptr) return exchange->owner->AnswerPart(*exchange, now);
    exchange->ready.clear();
    return;  // It comes back.
  }
  exchange->is_submitted = false;
  deadlines_.Remove(exchange);  // Its owner may keep it for a while.
  if (exchange->owner != nullptr) return exchange->owner->AnswerInference(*exchange, now);
  --in_flight_;  // Nobody waits for it; the scheduler has counted it.
  --abandoned_;
  Recycle(exchange);
}

void Gateway::WakeUp(Nanos now) {
  const FlushScope scope(*this);
  wake_up_ns_ = kNever;
  // The scheduler ends those that wait. What it does not end is running.
  SweepServablesOfTheLate(now);
  Drain(/*signalled=*/false);
  for (size_t i = 0; i < deadlines_.size();) {
    const DeadlineList::Entry entry = deadlines_[i];
    if (entry.deadline_ns < now) {
      entry.exchange->owner->AnswerLate(*entry.exchange, now);
    } else {
      ++i;
    }
  }
  const Nanos earliest = deadlines_.Earliest();
  if (earliest != kNever) WakeAt(earliest + 1, now);
  if (is_draining_) Sweep(now);
}

void Gateway::SweepServablesOfTheLate(Nanos now) {
  const CompletionQueue::LoopScope scope(*completions_);
  const Servable* swept = nullptr;  // Most are of one model: it is swept once.
  for (size_t i = 0; i < deadlines_.size(); ++i) {
    Servable* const servable = deadlines_[i].exchange->servable.get();
    if (deadlines_[i].deadline_ns >= now || servable == swept) continue;
    servable->Sweep();
    swept = servable;
  }
}

size_t Gateway::Sweep(Nanos now) {
  const FlushScope scope(*this);
  Nanos earliest = kNever;
  const uint64_t changes = serving_map_->changes();
  const bool has_changed = changes != std::exchange(changes_seen_, changes);
  connections_.ForEach([&](Connection& connection) {
    if (has_changed) connection.FindServableAgain();
    connection.CheckDeadline(now);
    earliest = std::min(earliest, connection.deadline_ns());
  });
  // While it drains it is in a hurry; else whoever calls this comes again in time.
  if (is_draining_ && earliest != kNever) WakeAt(earliest, now);
  return connections_.size();
}

void Gateway::BeginDrain(Nanos now) {
  const FlushScope scope(*this);
  is_draining_ = true;
  connections_.ForEach([now](Connection& connection) { connection.BeginDrain(now); });
  Sweep(now);
}

DebugSnapshot Gateway::Debug(size_t limit, Nanos now) const {
  DebugSnapshot snapshot;
  snapshot.abandoned = abandoned_;
  std::vector<InFlightRequest>& oldest = snapshot.in_flight;
  connections_.ForEach([&](const Connection& connection) {
    ++snapshot.connections_by_state[connection.state_number()];
    connection.DescribeTo(now, &oldest);
  });
  limit = std::min(limit, oldest.size());
  const auto middle = oldest.begin() + static_cast<std::ptrdiff_t>(limit);
  std::ranges::partial_sort(oldest, middle, std::greater{}, &InFlightRequest::age);
  oldest.resize(limit);
  return snapshot;
}

}  // namespace fastserve
