#include "gateway/http/connection.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "gateway/gateway.h"
#include "gateway/http/router.h"
#include "protocol/kserve_rest.h"

namespace fastserve {
namespace {

// Of the next requests, while one is under way; then the socket is left to fill.
constexpr size_t kPendingBytesMax = 64 << 10;
// Of a field's value, in messages.
constexpr size_t kShownBytes = 40;

}  // namespace

Connection::Connection(Gateway& gateway, ConnectionIo& io, Peer peer, Nanos now)
    : gateway_(gateway), io_(io), peer_(std::move(peer)), now_(now), deadline_ns_(now) {
  if (peer_.is_client()) verdict_ = gateway_.clients_.Enter(peer_.address);
  gateway_.connections_.Add(this);
  gateway_.stats_.connections_opened.Add();
  BeginIdling(gateway_.options_.head_timeout);
  Guarded([this] { RefuseIfTooMany(); });
}

void Connection::RefuseIfTooMany() {
  const GatewayOptions& options = gateway_.options_;
  const bool is_refused = verdict_ == ClientCounts::Verdict::kRefused;
  if (is_refused || verdict_ == ClientCounts::Verdict::kIgnored) {
    gateway_.stats_.rejected_per_client.Add();
    // Telling is polite; but those who are being told hold connections, too.
    if (!is_refused) return Abort(ConnectionEnd::kLimit);
    Refuse(ConnectionEnd::kLimit, 429,
           StrCat("you have your ", options.connections_per_client_max,
                  " connections already, try again later"));
  } else if (gateway_.connections_.size() > options.connections_max) {
    Refuse(ConnectionEnd::kLimit, 503,
           StrCat("the server has its ", options.connections_max,
                  " connections already, try again later"));
  }
}

Connection::~Connection() { Lost(); }

std::span<std::byte> Connection::GetBuffer() {
  reads_into_body_ = state_ == State::kBody;
  return reads_into_body_ ? exchange_->body.Tail() : gateway_.shared_buffer();
}

size_t Connection::buffer_bytes() const {
  if (!reads_into_body_) return Gateway::kSharedBufferBytes;
  return state_ == State::kBody ? exchange_->body.Tail().size() : 0;
}

void Connection::BufferUpdated(size_t bytes) {
  now_ = NowNanos();
  gateway_.stats_.bytes_in.Add(bytes);
  Guarded([this, bytes] { TakeReceived(bytes); });
}

void Connection::TakeReceived(size_t bytes) {
  // Not the state but the buffer that was given out decides: an answer may have come in between
  // and have begun the next request.
  if (reads_into_body_) {
    reads_into_body_ = false;
    if (state_ != State::kBody) return;  // Refused meanwhile.
    exchange_->body.Received(bytes);
    deadline_ns_ = now_ + gateway_.options_.body_timeout;
    if (exchange_->body.complete()) Dispatch();
    return;
  }
  const std::string_view data(reinterpret_cast<const char*>(gateway_.shared_buffer().data()),
                              bytes);
  if (pending_.empty()) {
    pending_.append(data.substr(Consume(data)));
  } else {
    pending_.append(data);
    ConsumePending();
  }
  LimitPending();
}

size_t Connection::Consume(std::string_view data) {
  consuming_ = true;
  size_t used = 0;
  size_t step = 1;
  while (step > 0 && used < data.size()) {
    const std::string_view rest = data.substr(used);
    switch (state_) {
      case State::kHead:
        step = writing_paused_ ? 0 : ConsumeHead(rest);
        break;
      case State::kBody:
        step = ConsumeBody(rest);
        break;
      case State::kChunks:
        step = ConsumeChunks(rest);
        break;
      case State::kBusy:
        step = 0;
        break;
      case State::kLingering:
      case State::kClosed:
        step = rest.size();
        break;
    }
    used += step;
  }
  consuming_ = false;
  return used;
}

void Connection::ConsumePending() {
  if (consuming_ || pending_.empty()) return;
  pending_.erase(0, Consume(pending_));
  LimitPending();
}

void Connection::LimitPending() {
  const bool is_full = pending_.size() >= kPendingBytesMax;
  if (is_full == reading_paused_ || state_ == State::kClosed) return;
  reading_paused_ = is_full;
  is_full ? io_.PauseReading() : io_.ResumeReading();
}

size_t Connection::ConsumeHead(std::string_view data) {
  if (!head_has_begun_) {
    head_has_begun_ = true;
    first_byte_ns_ = now_;
    deadline_ns_ = now_ + gateway_.options_.head_timeout;
  }
  switch (head_reader_.Read(data, &head_)) {
    case Http1Progress::kNeedMore:
      return 0;
    case Http1Progress::kFailed:
      keep_alive_ = false;
      Refuse(ConnectionEnd::kProtocolError, head_reader_.error().status,
             head_reader_.error().message);
      return data.size();
    case Http1Progress::kDone:
      break;
  }
  const size_t used = head_.bytes;
  BeginRequest();
  return used;
}

void Connection::BeginRequest() {
  head_has_begun_ = false;
  gateway_.stats_.requests.Add();
  keep_alive_ = head_.keep_alive;
  is_http10_ = head_.is_http10;
  is_head_request_ = head_.method == "HEAD";
  exchange_ = gateway_.NewExchange();
  exchange_->connection = this;
  exchange_->head_bytes = head_.bytes;
  exchange_->first_byte_ns = first_byte_ns_;
  if (gateway_.access_log_.enabled()) {
    exchange_->method = head_.method;
    exchange_->path = PathOf(head_.target);
  }
  std::string storage;
  const Route route = FindRoute(head_.method, head_.target, &storage);
  if (route.is_infer) {
    exchange_->map_changes = gateway_.serving_map_->changes();
    exchange_->servable = gateway_.serving_.Find(route.model, route.version);
    exchange_->version_asked = route.version;
    exchange_->inference_header_length = head_.inference_header_length;
    exchange_->wants_timing = head_.wants_timing;
    exchange_->notes_end = head_.wants_timing || gateway_.access_log_.enabled();
  }
  if (!exchange_->servable) {
    BeginControl();
  } else {
    CheckInference();
  }
  BeginBody();
}

void Connection::CheckInference() {
  const std::string_view coding = head_.Field("content-encoding");
  if (!coding.empty() && !EqualsIgnoringCase(coding, "identity")) {
    refusal_ = {415, StrCat("Content-Encoding '", coding.substr(0, kShownBytes),
                            "' is not available, send the body as it is")};
  } else if (!head_.inference_header_is_valid) {
    const std::string_view value = head_.Field("inference-header-content-length");
    refusal_ = {400, StrCat("Inference-Header-Content-Length: expected one number, received '",
                            value.substr(0, kShownBytes), "'")};
  } else if (!head_.inference_timeout_is_valid) {
    const std::string_view value = head_.Field("inference-timeout-ms");
    refusal_ = {
        400, StrCat("Inference-Timeout-Ms: expected one number from 1 to ", kInferenceTimeoutMsMax,
                    ", received '", value.substr(0, kShownBytes), "'")};
  } else if (head_.inference_timeout_ms > 0) {
    exchange_->timeout = static_cast<Nanos>(head_.inference_timeout_ms) * kMillisecond;
  }
}

void Connection::FindServableAgain() {
  if (state_ != State::kBody && state_ != State::kChunks) return;
  Guarded([this] { FindServable(); });
}

// The version that the path names now. None: it may come back before the body is there.
void Connection::FindServable() {
  Exchange& exchange = *exchange_;
  if (exchange.servable) exchange.model_asked = exchange.servable->name();
  if (exchange.model_asked.empty()) return;
  exchange.map_changes = gateway_.serving_map_->changes();
  exchange.servable = gateway_.serving_.Find(exchange.model_asked, exchange.version_asked);
}

void Connection::BeginControl() {
  control_ = std::make_shared<ControlRequest>(std::move(exchange_->body));
  control_->method = head_.method;
  control_->target = head_.target;
  control_->query = QueryOf(head_.target);
  if (!PercentDecode(PathOf(head_.target), &control_->path)) control_->path = PathOf(head_.target);
  for (const HttpField& field : head_.fields) {
    control_->headers.emplace_back(field.name, field.value);
  }
}

void Connection::BeginBody() {
  Status status;
  deadline_ns_ = now_ + gateway_.options_.body_timeout;
  switch (head_.body) {
    case HttpBody::kNone:
      Dispatch();
      return;
    case HttpBody::kLength:
      state_ = State::kBody;
      status = exchange_->body.Start(head_.content_length, exchange_->inference_header_length);
      break;
    case HttpBody::kChunked:
      state_ = State::kChunks;
      exchange_->body.StartChunked(exchange_->inference_header_length);
      chunks_.Reset(gateway_.options_.body_bytes_max);
      break;
  }
  if (!status.ok()) {
    RefuseBody(status);
  } else if (head_.expects_continue) {
    const OutputPart part{kHttp1Continue, {}};
    gateway_.stats_.bytes_out.Add(kHttp1Continue.size());
    io_.Write({&part, 1});
  }
}

size_t Connection::ConsumeBody(std::string_view data) {
  const std::span<std::byte> tail = exchange_->body.Tail();
  const size_t used = std::min(tail.size(), data.size());
  std::memcpy(tail.data(), data.data(), used);
  exchange_->body.Received(used);
  if (exchange_->body.complete()) Dispatch();
  return used;
}

size_t Connection::ConsumeChunks(std::string_view data) {
  deadline_ns_ = now_ + gateway_.options_.body_timeout;
  const ChunkedReader::Step step = chunks_.Read(data);
  if (step.progress == Http1Progress::kFailed) {
    const HttpError& error = chunks_.error();
    Refuse(error.status == 413 ? ConnectionEnd::kLimit : ConnectionEnd::kProtocolError,
           error.status, error.message);
    return data.size();
  }
  if (Status status = exchange_->body.Append(step.data); !status.ok()) {
    RefuseBody(status);
    return data.size();
  }
  if (step.progress == Http1Progress::kDone) {
    exchange_->body.FinishChunked();
    Dispatch();
  }
  return step.consumed;
}

void Connection::RefuseBody(const Status& status) {
  CountFailure(status.code());
  // Too large for any request is 413.
  const int http = status.code() == Code::kOutOfRange ? 413 : HttpStatusOf(status.code());
  Refuse(ConnectionEnd::kLimit, http, status.message());
}

void Connection::Dispatch() {
  state_ = State::kBusy;
  ++gateway_.in_flight_;
  deadline_ns_ = kNever;
  exchange_->received_ns = now_;
  exchange_->body_bytes = exchange_->body.bytes().size();
  if (refusal_.status != 0) {
    const HttpError refusal = std::exchange(refusal_, {.status = 0, .message = {}});
    CountFailure(Code::kInvalidArgument);
    AnswerError(refusal.status, refusal.message);
    DropExchange();
    return GoOn();
  }
  if (control_ != nullptr) return DispatchControl();
  if (exchange_->map_changes != gateway_.serving_map_->changes()) FindServable();
  Status status = exchange_->servable ? gateway_.codec_.DecodeRequest(*exchange_, now_)
                                      : Unavailable("model '", exchange_->model_asked,
                                                    "' was unloaded while the request arrived");
  if (status.ok()) return gateway_.Submit(exchange_, now_);
  CountFailure(status.code());
  AnswerError(HttpStatusOf(status.code()), status.message());
  DropExchange();
  GoOn();
}

void Connection::CountFailure(Code code) {
  if (!exchange_->servable) return;
  const bool is_full = code == Code::kUnavailable || code == Code::kResourceExhausted;
  exchange_->servable->stats().CountFailure(is_full ? FailureReason::kRejected
                                                    : FailureReason::kInvalid);
}

void Connection::DispatchControl() {
  // From here on it belongs to whoever answers it; dropping it is an answer, too.
  std::shared_ptr<ControlRequest> request = std::move(control_);
  request->body = std::move(exchange_->body);
  request->connection = this;
  answering_ = request.get();
  gateway_.host_.OnControl(std::move(request));
}

}  // namespace fastserve
