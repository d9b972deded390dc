#include "gateway/gateway.h"

#include <algorithm>
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
  Exchange::ReleaseOrphans();
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
      access_log_(options.access_log, stats_),
      shared_buffer_(std::move(shared_buffer)) {}

Gateway::~Gateway() {
  FS_CHECK_OP(connections_.size(), ==, size_t{0});
  // What was submitted and not yet run is cancelled, but somebody must look at it, or it and its
  // servable hold each other for ever.
  for (const ServableHandle& servable : submitted_) servable->Wake();
  submitted_.clear();
  for (Exchange* exchange = completions_->Drain(false); exchange != nullptr;) {
    delete std::exchange(exchange, CompletionQueue::Next(exchange));
  }
  Exchange::ReleaseOrphans();
}

Exchange* Gateway::NewExchange() {
  if (idle_exchanges_.empty()) return new Exchange(completions_, admission_, pool_);
  Exchange* const exchange = idle_exchanges_.back().release();
  idle_exchanges_.pop_back();
  return exchange;
}

void Gateway::Recycle(Exchange* exchange) {
  std::unique_ptr<Exchange> owned(exchange);
  if (idle_exchanges_.size() == kIdleExchangesMax) return;
  exchange->Clear(completions_);
  idle_exchanges_.push_back(std::move(owned));
}

void Gateway::Submit(Exchange* exchange, Nanos now) {
  exchange->request.submitted_ns = now;
  const ServableHandle& servable = exchange->servable;
  if (std::ranges::find(submitted_, servable) == submitted_.end()) submitted_.push_back(servable);
  ScheduleIteration();
  const CompletionQueue::LoopScope scope(*completions_);  // A full queue ends it at once.
  exchange->servable->Submit(RequestPtr(&exchange->request));
}

void Gateway::ScheduleIteration() {
  if (std::exchange(iteration_is_scheduled_, true)) return;
  host_.ScheduleIteration();
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
  for (const ServableHandle& servable : submitted_) {
    budget -= std::min(budget, servable->RunHere(budget));
  }
  submitted_.clear();
}

void Gateway::Drain(bool signalled) {
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
  if (exchange->connection != nullptr) return exchange->connection->AnswerInference(now);
  --in_flight_;  // Its client has left; the scheduler has counted it.
  Recycle(exchange);
}

size_t Gateway::Sweep(Nanos now) {
  connections_.ForEach([now](Connection& connection) { connection.CheckDeadline(now); });
  return connections_.size();
}

void Gateway::BeginDrain() {
  is_draining_ = true;
  connections_.ForEach([](Connection& connection) { connection.BeginDrain(); });
}

}  // namespace fastserve
