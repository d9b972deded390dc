// GrpcSession: a client's side of one HTTP/2 connection that carries gRPC: many calls at once.
//
//   const Result<int32_t> call = session.Start({.path = "/inference...", .authority =
//   "host:8000"}); session.WriteInfer(*call, request, owners); session.End(*call); session.Send();
//   io.Write(session.output().parts());  session.output().Clear();
//   ...
//   session.Received(io.Read(session.GetBuffer()));
//   for (int32_t changed : session.TakeChanged()) ...       // TakeMessage, EndOf
//
// A server that answers faster than messages are taken is held back by its window.
//
// Threads: none; belongs to one connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/status.h"
#include "client/grpc_call.h"
#include "client/received_tensors.h"
#include "memory/slab_pool.h"
#include "protocol/byte_writer.h"
#include "protocol/grpc/kserve_grpc.h"
#include "protocol/http1_response.h"
#include "protocol/http2/http2_session.h"

namespace fastserve {

struct GrpcCallHead {
  std::string_view path;
  std::string_view scheme = "http";
  std::string_view authority;
  std::optional<int64_t> timeout_ns = {};
  std::span<const HttpHeader> metadata = {};  // Names in lower case.
};

class GrpcSession final : private Http2Events {
 public:
  struct Options {
    // As large as the messages of Triton's own clients may be.
    size_t message_bytes_max = (size_t{1} << 31) - 1;
  };

  // `pool` outlives the session. Errors: RESOURCE_EXHAUSTED.
  static Result<std::unique_ptr<GrpcSession>> Create(const Options& options, SlabPool& pool);

  // Begins a call. Errors: UNAVAILABLE when the connection takes no more; INVALID_ARGUMENT for
  // metadata that gRPC does not allow.
  Result<int32_t> Start(const GrpcCallHead& head);
  // Writes a message. Errors: RESOURCE_EXHAUSTED for one of 4 GiB.
  Status Write(int32_t call, std::string_view message);
  Status WriteInfer(int32_t call, const InferBody& request, std::span<const BufferRef> owners);
  // No message follows.
  void End(int32_t call) { session_->End(call); }
  // It is of no more interest: if it runs, it is reset.
  void Forget(int32_t call);

  // Puts all that may be sent now into output(). Errors: the connection is of no more use.
  Status Send();
  Http2Output& output() { return output_; }

  std::span<std::byte> GetBuffer() { return receive_->bytes(); }
  // Errors: the connection is of no more use; its calls have ended with the reason.
  Status Received(size_t bytes);
  // The connection is gone: what runs ends with `why`.
  void Fail(const Status& why);

  // The calls of which something came since, each once.
  std::vector<int32_t> TakeChanged();
  std::optional<GrpcMessage> TakeMessage(int32_t call);
  // How it ended; null while it runs. There may be messages that nobody took.
  const Status* EndOf(int32_t call) const;
  // Whether the server said so itself: not the connection, nor this side.
  bool IsAnswered(int32_t call) const;

  // A ModelInferResponse that lies in `owner`, as views of it. Errors: INTERNAL.
  Status DecodeInfer(std::span<const std::byte> response, const BufferRef& owner, InferBody* out);
  BufferRef OwnerOf(std::span<const std::byte> bytes) const { return tensors_.OwnerOf(bytes); }

  // One more call may begin now.
  bool takes_calls() const { return !has_failed_ && session_->takes_requests(); }
  size_t calls() const { return calls_.size(); }
  // Send would find something.
  bool wants_to_send() const { return !output_.empty() || session_->wants_to_send(); }

 private:
  GrpcSession(const Options& options, SlabPool& pool, BufferRef receive)
      : options_(options), pool_(pool), receive_(std::move(receive)), tensors_(pool) {}

  void* OnHead(int32_t stream, const Http2Head& head) override;
  void OnAnswer(int32_t stream, void* context, const Http2Head& head) override;
  void OnData(int32_t stream, void* context, std::string_view data) override;
  void OnEnd(int32_t stream, void* context) override;
  void OnClosed(int32_t stream, void* context, uint32_t error) override;
  void Note(GrpcCall& call);
  GrpcCall* Find(int32_t call) const;

  const Options options_;
  SlabPool& pool_;
  const BufferRef receive_;
  std::unique_ptr<Http2Session> session_;
  Http2Output output_;
  std::unordered_map<int32_t, std::unique_ptr<GrpcCall>> calls_;
  std::vector<int32_t> changed_;
  bool has_failed_ = false;
  ByteWriter text_;
  std::vector<size_t> cuts_;
  KserveGrpcDecoder decoder_;
  ReceivedTensors tensors_;
};

}  // namespace fastserve
