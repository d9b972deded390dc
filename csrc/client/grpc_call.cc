#include "client/grpc_call.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "protocol/grpc/kserve_grpc.h"
#include "protocol/http1.h"

namespace fastserve {
namespace {

// What an answer without grpc-status means: a proxy's, most likely.
Code CodeOfHttp(int http_status) {
  switch (http_status) {
    case 400:
      return Code::kInternal;
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return Code::kUnavailable;
    default:
      return Code::kUnknown;
  }
}

Status StatusOfReset(uint32_t http2_error) {
  switch (static_cast<Http2Error>(http2_error)) {
    case Http2Error::kRefusedStream:
      return Unavailable("the server refused the call before it began");
    case Http2Error::kCancel:
      return MakeStatus(Code::kCancelled, "the server cancelled the call");
    case Http2Error::kEnhanceYourCalm:
      return ResourceExhausted("the server says that this client does too much");
    default:
      return Internal("the server reset the call, HTTP/2's error ", http2_error);
  }
}

}  // namespace

void GrpcCall::OnAnswer(const Http2Head& head) {
  if (head.status.starts_with('1')) return;  // Interim.
  if (!head.status.empty()) {
    std::from_chars(head.status.data(), head.status.data() + head.status.size(), http_status_);
    content_type_ = head.Find("content-type");
  }
  const std::string_view code = head.Find("grpc-status");
  if (code.empty()) return;
  grpc_code_ = ParseGrpcCode(code);
  grpc_message_.clear();
  const std::string_view message = head.Find("grpc-message");
  if (!PercentDecode(message, &grpc_message_)) grpc_message_ = message;
}

Status GrpcCall::OnData(std::string_view data) {
  if (is_ended_) return {};
  Status status = Append(data);
  if (!status.ok()) End(status);
  return status;
}

Status GrpcCall::Append(std::string_view data) {
  // A proxy's page of HTML is no message: its status says what is wrong.
  if (!IsGrpcContentType(content_type_)) return {};
  while (!data.empty()) {
    if (prefix_filled_ < kGrpcPrefixBytes) {
      const size_t taken = std::min(data.size(), kGrpcPrefixBytes - prefix_filled_);
      std::memcpy(prefix_.data() + prefix_filled_, data.data(), taken);
      prefix_filled_ += taken;
      data.remove_prefix(taken);
      if (prefix_filled_ < kGrpcPrefixBytes) return {};
      FS_RETURN_IF_ERROR(BeginMessage(data));
    }
    const size_t taken = std::min(data.size(), message_.size() - filled_);
    if (taken > 0) std::memcpy(message_.data() + filled_, data.data(), taken);
    filled_ += taken;
    data.remove_prefix(taken);
    if (filled_ < message_.size()) return {};
    messages_.push_back({message_, std::move(slab_)});
    slab_ = {};
    message_ = {};
    filled_ = prefix_filled_ = 0;
  }
  return {};
}

// The prefix is there, and of the message what `begin` has.
Status GrpcCall::BeginMessage(std::string_view begin) {
  const Result<GrpcPrefix> prefix = ParseGrpcPrefix({prefix_.data(), prefix_.size()});
  if (!prefix.ok()) return prefix.status();
  if (prefix->is_compressed) {
    return Internal("the server compressed an answer, which this client did not ask for");
  }
  if (prefix->length > message_bytes_max_) {
    return ResourceExhausted("the answer has ", prefix->length,
                             " bytes, this client takes at most ", message_bytes_max_);
  }
  constexpr size_t kAlignment = SlabPool::kAlignment;
  begin = begin.substr(0, prefix->length);
  const size_t raw = FindRawContents(begin, kRawOutputContents).value_or(0) % kAlignment;
  const size_t offset = (kAlignment - raw) % kAlignment;
  slab_ = pool_.Acquire(prefix->length + offset);
  if (!slab_) return ResourceExhausted("no memory for an answer of ", prefix->length, " bytes");
  message_ = slab_->bytes().subspan(offset, prefix->length);
  filled_ = 0;
  return {};
}

void GrpcCall::OnEnd(uint32_t http2_error) {
  if (is_ended_) return;
  is_answered_ = grpc_code_.has_value();
  if (grpc_code_ && *grpc_code_ != Code::kOk) return End(Status(*grpc_code_, grpc_message_));
  if (grpc_code_ && prefix_filled_ > 0) {
    return End(Internal("the server's answer ends within a message"));
  }
  if (grpc_code_) return End({});
  if (http2_error != 0) return End(StatusOfReset(http2_error));
  if (http_status_ != 200 || !IsGrpcContentType(content_type_)) {
    return End(MakeStatus(CodeOfHttp(http_status_), "no gRPC: HTTP status ", http_status_,
                          " and content-type '", content_type_, "'"));
  }
  End(Internal("the server's answer ends without grpc-status"));
}

void GrpcCall::End(Status status) {
  if (is_ended_) return;
  is_ended_ = true;
  status_ = std::move(status);
}

std::optional<GrpcMessage> GrpcCall::TakeMessage() {
  if (messages_.empty()) return std::nullopt;
  GrpcMessage message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

}  // namespace fastserve
