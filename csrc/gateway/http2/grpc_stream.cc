#include "gateway/http2/grpc_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "gateway/http2/grpc_calls.h"
#include "gateway/http2/grpc_infer_streams.h"
#include "gateway/http2/grpc_watch_stream.h"

namespace fastserve {

GrpcStream::GrpcStream(Http2Connection& connection, int32_t id, const Http2Head& head)
    : Http2Stream(connection, id), path_(head.path), body_(NewBody()) {}

void GrpcStream::Begin(const Http2Head& head) {
  stats().requests.Add();
  if (waits_for_message()) deadline_ns_ = now() + options().body_timeout;
  if (head.is_too_large) {
    return Finish(Code::kResourceExhausted, "the request's metadata is too large");
  }
  const std::string_view timeout = head.Find("grpc-timeout");
  if (!timeout.empty()) {
    const std::optional<int64_t> parsed = ParseGrpcTimeout(timeout);
    if (!parsed) {
      return Finish(
          InvalidArgument("grpc-timeout: expected up to eight digits and one of HMSmun, "
                          "received '",
                          timeout.substr(0, 40), "'"));
    }
    if (*parsed < kNever - now()) rpc_deadline_ns_ = now() + *parsed;
    deadline_ns_ = std::min(deadline_ns_, rpc_deadline_ns_);
  }
  if (const Status status = TakeEncoding(head); !status.ok()) return Finish(status);
  if (head.ends) OnEnd();
}

// Who compresses what it sends gets answers compressed likewise, if it says that it reads them.
Status GrpcStream::TakeEncoding(const Http2Head& head) {
  const std::string_view name = head.Find("grpc-encoding");
  coding_ = ParseCoding(name);
  if (!coding_) {
    return Unimplemented("grpc-encoding '", name.substr(0, 40),
                         "' is not available, send messages as they are, as gzip or as deflate");
  }
  if (ListsCoding(head.Find("grpc-accept-encoding"), *coding_)) answer_coding_ = *coding_;
  return {};
}

size_t GrpcStream::OnData(std::string_view data) {
  const size_t taken = pending_.empty() ? Take(data) : 0;
  pending_.append(data.substr(taken));
  return taken;
}

size_t GrpcStream::Take(std::string_view data) {
  const size_t size = data.size();
  while (!data.empty() && !is_finished_ && (in_message_ || can_take())) {
    in_message_ ? ReadMessage(&data) : ReadPrefix(&data);
  }
  if (is_finished_) return size;
  const bool is_waited_for = in_message_ || prefix_bytes_ > 0 || waits_for_message();
  deadline_ns_ =
      is_waited_for ? std::min(now() + options().body_timeout, rpc_deadline_ns_) : rpc_deadline_ns_;
  return size - data.size();
}

void GrpcStream::TakePending() {
  if (pending_.empty()) return;
  // Taken out: what is taken may end the stream, which forgets what is left.
  std::string data = std::exchange(pending_, {});
  const size_t taken = Take(data);
  session().Consume(id_, taken);
  data.erase(0, taken);
  pending_ = std::move(data);
  connection_.WantFlush();
  if (pending_.empty() && has_end_) EndReceiving();
}

void GrpcStream::ForgetPending() {
  if (!pending_.empty()) session().Consume(id_, pending_.size());
  pending_.clear();
}

void GrpcStream::ReadPrefix(std::string_view* data) {
  const size_t used = std::min(kGrpcPrefixBytes - prefix_bytes_, data->size());
  std::memcpy(prefix_.data() + prefix_bytes_, data->data(), used);
  prefix_bytes_ += used;
  data->remove_prefix(used);
  if (prefix_bytes_ < kGrpcPrefixBytes) return;
  prefix_bytes_ = 0;
  Result<GrpcPrefix> prefix = ParseGrpcPrefix({prefix_.data(), prefix_.size()});
  if (!prefix.ok()) return Finish(prefix.status());
  message_prefix_ = *prefix;
  if (message_prefix_.is_compressed && coding_ == ContentCoding::kIdentity) {
    return Finish(Code::kInternal, "a message is compressed, but grpc-encoding does not say how");
  }
  if (message_prefix_.length > options().body_bytes_max) {
    return Finish(ResourceExhausted("a message has ", message_prefix_.length,
                                    " bytes, but this server accepts at most ",
                                    options().body_bytes_max));
  }
  in_message_ = true;
  is_placed_ = false;
  if (message_prefix_.length == 0) EndMessage();
}

// Placement before payload: when the first bytes are there they say where the tensors begin.
void GrpcStream::BeginMessage(std::string_view data) {
  std::optional<uint64_t> before_tensors;
  if (has_tensors() && !message_prefix_.is_compressed) {
    before_tensors = FindRawContents(data.substr(0, message_prefix_.length));
  }
  is_placed_ = true;
  const Status status = body_.Start(message_prefix_.length, before_tensors);
  if (!status.ok()) Finish(status);
}

void GrpcStream::ReadMessage(std::string_view* data) {
  if (!is_placed_) {
    BeginMessage(*data);
    if (is_finished_) return;
  }
  const std::span<std::byte> tail = body_.Tail();
  const size_t used = std::min(tail.size(), data->size());
  std::memcpy(tail.data(), data->data(), used);
  body_.Received(used);
  data->remove_prefix(used);
  if (body_.complete()) EndMessage();
}

void GrpcStream::EndMessage() {
  in_message_ = false;
  ++messages_;
  bytes_in_ += kGrpcPrefixBytes + message_prefix_.length;
  if (message_prefix_.is_compressed) {
    const Status status = body_.Decompress(*coding_, std::nullopt);
    const bool is_too_large = status.code() == Code::kOutOfRange;
    if (!status.ok()) {
      return Finish(is_too_large ? Code::kResourceExhausted : status.code(), status.message());
    }
  }
  OnMessage(std::move(body_));
  body_.Reset();
}

void GrpcStream::OnEnd() {
  has_end_ = true;
  if (pending_.empty()) EndReceiving();
}

void GrpcStream::EndReceiving() {
  if (is_received_ || is_finished_) return;
  is_received_ = true;
  // Of a request that the scheduler has, the gateway looks after the deadline.
  deadline_ns_ = has_tensors() && waits_for_message() ? kNever : rpc_deadline_ns_;
  if (in_message_ || prefix_bytes_ > 0) {
    return Finish(Code::kInvalidArgument, "the request ends within a message");
  }
  OnLastMessage();
}

void GrpcStream::OnTimeout() {
  Finish(Code::kDeadlineExceeded, now() >= rpc_deadline_ns_
                                      ? "the deadline passed"
                                      : "the request's message did not arrive in time");
}

void GrpcStream::SendHead() {
  if (std::exchange(has_head_, true)) return;
  const std::array fields = {Http2Field{":status", "200"},
                             Http2Field{"content-type", "application/grpc"},
                             Http2Field{"grpc-encoding", NameOf(answer_coding_)}};
  const size_t count = answer_coding_ == ContentCoding::kIdentity ? 2 : 3;
  session().Answer(id_, {fields.data(), count}, /*ends=*/false);
}

void GrpcStream::SendMessage(const EncodedMessage& message) {
  SendHead();
  const std::string_view text = message.text.view();
  ByteWriter compressed;
  if (compressor().CompressMessage(answer_coding_, text, message.cuts, message.tensors,
                                   &compressed)) {
    return WriteMessage(/*is_compressed=*/true, compressed.view());
  }
  size_t from = 0;
  for (size_t i = 0; i < message.cuts.size(); ++i) {
    session().Write(id_, text.substr(from, message.cuts[i] - from));
    session().Write(id_, message.tensors[i].bytes, message.tensors[i].owner);
    from = message.cuts[i];
  }
  session().Write(id_, text.substr(from));
  bytes_out_ += text.size() + message.tensor_bytes;
  connection_.WantFlush();
}

void GrpcStream::SendMessage(std::string_view message) {
  SendHead();
  ByteWriter compressed;
  if (compressor().CompressBody({.coding = answer_coding_}, message, {}, &compressed)) {
    return WriteMessage(/*is_compressed=*/true, compressed.view());
  }
  WriteMessage(/*is_compressed=*/false, message);
}

void GrpcStream::WriteMessage(bool is_compressed, std::string_view message) {
  const std::array prefix = FormatGrpcPrefix(
      {.is_compressed = is_compressed, .length = static_cast<uint32_t>(message.size())});
  session().Write(id_, {prefix.data(), prefix.size()});
  session().Write(id_, message);
  bytes_out_ += prefix.size() + message.size();
  connection_.WantFlush();
}

void GrpcStream::Finish(Code code, std::string_view message) {
  if (std::exchange(is_finished_, true)) return;
  end_code_ = code;
  deadline_ns_ = kNever;
  body_.Reset();
  const std::string encoded = EncodeGrpcMessage(message);
  std::array<Http2Field, 5> fields;
  size_t count = 0;
  if (!has_head_) {
    fields[count++] = {":status", "200"};
    fields[count++] = {"content-type", "application/grpc"};
  }
  fields[count++] = {"grpc-status", GrpcCodeText(code)};
  if (!encoded.empty()) fields[count++] = {"grpc-message", encoded};
  if (!coding_) fields[count++] = {"grpc-accept-encoding", "identity,gzip,deflate"};
  const std::span<const Http2Field> sent(fields.data(), count);
  has_head_ ? session().End(id_, sent) : session().Answer(id_, sent, /*ends=*/true);
  stats().grpc_responses[static_cast<size_t>(code)].Add();
  if (!records_itself()) RecordRpc(path_, code, bytes_in_, bytes_out_);
  ForgetPending();
  if (!has_end_) connection_.StopReceiving(id_);
  connection_.WantFlush();
}

std::unique_ptr<Http2Stream> MakeGrpcStream(Http2Connection& connection, int32_t id,
                                            const Http2Head& head) {
  if (head.path == GrpcInferStreams::kPath) {
    return std::make_unique<GrpcInferStreams>(connection, id, head);
  }
  if (head.path == GrpcInferStream::kPath) {
    return std::make_unique<GrpcInferStream>(connection, id, head);
  }
  if (head.path == GrpcWatchStream::kPath) {
    return std::make_unique<GrpcWatchStream>(connection, id, head);
  }
  return std::make_unique<GrpcControlStream>(connection, id, head);
}

}  // namespace fastserve
