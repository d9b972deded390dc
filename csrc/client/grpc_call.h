// GrpcCall: one call of a GrpcSession, from its head to its status; the inner half of it.
//
// Messages are gathered out of DATA frames in memory that is as large as their prefix says, where
// the first raw tensor will be aligned to 64 bytes.
//
// Threads: none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "memory/slab_pool.h"
#include "protocol/grpc/grpc_framing.h"
#include "protocol/http2/http2_session.h"
#include "tensor/buffer.h"

namespace fastserve {

struct GrpcMessage {
  std::span<const std::byte> bytes;
  BufferRef owner;
};

class GrpcCall {
 public:
  GrpcCall(SlabPool& pool, size_t message_bytes_max)
      : pool_(pool), message_bytes_max_(message_bytes_max) {}
  GrpcCall(const GrpcCall&) = delete;
  GrpcCall& operator=(const GrpcCall&) = delete;

  // -- What the connection says.
  void OnAnswer(const Http2Head& head);
  // Errors: those of a message that cannot be taken; the call ends with it.
  Status OnData(std::string_view data);
  // Nothing follows; HTTP/2's error if the stream was reset.
  void OnEnd(uint32_t http2_error);
  // Ends it, unless it has ended.
  void End(Status status);

  // -- What the caller asks.
  bool is_ended() const { return is_ended_; }
  const Status& status() const { return status_; }
  // The server said so itself.
  bool is_answered() const { return is_answered_; }
  bool has_messages() const { return !messages_.empty(); }
  std::optional<GrpcMessage> TakeMessage();

  int32_t stream = 0;
  bool is_changed = false;    // Stands in its session's list.
  bool is_closed = false;     // Its stream is gone.
  bool is_forgotten = false;  // Nobody asks for it any more.
  size_t unconsumed = 0;      // Bytes that the server may not send again yet.

 private:
  Status Append(std::string_view data);
  Status BeginMessage(std::string_view begin);

  SlabPool& pool_;
  const size_t message_bytes_max_;
  int http_status_ = 0;
  std::string content_type_;
  std::optional<Code> grpc_code_;
  std::string grpc_message_;
  std::array<char, kGrpcPrefixBytes> prefix_{};
  size_t prefix_filled_ = 0;
  BufferRef slab_;  // Of the message that is gathered.
  std::span<std::byte> message_;
  size_t filled_ = 0;
  std::deque<GrpcMessage> messages_;
  bool is_ended_ = false;
  bool is_answered_ = false;
  Status status_;
};

}  // namespace fastserve
