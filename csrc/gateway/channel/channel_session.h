// ChannelSession: the server's end of one client's channel, and the thread that serves it.
//
//   pop descriptors -> ChannelExchange -> Servable::Submit ... Servable::RunHere
//   an engine is done, here or on its thread -> ChannelOutbox -> the client's doorbell
//
// The thread is not an event loop's: it may look for the next request (AdaptiveSpin), and it runs
// small models itself. What the client writes is never believed: a descriptor is a copy before it
// is looked at, a message is copied before it is read, a range is held against the layout that this
// side worked out. A request that is wrong is answered so; a client that breaks the protocol (an
// unknown kind, a slot that is in use, a release of what it was not given) is let go.
//
// Life: Start, then Stop (or the thread ends by itself: has_ended), then Join. What engines still
// have then keeps the session's memory, and nothing else, until they give it back.
//
// Threads: Start, Join: the listener's. Stop, has_ended: any.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/annotations.h"
#include "base/status.h"
#include "channel/adaptive_spin.h"
#include "channel/channel_layout.h"
#include "gateway/channel/channel_exchange.h"
#include "gateway/channel/channel_outbox.h"
#include "gateway/channel/channel_stats.h"
#include "memory/sealed_segment.h"
#include "memory/slab_pool.h"
#include "serving/serving_map.h"
#include "tensor/buffer.h"

namespace fastserve {

// What the sessions of one listener share.
struct ChannelShared {
  std::shared_ptr<ServingMap> serving_map;
  std::shared_ptr<ChannelStats> stats;
  std::shared_ptr<SlabPool> pool;
  std::shared_ptr<EventFd> ended;  // Signalled by each session that has ended.
  std::atomic<bool> is_draining{false};
  std::atomic<bool> is_loading{false};
  Nanos spin = 0;
};

class ChannelSession final : public ChannelExchangeOwner {
 public:
  // Errors: RESOURCE_EXHAUSTED for want of memory or descriptors.
  static Result<std::shared_ptr<ChannelSession>> Create(std::shared_ptr<ChannelShared> shared,
                                                        size_t segment_bytes);
  ~ChannelSession() override;

  // For the client.
  int segment_fd() const { return segment_fd_; }
  int event_fd() const { return event_fd_; }
  size_t segment_bytes() const { return bytes_.size(); }

  Status Start();
  void Stop();
  void Join();
  // The client broke the protocol, or the server had no memory for what it had to say.
  bool has_ended() const { return has_ended_.load(std::memory_order_relaxed); }

  // ChannelExchangeOwner.
  void TakeResponse(ChannelExchange& exchange, std::span<ResponseOutput> outputs) override;
  void TakeEnd(ChannelExchange& exchange, Status end) override;

 private:
  ChannelSession(std::shared_ptr<ChannelShared> shared, BufferRef segment, int segment_fd,
                 ChannelHead* head, EventFd event_fd);

  void Run();
  // Until there is nothing to do now. False: the client is to be let go.
  [[nodiscard]] bool Serve();
  // Takes what is there, up to a limit; how many there were. -1: the client broke the protocol.
  int TakeDescriptors();
  [[nodiscard]] bool Take(const Descriptor& descriptor);
  void Infer(const Descriptor& descriptor);
  void LendPlaces(ChannelExchange* exchange);
  Status Prepare(const Descriptor& descriptor, ChannelExchange* exchange);
  Status ReadOwnMessage(const Descriptor& descriptor, ChannelExchange* exchange);
  Status BindInputs(ChannelExchange* exchange);
  Status FillInput(const ChannelTensor& tensor, ChannelExchange* exchange, NamedInput* input);
  Status ChooseOutputs(ChannelExchange* exchange);
  void Describe(const Descriptor& descriptor);
  ServableHandle FindServable(const ChannelMessage& message, Status* status);
  void RunModels();
  void EndLate(Nanos now);
  void WaitForMore();
  void End();

  std::unique_ptr<ChannelExchange> NewExchange() FS_EXCLUDES(idle_mutex_);
  void Recycle(std::unique_ptr<ChannelExchange> exchange) noexcept FS_EXCLUDES(idle_mutex_);

  const std::shared_ptr<ChannelShared> shared_;
  const BufferRef segment_;  // Keeps bytes_ mapped, and is what inputs are owned by.
  const int segment_fd_;     // Its.
  const std::span<std::byte> bytes_;
  const ChannelLayout layout_;
  ChannelHead& head_;
  DescriptorRing::Consumer requests_;
  const int event_fd_;  // The outbox's.
  ChannelOutbox outbox_;
  ServingMap::Reader serving_;
  AdaptiveSpin spin_;
  pthread_t thread_{};
  bool is_running_ = false;
  std::atomic<bool> is_stopping_{false};
  std::atomic<bool> has_ended_{false};

  // The thread's.
  std::vector<ServableHandle> touched_;
  std::vector<NamedInput> inputs_;
  Nanos earliest_deadline_ns_ = kNever;

  Mutex idle_mutex_;
  std::vector<std::unique_ptr<ChannelExchange>> idle_ FS_GUARDED_BY(idle_mutex_);
};

}  // namespace fastserve
