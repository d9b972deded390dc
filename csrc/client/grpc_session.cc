#include "client/grpc_session.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "protocol/client/kserve_grpc_request.h"
#include "protocol/grpc/grpc_framing.h"

namespace fastserve {
namespace {

constexpr size_t kReceiveBytes = 64 << 10;
// Answers of a few megabytes come without waiting for the client to say so.
constexpr uint32_t kStreamWindow = 4 << 20;
constexpr uint32_t kConnectionWindow = 64 << 20;

std::string_view Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Status CheckMetadata(const HttpHeader& field) {
  const bool has_upper =
      std::ranges::any_of(field.name, [](char byte) { return byte >= 'A' && byte <= 'Z'; });
  const bool is_own = field.name.starts_with("grpc-") || field.name == "te" ||
                      field.name == "content-type" || field.name == "host";
  if (!has_upper && !is_own && HeaderIsSafe(field)) return {};
  return InvalidArgument("metadata '", field.name,
                         "': expected a token in lower case that gRPC does not use itself, and a "
                         "value without control characters");
}

}  // namespace

Result<std::unique_ptr<GrpcSession>> GrpcSession::Create(const Options& options, SlabPool& pool) {
  BufferRef receive = pool.Acquire(kReceiveBytes);
  if (!receive) return ResourceExhausted("no memory for a connection");
  std::unique_ptr<GrpcSession> made(new GrpcSession(options, pool, std::move(receive)));
  Result<std::unique_ptr<Http2Session>> session = Http2Session::Create(
      {.is_client = true, .stream_window = kStreamWindow, .connection_window = kConnectionWindow},
      *made);
  if (!session.ok()) return session.status();
  made->session_ = *std::move(session);
  return made;
}

GrpcCall* GrpcSession::Find(int32_t call) const {
  const auto found = calls_.find(call);
  return found == calls_.end() ? nullptr : found->second.get();
}

Result<int32_t> GrpcSession::Start(const GrpcCallHead& head) {
  std::string timeout;
  if (head.timeout_ns) timeout = FormatGrpcTimeout(std::max<int64_t>(*head.timeout_ns, 0));
  std::vector<Http2Field> fields = {
      {":method", "POST"},  {":scheme", head.scheme},
      {":path", head.path}, {":authority", head.authority},
      {"te", "trailers"},   {"content-type", "application/grpc"},
  };
  if (!timeout.empty()) fields.push_back({"grpc-timeout", timeout});
  for (const HttpHeader& field : head.metadata) {
    FS_RETURN_IF_ERROR(CheckMetadata(field));
    fields.push_back({field.name, field.value});
  }
  auto call = std::make_unique<GrpcCall>(pool_, options_.message_bytes_max);
  const Result<int32_t> stream = session_->Request(fields, call.get(), &output_);
  if (!stream.ok()) return stream.status();
  call->stream = *stream;
  calls_.emplace(*stream, std::move(call));
  return *stream;
}

Status GrpcSession::Write(int32_t call, std::string_view message) {
  if (message.size() > std::numeric_limits<uint32_t>::max()) {
    return ResourceExhausted("a gRPC message has less than 4 GiB, this one ", message.size(),
                             " bytes");
  }
  const std::array prefix = FormatGrpcPrefix({.length = static_cast<uint32_t>(message.size())});
  session_->Write(call, {prefix.data(), prefix.size()});
  session_->Write(call, message);
  return {};
}

Status GrpcSession::WriteInfer(int32_t call, const InferBody& request,
                               std::span<const BufferRef> owners) {
  text_.Clear();
  FS_RETURN_IF_ERROR(EncodeGrpcInferRequest(request, &text_, &cuts_));
  size_t from = 0;
  for (size_t i = 0; i < cuts_.size(); ++i) {
    session_->Write(call, text_.view().substr(from, cuts_[i] - from));
    session_->Write(call, Text(request.inputs[i].tensor.bytes), owners[i]);
    from = cuts_[i];
  }
  session_->Write(call, text_.view().substr(from));
  return {};
}

void GrpcSession::Forget(int32_t call) {
  GrpcCall* const found = Find(call);
  if (found == nullptr || found->is_forgotten) return;
  if (found->is_closed || has_failed_) {
    calls_.erase(call);
    return;
  }
  // Its last event comes when the reset is sent: only then it may go.
  found->is_forgotten = true;
  session_->Reset(call, Http2Error::kCancel);
}

Status GrpcSession::Send() {
  FS_RETURN_IF_ERROR(session_->Send(&output_));
  // GOAWAY was sent, since the server broke HTTP/2's rules, or came, and nothing runs any more.
  if (!session_->wants_to_receive()) Fail(Unavailable("the server's connection broke"));
  return {};
}

Status GrpcSession::Received(size_t bytes) {
  if (has_failed_) return Unavailable("the server's connection broke");
  Status status = session_->Receive(Text(receive_->bytes().first(bytes)));
  if (!status.ok()) Fail(Unavailable("the server's connection broke: ", status.message()));
  return status;
}

void GrpcSession::Fail(const Status& why) {
  has_failed_ = true;
  for (const auto& [stream, call] : calls_) {
    if (call->is_ended()) continue;
    call->End(why);
    Note(*call);
  }
}

void GrpcSession::Note(GrpcCall& call) {
  if (std::exchange(call.is_changed, true)) return;
  changed_.push_back(call.stream);
}

std::vector<int32_t> GrpcSession::TakeChanged() {
  for (const int32_t stream : changed_) {
    if (GrpcCall* const call = Find(stream)) call->is_changed = false;
  }
  return std::exchange(changed_, {});
}

std::optional<GrpcMessage> GrpcSession::TakeMessage(int32_t call) {
  GrpcCall* const found = Find(call);
  if (found == nullptr) return std::nullopt;
  std::optional<GrpcMessage> message = found->TakeMessage();
  if (!found->has_messages() && found->unconsumed > 0) {
    session_->Consume(call, std::exchange(found->unconsumed, 0));
  }
  return message;
}

const Status* GrpcSession::EndOf(int32_t call) const {
  const GrpcCall* const found = Find(call);
  return found == nullptr || !found->is_ended() ? nullptr : &found->status();
}

bool GrpcSession::IsAnswered(int32_t call) const {
  const GrpcCall* const found = Find(call);
  return found != nullptr && found->is_answered();
}

Status GrpcSession::DecodeInfer(std::span<const std::byte> response, const BufferRef& owner,
                                InferBody* out) {
  tensors_.SetMessage(owner);
  return decoder_.DecodeResponse(response, tensors_, out);
}

// -- What the connection says
// ------------------------------------------------------------------------

void* GrpcSession::OnHead(int32_t, const Http2Head&) { return nullptr; }  // A server's alone.

void GrpcSession::OnAnswer(int32_t, void* context, const Http2Head& head) {
  static_cast<GrpcCall*>(context)->OnAnswer(head);
}

void GrpcSession::OnData(int32_t stream, void* context, std::string_view data) {
  GrpcCall& call = *static_cast<GrpcCall*>(context);
  // Whoever waits for a message gets all of it; what follows waits in the server for the next turn.
  const bool is_awaited = !call.has_messages();
  if (!call.OnData(data).ok()) session_->Reset(stream, Http2Error::kCancel);
  if (is_awaited) {
    session_->Consume(stream, data.size());
  } else {
    call.unconsumed += data.size();
  }
  if (call.has_messages() || call.is_ended()) Note(call);
}

void GrpcSession::OnEnd(int32_t, void* context) {
  GrpcCall& call = *static_cast<GrpcCall*>(context);
  call.OnEnd(0);
  Note(call);
}

void GrpcSession::OnClosed(int32_t stream, void* context, uint32_t error) {
  GrpcCall& call = *static_cast<GrpcCall*>(context);
  if (call.is_forgotten) {
    calls_.erase(stream);
    return;
  }
  call.is_closed = true;
  call.OnEnd(error);
  Note(call);
}

}  // namespace fastserve
