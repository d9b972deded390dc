// The second half of Connection: what it sends.
#include <algorithm>
#include <array>
#include <utility>

#include "gateway/gateway.h"
#include "gateway/http/connection.h"
#include "gateway/http/request_phases.h"
#include "protocol/kserve_rest.h"

namespace fastserve {
namespace {

// How long what still comes is read and dropped after a refusal; nginx's lingering_timeout is 5 s.
constexpr Nanos kLinger = 2 * kSecond;
// Who was told to come back later than this would rather be told that it does not work.
constexpr Nanos kRetryAfterMax = 60 * kSecond;

bool AsksToRetry(int status) { return status == 429 || status == 503; }

// RFC 9112, 6.3: whatever the fields say, these end with their head. A body would be read as the
// next answer.
bool HasNoBody(int status) { return status == 204 || status == 304; }

}  // namespace

uint32_t RetryAfterSeconds(Nanos expected_wait) {
  const Nanos wait = std::clamp(expected_wait, Nanos{1}, kRetryAfterMax);
  return static_cast<uint32_t>((wait + kSecond - 1) / kSecond);
}

void Connection::AnswerControl(ControlRequest&, int status, std::string_view body,
                               std::span<const HttpHeader> headers) {
  answering_ = nullptr;
  now_ = NowNanos();  // It may have taken long.
  Http1ResponseHead head;
  head.status = status;
  head.extra = headers;
  Guarded([&] {
    Send(head, body, {});
    DropExchange();
    GoOn();
  });
}

void Connection::AnswerInference(Exchange&, Nanos now) {
  now_ = now;
  Guarded([this] {
    EncodeAndSend();
    DropExchange();
    GoOn();
  });
}

void Connection::AnswerPart(Exchange&, Nanos now) {
  now_ = now;
  Guarded([this] { SendEvents(); });
}

void Connection::AnswerLate(Exchange&, Nanos now) {
  now_ = now;
  gateway_.stats_.results_dropped.Add();
  Guarded([this] {
    const Status late = MakeStatus(
        Code::kDeadlineExceeded, "the deadline passed while the model ran; its result is dropped");
    if (exchange_->streams) {
      EndEvents(late);
    } else {
      AnswerError(504, late.message());
    }
    gateway_.Abandon(std::exchange(exchange_, nullptr));
    GoOn();
  });
}

void Connection::EncodeAndSend() {
  Exchange& exchange = *exchange_;
  EncodedBody& encoded = gateway_.encoded_;
  Status status = std::move(exchange.end);
  if (exchange.streams) return EndEvents(status);
  if (status.ok()) {
    status = gateway_.codec_.EncodeResponse(exchange, &encoded);
    if (!status.ok()) exchange.CountFailure(status.code());
  }
  if (!status.ok()) {
    AnswerError(HttpStatusOf(status.code()), status.message());
  } else {
    Http1ResponseHead head;
    head.content_type = encoded.is_binary ? "application/octet-stream" : "application/json";
    if (encoded.is_binary) head.inference_header_length = encoded.json.size();
    Send(head, encoded.json, encoded.tensors);
    exchange.CountAnswer();
  }
  encoded.tensors.clear();  // Owners are let go.
}

void Connection::SendEvents() {
  Exchange& exchange = *exchange_;
  if (writing_paused_ || exchange.ready.empty()) return;
  ByteWriter events;
  gateway_.codec_.EncodeEvents(exchange, &events);
  WriteEvents(events.view(), /*is_last=*/false);
}

void Connection::EndEvents(const Status& status) {
  Exchange& exchange = *exchange_;
  if (!status.ok() && !has_sent_events_ && exchange.ready.empty()) {
    return AnswerError(HttpStatusOf(status.code()), status.message());
  }
  ByteWriter events;
  gateway_.codec_.EncodeLastEvents(exchange, status, &events);
  WriteEvents(events.view(), /*is_last=*/true);
}

void Connection::WriteEvents(std::string_view events, bool is_last) {
  ByteWriter text;
  if (!std::exchange(has_sent_events_, true)) {
    constexpr std::array kFields = {HttpHeader{"Cache-Control", "no-cache"},
                                    HttpHeader{"X-Accel-Buffering", "no"}};  // nginx holds them.
    Http1ResponseHead head;
    head.content_type = "text/event-stream; charset=utf-8";
    head.chunked = true;
    head.extra = kFields;
    if (is_http10_) keep_alive_ = false;  // Its end is the connection's.
    Complete(&head);
    AppendHttp1Head(head, &text);
  }
  if (is_http10_) {
    text.Append(events);
  } else {
    AppendChunk(events, &text);
    if (is_last) text.Append(kHttp1LastChunk);
  }
  const OutputPart part{text.view(), {}};
  io_.Write({&part, 1});
  gateway_.stats_.bytes_out.Add(text.size());
  event_bytes_ += text.size();
  if (!is_last) return;
  has_sent_events_ = false;
  NoteSent(200, std::exchange(event_bytes_, 0));
}

void Connection::AnswerError(int status, std::string_view message) {
  ByteWriter body;
  EncodeError(message, &body);
  Http1ResponseHead head;
  head.status = status;
  head.content_type = "application/json";
  if (AsksToRetry(status)) head.retry_after_s = RetryAfterSeconds(ExpectedWait());
  Send(head, body.view(), {});
}

Nanos Connection::ExpectedWait() const {
  // Overload of the server as a whole passes within a batch or two.
  return exchange_ != nullptr && exchange_->servable ? exchange_->servable->ExpectedWait() : 0;
}

void Connection::Refuse(ConnectionEnd end, int status, std::string_view message) {
  SetEnd(end);
  keep_alive_ = false;
  state_ = State::kLingering;  // Before Send, which would close.
  deadline_ns_ = now_ + kLinger;
  AnswerError(status, message);
  io_.FinishWriting();
  DropExchange();
}

void Connection::Send(Http1ResponseHead head, std::string_view body,
                      std::span<const OutputPart> tensors) {
  ByteWriter compressed;
  if (exchange_ != nullptr &&
      gateway_.compressor_.CompressBody(exchange_->accepted, body, tensors, &compressed)) {
    head.content_encoding = NameOf(exchange_->accepted.coding);
    body = compressed.view();
    tensors = {};
  }
  size_t body_bytes = body.size();
  for (const OutputPart& tensor : tensors) body_bytes += tensor.bytes.size();
  head.content_length = body_bytes;
  Complete(&head);
  ServerTimingStorage timing_storage;
  HttpHeader timing{"Server-Timing", {}};
  if (exchange_ != nullptr && exchange_->wants_timing) {
    timing.value = FormatServerTiming(PhasesOf(*exchange_, NowNanos()), timing_storage);
    if (!timing.value.empty()) head.extra = {&timing, 1};
  }
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
  NoteSent(head.status, bytes_out);
}

// What every answer has.
void Connection::Complete(Http1ResponseHead* head) {
  head->is_http10 = is_http10_;
  head->date = gateway_.DateAt(now_);
  if (keep_alive_ && gateway_.is_draining_) {
    keep_alive_ = false;
    SetEnd(ConnectionEnd::kDrain);
  }
  const Nanos age = gateway_.options_.connection_age;
  if (keep_alive_ && age > 0 && now_ - opened_ns_ >= age) {
    keep_alive_ = false;
    SetEnd(ConnectionEnd::kAge);
  }
  head->keep_alive = keep_alive_;
  if (exchange_ != nullptr) head->more = exchange_->cors;
}

// The whole answer was handed to the socket.
void Connection::NoteSent(int status, size_t bytes) {
  gateway_.stats_.responses[static_cast<size_t>(status)].Add();
  if (gateway_.records(exchange_)) {
    try {
      RecordAccess(status, bytes);
    } catch (const std::bad_alloc&) {
      gateway_.stats_.access_records_dropped.Add();  // The answer is more than its record.
    }
  }
  if (state_ == State::kBusy) EndRequest();
}

void Connection::EndRequest() {
  // What the scheduler still has is counted until it comes back.
  if (exchange_ == nullptr || !exchange_->is_submitted) --gateway_.in_flight_;
  if (!keep_alive_) return Close(ConnectionEnd::kClient);
  state_ = State::kHead;
  is_head_request_ = false;
  BeginIdling(gateway_.options_.idle_timeout);
}

void Connection::DropExchange() noexcept {
  if (exchange_ != nullptr) gateway_.Recycle(std::exchange(exchange_, nullptr));
  control_.reset();
  refusal_.status = 0;
}

void Connection::GoOn() {
  // Bytes of the next request may have waited; Consume, if we are in it, goes on by itself.
  if (state_ == State::kHead) ConsumePending();
}

void Connection::RecordAccess(int status, size_t bytes_out) {
  gateway_.Record(exchange_, RecordOf(exchange_, peer_.Text(), status, bytes_out));
}

}  // namespace fastserve
