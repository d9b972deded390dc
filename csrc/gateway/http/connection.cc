#include "gateway/http/connection.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "gateway/gateway.h"
#include "gateway/http/infer_head.h"
#include "gateway/http/router.h"
#include "gateway/memory/local_client.h"
#include "protocol/kserve_rest.h"

namespace fastserve {
namespace {

// Of the next requests, while one is under way; then the socket is left to fill.
constexpr size_t kPendingBytesMax = 64 << 10;

}  // namespace

Connection::Connection(Gateway& gateway, ConnectionIo& io, Peer peer, Nanos now)
    : gateway_(gateway),
      io_(io),
      peer_(std::move(peer)),
      now_(now),
      deadline_ns_(now),
      opened_ns_(now) {
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
    const State before = state_;
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
      case State::kHttp2:
        step = rest.size();
        http2_->Receive(rest, now_);
        break;
      case State::kLingering:
      case State::kClosed:
        step = rest.size();
        break;
    }
    used += step;
    // HTTP/2 takes its preface itself.
    if (before == State::kHead && state_ == State::kHttp2) step = 1;
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
  if (is_first_head_) {
    if (MayBeHttp2(data)) return 0;
    is_first_head_ = false;
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

bool Connection::MayBeHttp2(std::string_view data) {
  const size_t known = std::min(data.size(), kHttp2Preface.size());
  if (data.substr(0, known) != kHttp2Preface.substr(0, known)) return false;
  if (known == kHttp2Preface.size()) BeginHttp2();
  return true;
}

void Connection::BeginHttp2() {
  Result<std::unique_ptr<Http2Connection>> http2 = Http2Connection::Create(gateway_, *this, now_);
  if (!http2.ok()) return Abort(ConnectionEnd::kError);
  http2_ = *std::move(http2);
  state_ = State::kHttp2;
  head_has_begun_ = false;
  deadline_ns_ = kNever;
}

void Connection::BeginRequest() {
  head_has_begun_ = false;
  gateway_.stats_.requests.Add();
  keep_alive_ = head_.keep_alive;
  is_http10_ = head_.is_http10;
  is_head_request_ = head_.method == "HEAD";
  exchange_ = gateway_.NewExchange();
  exchange_->owner = this;
  exchange_->head_bytes = head_.bytes;
  exchange_->first_byte_ns = first_byte_ns_;
  if (gateway_.cors_.is_on()) exchange_->cors = gateway_.cors_.FieldsFor(head_.Field("origin"));
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
    exchange_->format = route.format;
    exchange_->streams = route.format == InferFormat::kGenerateStream;
    exchange_->notes_end = head_.wants_timing || gateway_.access_log_.enabled();
    if (gateway_.shares_memory()) exchange_->may_share = IsLocalClient(FindPeer(), head_);
  }
  refusal_ = TakeCodings(head_, exchange_);
  if (exchange_->servable) {
    gateway_.BeginTrace(exchange_, head_.method, PathOf(head_.target));
    if (refusal_.status == 0) refusal_ = TakeInferHead(head_, exchange_);
  } else {
    control_ = MakeControlRequest(head_, std::move(exchange_->body));
    control_->may_share = gateway_.options_.regions && IsLocalClient(FindPeer(), head_);
  }
  BeginBody();
}

void Connection::FindServableAgain() {
  if (http2_) return Guarded([this] { http2_->FindServablesAgain(); });
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
  exchange_->CountFailure(status.code());
  Refuse(ConnectionEnd::kLimit, HttpStatusOfBody(status.code()), status.message());
}

void Connection::Dispatch() {
  state_ = State::kBusy;
  ++gateway_.in_flight_;
  deadline_ns_ = kNever;
  exchange_->received_ns = now_;
  exchange_->body_bytes = exchange_->body.bytes().size();
  if (refusal_.status != 0) {
    const HttpError refusal = std::exchange(refusal_, {.status = 0, .message = {}});
    return Fail(Code::kInvalidArgument, refusal.status, refusal.message);
  }
  if (const Status status = exchange_->Decompress(); !status.ok()) {
    return Fail(status.code(), HttpStatusOfBody(status.code()), status.message());
  }
  if (control_ != nullptr) return DispatchControl();
  if (exchange_->map_changes != gateway_.serving_map_->changes()) FindServable();
  const Status status = exchange_->servable
                            ? gateway_.codec_.DecodeRequest(*exchange_, now_)
                            : Unavailable("model '", exchange_->model_asked,
                                          "' was unloaded while the request arrived");
  if (status.ok()) return gateway_.Submit(exchange_, now_);
  Fail(status.code(), HttpStatusOf(status.code()), status.message());
}

void Connection::Fail(Code code, int http_status, std::string_view message) {
  exchange_->CountFailure(code);
  AnswerError(http_status, message);
  DropExchange();
  GoOn();
}

void Connection::DispatchControl() {
  // From here on it belongs to whoever answers it; dropping it is an answer, too.
  std::shared_ptr<ControlRequest> request = std::move(control_);
  request->body = std::move(exchange_->body);
  request->owner = this;
  answering_ = request.get();
  gateway_.host_.OnControl(std::move(request));
}

}  // namespace fastserve
