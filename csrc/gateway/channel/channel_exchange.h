// ChannelExchange: one inference over a channel, from its descriptor to its last response.
//
// Exchanges are reused, with the capacity of what they have (ChannelSession keeps a pool).
//
// Threads: the session's, except from Servable::Submit until OnEnd: then it is the scheduler's, and
// the session may touch `request.cancelled` only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "channel/descriptor.h"
#include "channel/message.h"
#include "gateway/memory/tensor_arena.h"
#include "serving/inference_request.h"
#include "serving/servable.h"

namespace fastserve {

class ChannelExchange;

// Who has exchanges under way.
class ChannelExchangeOwner : public std::enable_shared_from_this<ChannelExchangeOwner> {
 public:
  virtual ~ChannelExchangeOwner() = default;
  // On any thread: a response of a stream; the outputs may be moved from.
  virtual void TakeResponse(ChannelExchange& exchange, std::span<ResponseOutput> outputs) = 0;
  // On any thread: it is over. Unless it streams its one response is in its `outputs`.
  virtual void TakeEnd(ChannelExchange& exchange, Status end) = 0;
};

class ChannelExchange final : public ResponseSink {
 public:
  explicit ChannelExchange(std::shared_ptr<SlabPool> pool) : arena(std::move(pool)) {
    request.sink = this;
  }

  // ResponseSink: on any thread.
  void OnResponse(InferenceRequest& request, std::span<ResponseOutput> outputs) override;
  void OnEnd(RequestPtr request, Status status) override;

  // As new.
  void Clear() noexcept;

  // From the descriptor.
  uint64_t number = 0;
  bool streams = false;
  Nanos received_ns = 0;
  std::vector<std::byte> text;  // A copy of its message, which `message` is a view of.
  ChannelMessage message;

  ServableHandle servable;
  std::vector<size_t> wanted;  // In Servable::outputs().
  TensorArena arena;           // Inputs that must not change while they are read.
  InferenceRequest request;

  // The block of the outbox that its engine may compute into; 0: none.
  uint64_t lent = 0;
  // Keeps the session while the scheduler has the exchange.
  std::shared_ptr<ChannelExchangeOwner> owner;

  // From the scheduler.
  std::vector<ResponseOutput> outputs;
  size_t responses = 0;
  bool lacks_memory = false;  // For them.
};

}  // namespace fastserve
