#include "gateway/http2/rest_stream.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "gateway/http/infer_head.h"
#include "gateway/http/request_phases.h"
#include "gateway/http/router.h"
#include "protocol/kserve_rest.h"

namespace fastserve {
namespace {

// Made into the head of HTTP/1.1 that says the same, so that one reader judges both.
std::string Http1HeadOf(const Http2Head& head) {
  std::string text;
  text.reserve(head.bytes);
  text.append(head.method).append(" ").append(head.path).append(" HTTP/1.1\r\n");
  if (!head.authority.empty() || head.Find("host").empty()) {
    text.append("host: ").append(head.authority).append("\r\n");
  }
  for (const Http2Field& field : head.fields) {
    // Of a connection of HTTP/1.1, or said already.
    if (field.name == "te" || field.name == "expect") continue;
    if (field.name == "host" && !head.authority.empty()) continue;
    text.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  return text.append("\r\n");
}

std::string_view Digits(uint64_t value, std::array<char, 20>& storage) {
  const auto end = std::to_chars(storage.data(), storage.data() + storage.size(), value).ptr;
  return {storage.data(), static_cast<size_t>(end - storage.data())};
}

std::string Lower(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

}  // namespace

void RestStream::Begin(const Http2Head& http2_head) {
  stats().requests.Add();
  is_head_request_ = http2_head.method == "HEAD";
  exchange_ = NewExchange();
  exchange_->head_bytes = http2_head.bytes;
  if (http2_head.is_too_large) return AnswerError(431, "the request's head is too large");
  const std::string text = Http1HeadOf(http2_head);
  Http1HeadReader reader({.head_bytes_max = text.size()});
  Http1Head head;
  if (reader.Read(text, &head) != Http1Progress::kDone || head.bytes != text.size()) {
    const bool failed = !reader.error().message.empty();
    return AnswerError(failed ? reader.error().status : 400,
                       failed ? reader.error().message : "the request's head is no head of HTTP");
  }
  if (gateway().access_log().enabled()) {
    exchange_->method = head.method;
    exchange_->path = PathOf(head.target);
  }
  if (cors().is_on()) exchange_->cors = cors().FieldsFor(head.Field("origin"));
  std::string storage;
  const Route route = FindRoute(head.method, head.target, &storage);
  if (route.is_infer) {
    exchange_->map_changes = map_changes();
    exchange_->servable = Http2Stream::FindServable(route.model, route.version);
    exchange_->version_asked = route.version;
    exchange_->model_asked = route.model;
    exchange_->format = route.format;
    exchange_->streams = route.format == InferFormat::kGenerateStream;
    exchange_->notes_end = head.wants_timing || gateway().access_log().enabled();
    if (gateway().shares_memory()) exchange_->may_share = MayShare(http2_head);
  }
  refusal_ = TakeCodings(head, exchange_.get());
  if (exchange_->servable) {
    BeginTrace(exchange_.get(), head.method, PathOf(head.target));
    if (refusal_.status == 0) refusal_ = TakeInferHead(head, exchange_.get());
  } else {
    control_ = MakeControlRequest(head, std::move(exchange_->body));
    control_->may_share = options().regions && MayShare(http2_head);
  }
  deadline_ns_ = now() + options().body_timeout;
  has_length_ = head.body == HttpBody::kLength;
  if (http2_head.ends) return OnEnd();
  BodyReceiver& body = exchange_->body;
  if (!has_length_) return body.StartChunked(exchange_->inference_header_length);
  const Status status = body.Start(head.content_length, exchange_->inference_header_length);
  if (status.ok()) return;
  FailBody(status);
}

void RestStream::FailBody(const Status& status) {
  exchange_->CountFailure(status.code());
  AnswerError(HttpStatusOfBody(status.code()), status.message());
}

size_t RestStream::OnData(std::string_view data) {
  const size_t taken = data.size();
  if (is_answered_ || is_received_) return taken;
  deadline_ns_ = now() + options().body_timeout;
  BodyReceiver& body = exchange_->body;
  if (has_length_) {
    // nghttp2 holds the data against content-length.
    const std::span<std::byte> tail = body.Tail();
    const size_t used = std::min(tail.size(), data.size());
    if (used > 0) std::memcpy(tail.data(), data.data(), used);
    body.Received(used);
    return taken;
  }
  if (const Status status = body.Append(data); !status.ok()) FailBody(status);
  return taken;
}

void RestStream::OnEnd() {
  if (is_answered_ || std::exchange(is_received_, true)) return;
  deadline_ns_ = kNever;
  if (!has_length_) exchange_->body.FinishChunked();
  Dispatch();
}

void RestStream::OnTimeout() { AnswerError(408, "the request's body did not arrive in time"); }

void RestStream::FindServableAgain() {
  if (exchange_ == nullptr || is_received_ || control_ != nullptr) return;
  Exchange& exchange = *exchange_;
  if (exchange.model_asked.empty()) return;
  exchange.map_changes = map_changes();
  exchange.servable = Http2Stream::FindServable(exchange.model_asked, exchange.version_asked);
}

void RestStream::Dispatch() {
  Exchange& exchange = *exchange_;
  exchange.received_ns = now();
  exchange.body_bytes = exchange.body.bytes().size();
  if (refusal_.status != 0) {
    exchange.CountFailure(Code::kInvalidArgument);
    return AnswerError(refusal_.status, refusal_.message);
  }
  if (const Status status = exchange.Decompress(); !status.ok()) return FailBody(status);
  if (control_ != nullptr) {
    control_->body = std::move(exchange.body);
    return DispatchControl(std::move(control_));
  }
  if (exchange.map_changes != map_changes()) {
    exchange.servable = Http2Stream::FindServable(exchange.model_asked, exchange.version_asked);
  }
  Status status = exchange.servable ? codec().DecodeRequest(exchange, now())
                                    : Unavailable("model '", exchange.model_asked,
                                                  "' was unloaded while the request arrived");
  if (status.ok()) return Submit(exchange_.get());
  exchange.CountFailure(status.code());
  AnswerError(HttpStatusOf(status.code()), status.message());
}

void RestStream::OnAnswer(Exchange& exchange) {
  Status status = std::move(exchange.end);
  if (exchange.streams) return EndEvents(status);
  EncodedBody& body = encoded();
  struct LetGo {
    std::vector<OutputPart>& parts;
    ~LetGo() { parts.clear(); }
  } const let_go{body.tensors};
  if (status.ok()) {
    status = codec().EncodeResponse(exchange, &body);
    if (!status.ok()) exchange.CountFailure(status.code());
  }
  if (!status.ok()) return AnswerError(HttpStatusOf(status.code()), status.message());
  Http1ResponseHead head;
  head.content_type = body.is_binary ? "application/octet-stream" : "application/json";
  if (body.is_binary) head.inference_header_length = body.json.size();
  exchange.CountAnswer();
  Send(head, body.json, body.tensors);
}

void RestStream::OnLate(Exchange& exchange) {
  const Status late = MakeStatus(Code::kDeadlineExceeded,
                                 "the deadline passed while the model ran; its result is dropped");
  if (exchange.streams) return EndEvents(late);
  AnswerError(504, late.message());
}

void RestStream::AnswerPart(Exchange&, Nanos now) {
  connection_.SetNow(now);
  Guarded([this] { SendEvents(); });
}

void RestStream::OnSent() {
  if (has_sent_events_ && exchange_ != nullptr) SendEvents();
}

void RestStream::SendEvents() {
  if (exchange_->ready.empty() || session().unsent(id_) >= kUnsentMax) return;
  ByteWriter events;
  codec().EncodeEvents(*exchange_, &events);
  WriteEvents(events.view());
}

void RestStream::EndEvents(const Status& status) {
  Exchange& exchange = *exchange_;
  if (!status.ok() && !has_sent_events_ && exchange.ready.empty()) {
    return AnswerError(HttpStatusOf(status.code()), status.message());
  }
  ByteWriter events;
  codec().EncodeLastEvents(exchange, status, &events);
  WriteEvents(events.view());
  is_answered_ = true;
  session().End(id_);
  stats().responses[200].Add();
  RecordAccess(exchange_.get(), 200, event_bytes_);
  exchange_.reset();
}

void RestStream::WriteEvents(std::string_view events) {
  if (!std::exchange(has_sent_events_, true)) {
    std::vector<Http2Field> fields = {{":status", "200"},
                                      {"content-type", "text/event-stream; charset=utf-8"},
                                      {"date", Date()},
                                      {"cache-control", "no-cache"},
                                      {"x-accel-buffering", "no"}};  // nginx would hold them.
    std::vector<std::string> names;
    names.reserve(exchange_->cors.size());
    for (const HttpHeader& field : exchange_->cors) {
      fields.push_back({names.emplace_back(Lower(field.name)), field.value});
    }
    session().Answer(id_, fields, /*ends=*/false);
  }
  session().Write(id_, events);
  event_bytes_ += events.size();
  connection_.WantFlush();
}

void RestStream::OnControlAnswer(int status, std::string_view body,
                                 std::span<const HttpHeader> headers) {
  Http1ResponseHead head;
  head.status = status;
  head.extra = headers;
  Send(head, body, {});
}

void RestStream::AnswerError(int status, std::string_view message) {
  ByteWriter body;
  EncodeError(message, &body);
  Http1ResponseHead head;
  head.status = status;
  head.content_type = "application/json";
  if (status == 429 || status == 503) {
    const bool knows = exchange_ != nullptr && exchange_->servable;
    head.retry_after_s = RetryAfterSeconds(knows ? exchange_->servable->ExpectedWait() : 0);
  }
  Send(head, body.view(), {});
}

void RestStream::Send(Http1ResponseHead head, std::string_view body,
                      std::span<const OutputPart> tensors) {
  if (std::exchange(is_answered_, true)) return;
  deadline_ns_ = kNever;
  ByteWriter compressed;
  if (exchange_ != nullptr &&
      compressor().CompressBody(exchange_->accepted, body, tensors, &compressed)) {
    head.content_encoding = NameOf(exchange_->accepted.coding);
    body = compressed.view();
    tensors = {};
  }
  size_t bytes = body.size();
  for (const OutputPart& tensor : tensors) bytes += tensor.bytes.size();
  std::array<char, 20> status_text, length_text, header_text, retry_text;
  std::vector<Http2Field> fields;
  std::vector<std::string> names;
  if (exchange_ != nullptr) head.more = exchange_->cors;
  names.reserve(head.extra.size() + head.more.size());
  fields.reserve(10 + names.capacity());
  fields.push_back({":status", Digits(static_cast<uint64_t>(head.status), status_text)});
  if (!head.content_type.empty()) fields.push_back({"content-type", head.content_type});
  fields.push_back({"content-length", Digits(bytes, length_text)});
  fields.push_back({"date", Date()});
  if (!head.content_encoding.empty()) {
    fields.push_back({"content-encoding", head.content_encoding});
    fields.push_back({"vary", "accept-encoding"});
  }
  if (head.inference_header_length) {
    fields.push_back(
        {"inference-header-content-length", Digits(*head.inference_header_length, header_text)});
  }
  if (head.retry_after_s)
    fields.push_back({"retry-after", Digits(*head.retry_after_s, retry_text)});
  ServerTimingStorage timing_storage;
  if (exchange_ != nullptr && exchange_->wants_timing) {
    const std::string_view timing =
        FormatServerTiming(PhasesOf(*exchange_, NowNanos()), timing_storage);
    if (!timing.empty()) fields.push_back({"server-timing", timing});
  }
  for (const std::span<const HttpHeader> given : {head.extra, head.more}) {
    for (const HttpHeader& field : given) {
      fields.push_back({names.emplace_back(Lower(field.name)), field.value});
    }
  }
  const bool has_body = bytes > 0 && !is_head_request_ && head.status != 204 && head.status != 304;
  session().Answer(id_, fields, !has_body);
  if (has_body) {
    session().Write(id_, body);
    for (const OutputPart& tensor : tensors) session().Write(id_, tensor.bytes, tensor.owner);
    session().End(id_);
  }
  stats().responses[static_cast<size_t>(head.status)].Add();
  RecordAccess(exchange_.get(), head.status, has_body ? bytes : 0);
  if (!is_received_) connection_.StopReceiving(id_);
  exchange_.reset();
  connection_.WantFlush();
}

void RestStream::DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const {
  if (exchange_ != nullptr || answering_ != nullptr) out->push_back(Describe(exchange_.get(), now));
}

}  // namespace fastserve
