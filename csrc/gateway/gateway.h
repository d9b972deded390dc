// Gateway: what the connections of one event loop share.
//
//   read events -> Connection -> Servable::Submit ... ScheduleIteration() once
//   end of the loop's iteration -> RunIteration(): cheap models run here, others' threads are woken
//   eventfd, or the end of an iteration -> Drain(): finished exchanges are answered
//   a deadline, or the end of a drain's grace -> ScheduleWakeUp(), WakeUp(): the late are answered
//
// Threads: everything on the loop's thread; stats from any. (RunModels may be called without the
// lock of an interpreter: it calls no host.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/answer_compressor.h"
#include "gateway/completion_queue.h"
#include "gateway/deadline_list.h"
#include "gateway/debug_snapshot.h"
#include "gateway/exchange.h"
#include "gateway/gateway_stats.h"
#include "gateway/http/access_log.h"
#include "gateway/http/client_counts.h"
#include "gateway/http/connection.h"
#include "gateway/http/connection_list.h"
#include "gateway/http/control_request.h"
#include "gateway/http/cors.h"
#include "gateway/http2/http2_connection.h"
#include "gateway/infer_codec.h"
#include "gateway/trace_sampler.h"
#include "memory/region_registry.h"
#include "memory/slab_pool.h"
#include "serving/admission.h"
#include "serving/serving_map.h"

namespace fastserve {

// What the gateway asks of the program around it.
class GatewayHost {
 public:
  virtual ~GatewayHost() = default;
  // RunModels and then Drain(false) are to be called when the loop has read what can be read now.
  // False when that cannot be had: the gateway then does without.
  virtual bool ScheduleIteration() = 0;
  // WakeUp is to be called at `at`, and a call that was asked for earlier is off. `at` is never
  // further away than Gateway::kWakeUpMax. False when that cannot be had.
  virtual bool ScheduleWakeUp(Nanos at) = 0;
  // A control request; it may be answered during the call.
  virtual void OnControl(std::shared_ptr<ControlRequest> request) = 0;
};

struct GatewayOptions {
  size_t body_bytes_max = size_t{64} << 20;
  size_t in_flight_bytes_max = size_t{1} << 30;
  size_t connections_max = 10'000;
  size_t connections_per_client_max = 0;  // 0: as many as there are.
  Nanos head_timeout = 30 * kSecond;
  Nanos body_timeout = 60 * kSecond;  // Between two reads.
  Nanos idle_timeout = 120 * kSecond;
  size_t streams_per_connection_max = 256;  // Requests at a time over HTTP/2.
  // Of a client of HTTP/2 that says nothing while its requests are under way, before it is asked
  // whether it is there; 0: never.
  Nanos keepalive = 30 * kSecond;
  // When a connection ends, as soon as its requests are answered; 0: never.
  Nanos connection_age = 0;
  // How long connections without a request stay open when the server drains.
  Nanos drain_grace = 1 * kSecond;
  bool access_log = false;
  std::vector<std::string> cors_origins = {};  // See CorsPolicy.
  // What clients on this machine have registered; null: they may share no memory.
  std::shared_ptr<RegionRegistry> regions = nullptr;
};

class Gateway {
 public:
  // At most this much of the loop's time goes to models in one iteration.
  static constexpr Nanos kIterationBudget = 1 * kMillisecond;
  // One read of a socket that is not a large body; as much as libuv suggests.
  static constexpr size_t kSharedBufferBytes = 64 << 10;
  // Answers up to this size are copied into one piece: cheaper than a vector of pieces.
  static constexpr size_t kCopiedBytesMax = 16 << 10;
  // Wake-ups are asked for no further ahead, so that one that nobody needs any more is soon gone.
  static constexpr Nanos kWakeUpMax = 1 * kSecond;

  static Result<std::unique_ptr<Gateway>> Create(std::shared_ptr<ServingMap> serving_map,
                                                 GatewayHost& host, const GatewayOptions& options);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // For the loop's poller: readable when completions wait.
  int fd() const { return completions_->fd(); }

  // Where the sockets of connections that await a head are read into.
  std::span<std::byte> shared_buffer() const {
    return shared_buffer_->bytes().first(kSharedBufferBytes);
  }
  const BufferRef& shared_buffer_owner() const { return shared_buffer_; }

  // Runs or wakes what was submitted since the last call, after ending what was abandoned.
  void RunModels();
  // Answers what is finished. `signalled`: fd() was found readable.
  void Drain(bool signalled);
  // What ScheduleWakeUp asked for: answers requests that are late.
  void WakeUp(Nanos now);
  // Closes the connections whose time is up, and lets go of versions that were retired while
  // requests for them arrive; returns how many are open.
  size_t Sweep(Nanos now);
  // Gives back the memory that is kept for the next requests, here and in the models; returns how
  // many bytes. They pay for new pages: for a loop that has been quiet for a while.
  size_t TrimMemory() { return pool_->Trim() + serving_map_->TrimMemory(); }
  // From now on answers close their connection, and connections without a request are closed when
  // their grace is over. New ones are served likewise.
  void BeginDrain(Nanos now);

