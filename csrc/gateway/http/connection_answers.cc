// The second half of Connection: what it sends.
#include <algorithm>
#include <utility>

#include "gateway/gateway.h"
#include "gateway/http/connection.h"
#include "protocol/kserve_rest.h"

namespace fastserve {
namespace {

// How long what still comes is read and dropped after a refusal; nginx's lingering_timeout is 5 s.
constexpr Nanos kLinger = 2 * kSecond;
// Overload passes within a batch or two; a client that asks again after a second is welcome.
constexpr uint32_t kRetryAfterSeconds = 1;

bool AsksToRetry(int status) { return status == 429 || status == 503; }

// RFC 9112, 6.3: whatever the fields say, these end with their head. A body would be read as the
// next answer.
bool HasNoBody(int status) { return status == 204 || status == 304; }

}  // namespace

void Connection::AnswerControl(int status, std::string_view body,
                               std::span<const HttpHeader> headers) {
  answering_ = nullptr;
  now_ = NowNanos();  // It may have taken long.
  Http1ResponseHead head;
  head.status = status;
  head.extra = headers;
  Send(head, body, {});
  DropExchange();
}

void Connection::AnswerInference(Nanos now) {
  now_ = now;
  Exchange& exchange = *exchange_;
  ServableStats& stats = exchange.servable->stats();
  EncodedBody& encoded = gateway_.encoded_;
  Status status = std::move(exchange.end);
  if (status.ok()) {
    status = gateway_.codec_.EncodeResponse(exchange, &encoded);
    if (!status.ok()) stats.CountFailure(FailureReason::kInvalid);
  }
  if (!status.ok()) {
    AnswerError(HttpStatusOf(status.code()), status.message());
  } else {
    Http1ResponseHead head;
    head.content_type = encoded.is_binary ? "application/octet-stream" : "application/json";
    if (encoded.is_binary) head.inference_header_length = encoded.json.size();
    Send(head, encoded.json, encoded.tensors);
    stats.request.Record(now - exchange.received_ns);
  }
  encoded.tensors.clear();  // Owners are let go.
  DropExchange();
}

void Connection::AnswerError(int status, std::string_view message) {
  ByteWriter body;
  EncodeError(message, &body);
  Http1ResponseHead head;
  head.status = status;
  head.content_type = "application/json";
  if (AsksToRetry(status)) head.retry_after_s = kRetryAfterSeconds;
  Send(head, body.view(), {});
}

void Connection::Refuse(int status, std::string_view message) {
  keep_alive_ = false;
  state_ = State::kLingering;  // Before Send, which would close.
  deadline_ns_ = now_ + kLinger;
  AnswerError(status, message);
  io_.FinishWriting();
  DropExchange();
}

void Connection::Send(Http1ResponseHead head, std::string_view body,
                      std::span<const OutputPart> tensors) {
  size_t body_bytes = body.size();
  for (const OutputPart& tensor : tensors) body_bytes += tensor.bytes.size();
  head.content_length = body_bytes;
  head.is_http10 = is_http10_;
  head.date = gateway_.DateAt(now_);
  head.keep_alive = keep_alive_ = keep_alive_ && !gateway_.is_draining_;
  // Taken out: a write may run code of the interpreter, which may drop the control request of
  // another connection, which is an answer, too.
  ByteWriter writer = std::move(gateway_.head_writer_);
  writer.Clear();
  AppendHttp1Head(head, &writer);
  std::vector<OutputPart> parts = std::exchange(gateway_.parts_, {});
  parts.push_back({writer.view(), {}});
  if (is_head_request_ || HasNoBody(head.status)) {
    body_bytes = 0;
  } else {
    parts.push_back({body, {}});
    parts.insert(parts.end(), tensors.begin(), tensors.end());
  }
  io_.Write(parts);
  parts.clear();  // Owners are let go.
  const size_t bytes_out = writer.size() + body_bytes;
  gateway_.parts_ = std::move(parts);
  gateway_.head_writer_ = std::move(writer);
  gateway_.stats_.bytes_out.Add(bytes_out);
  gateway_.stats_.responses[static_cast<size_t>(head.status)].Add();
  if (gateway_.access_log_.enabled()) RecordAccess(head.status, bytes_out);
  if (state_ == State::kBusy) EndRequest();
}

void Connection::EndRequest() {
  --gateway_.in_flight_;
  if (!keep_alive_) {
    state_ = State::kClosed;
    deadline_ns_ = now_ + gateway_.options_.idle_timeout;  // For a client that does not read.
    io_.Close();
    return;
  }
  state_ = State::kHead;
  is_head_request_ = false;
  deadline_ns_ = now_ + gateway_.options_.idle_timeout;
}

void Connection::DropExchange() {
  if (exchange_ != nullptr) gateway_.Recycle(std::exchange(exchange_, nullptr));
  control_.reset();
  refusal_.status = 0;
  // Bytes of the next request may have waited; Consume, if we are in it, goes on by itself.
  if (state_ == State::kHead) ConsumePending();
}

void Connection::RecordAccess(int status, size_t bytes_out) {
  AccessRecord record;
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  record.time_ns = time.tv_sec * kSecond + time.tv_nsec;
  record.peer = peer_;
  record.status = status;
  record.bytes_out = bytes_out;
  if (exchange_ != nullptr) {
    const Exchange& exchange = *exchange_;
    record.method = exchange.method;
    record.path = exchange.path;
    record.bytes_in =
        exchange.head_bytes + std::max(exchange.body_bytes, exchange.body.bytes().size());
    record.receive = exchange.received_ns == 0 ? 0 : exchange.received_ns - exchange.first_byte_ns;
    record.total = now_ - exchange.first_byte_ns;
    if (exchange.servable) {
      record.model = exchange.servable->name();
      record.version = exchange.servable->version_text();
      record.id = exchange.id;
    }
    const InferenceRequest& request = exchange.request;
    if (request.computed_ns > 0) {
      record.batch_rows = request.batch_rows;
      record.queue = request.started_ns - request.submitted_ns;
      record.compute = request.computed_ns - request.started_ns;
      record.send = now_ - request.computed_ns;
    }
  }
  gateway_.access_log_.Add(std::move(record));
}

}  // namespace fastserve