  // What is in flight: at most `limit` requests, the oldest ones.
  DebugSnapshot Debug(size_t limit, Nanos now) const;

  bool is_draining() const { return is_draining_; }
  // Whether there is a region that a request may refer to.
  bool shares_memory() const { return options_.regions && !options_.regions->empty(); }
  size_t connections() const { return connections_.size(); }
  size_t in_flight() const { return in_flight_; }
  size_t in_flight_bytes() const { return admission_->in_flight_bytes(); }
  const GatewayStats& stats() const { return stats_; }
  SlabPool::Stats memory() const { return pool_->stats(); }  // From any thread.
  AccessLog& access_log() { return access_log_; }
  // Records of the inferences that are traced, which the sampler chooses.
  AccessLog& trace_log() { return trace_log_; }
  TraceSampler& trace_sampler() { return trace_sampler_; }
  // Whether connections are to say who their client is: to find out costs more than a request.
  bool wants_peers() const {
    return access_log_.enabled() || options_.connections_per_client_max > 0;
  }

 private:
  friend class Connection;
  friend class Http2Connection;
  friend class Http2Stream;
  Gateway(std::shared_ptr<ServingMap> serving_map, GatewayHost& host, const GatewayOptions& options,
          std::shared_ptr<CompletionQueue> completions, BufferRef shared_buffer);

  // A servable that something happened to in this iteration.
  struct Touched {
    ServableHandle servable;
    bool has_new = false;
    bool has_abandoned = false;
  };

  Exchange* NewExchange();
  void Recycle(Exchange* exchange) noexcept;
  void Submit(Exchange* exchange, Nanos now);
  // Nobody waits any more for what the scheduler has: it ends without having run, if it can.
  void Abandon(Exchange* exchange) noexcept;
  void Finish(Exchange* exchange, Nanos now);
  Touched& Touch(const ServableHandle& servable);
  [[nodiscard]] bool ScheduleIteration() noexcept;
  // For want of an iteration: what was submitted runs on other threads.
  void RunElsewhere() noexcept;
  void WakeAt(Nanos at, Nanos now);

  // To be called once the servable of an inference is found.
  void BeginTrace(Exchange* exchange, std::string_view method, std::string_view path) {
    if (!trace_sampler_.Take(exchange->servable->name())) return;
    exchange->is_traced = exchange->notes_end = true;
    exchange->method = method;
    exchange->path = path;
  }
  // Whether an answer is to be recorded; `exchange` may be null.
  bool records(const Exchange* exchange) const {
    return access_log_.enabled() || (exchange != nullptr && exchange->is_traced);
  }
  void Record(const Exchange* exchange, AccessRecord record);

  // While one of these lives, connections over HTTP/2 collect what they have to send: it goes out
  // when the last one ends.
  class FlushScope {
   public:
    explicit FlushScope(Gateway& gateway) : gateway_(gateway) { ++gateway_.flush_scopes_; }
    ~FlushScope() {
      if (--gateway_.flush_scopes_ == 0) gateway_.FlushDirty();
    }
    FlushScope(const FlushScope&) = delete;
    FlushScope& operator=(const FlushScope&) = delete;

   private:
    Gateway& gateway_;
  };
  // At the end of the FlushScope, or of the loop's iteration.
  void FlushSoon(Http2Connection* connection) noexcept;
  void FlushDirty() noexcept;

  void SweepServablesOfTheLate(Nanos now);
  // The Date of an answer that is sent at `now`: made once a second.
  std::string_view DateAt(Nanos now);

  const GatewayOptions options_;
  GatewayHost& host_;
  const std::shared_ptr<ServingMap> serving_map_;
  ServingMap::Reader serving_;
  const std::shared_ptr<Admission> admission_;
  const std::shared_ptr<SlabPool> pool_;
  const std::shared_ptr<CompletionQueue> completions_;
  InferCodec codec_;
  GatewayStats stats_;
  AccessLog access_log_;
  AccessLog trace_log_;
  TraceSampler trace_sampler_;
  const CorsPolicy cors_;
  ConnectionList connections_;
  std::vector<std::unique_ptr<Exchange>> idle_exchanges_;
  ClientCounts clients_;
  DeadlineList deadlines_;
  std::vector<Touched> touched_;  // In this iteration, each once.
  size_t in_flight_ = 0;
  size_t abandoned_ = 0;                 // Of those.
  uint64_t changes_seen_ = 0;            // Of the map, by the last sweep.
  Nanos wake_up_ns_ = kNever;            // Scheduled.
  std::vector<Http2Connection*> dirty_;  // Have something to send.
  int flush_scopes_ = 0;
  bool iteration_is_scheduled_ = false;
  bool is_draining_ = false;
  // Scratch that connections share, for the capacity.
  BufferRef shared_buffer_;
  ByteWriter head_writer_;
  HttpDate date_{};
  Nanos date_until_ns_ = 0;
  std::vector<OutputPart> parts_;
  EncodedBody encoded_;
  EncodedMessage message_;
  AnswerCompressor compressor_;
  Http2Output http2_output_;
};

}  // namespace fastserve
