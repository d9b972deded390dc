#include "gateway/http2/http2_stream.h"

#include <new>
#include <utility>

#include "gateway/http2/grpc_stream.h"
#include "gateway/http2/rest_stream.h"
#include "protocol/grpc/grpc_framing.h"

namespace fastserve {

Http2Stream::Http2Stream(Http2Connection& connection, int32_t id)
    : connection_(connection), id_(id), first_byte_ns_(connection.now()) {}

Http2Stream::~Http2Stream() {
  if (answering_ != nullptr) std::exchange(answering_, nullptr)->owner = nullptr;
  EndControl();
}

Http2Stream::OwnedExchange Http2Stream::NewExchange() {
  OwnedExchange exchange(gateway().NewExchange(), ExchangeDeleter{this});
  exchange->owner = this;
  exchange->first_byte_ns = first_byte_ns_;
  return exchange;
}

void Http2Stream::Submit(Exchange* exchange) {
  exchange->is_in_flight = true;
  ++gateway().in_flight_;
  gateway().Submit(exchange, now());
}

void Http2Stream::LetGo(Exchange* exchange) noexcept {
  if (exchange->is_submitted) return gateway().Abandon(exchange);  // Counted until it comes back.
  if (exchange->is_in_flight) --gateway().in_flight_;
  gateway().Recycle(exchange);
}

void Http2Stream::RecordAccess(const Exchange* exchange, int status, size_t bytes_out,
                               std::optional<Code> grpc_code) {
  if (!gateway().records(exchange)) return;
  try {
    std::string peer = gateway().access_log().enabled() ? FindPeer().Text() : std::string();
    AccessRecord record = RecordOf(exchange, std::move(peer), status, bytes_out);
    record.grpc_code = grpc_code;
    gateway().Record(exchange, std::move(record));
  } catch (const std::bad_alloc&) {
    stats().access_records_dropped.Add();  // The answer is more than its record.
  }
}

void Http2Stream::RecordRpc(std::string_view path, Code code, size_t bytes_in, size_t bytes_out) {
  if (!gateway().records(nullptr)) return;
  try {
    AccessRecord record = RecordOf(nullptr, FindPeer().Text(), 200, bytes_out);
    record.grpc_code = code;
    record.method = "POST";
    record.path = path;
    record.bytes_in = bytes_in;
    record.total = NowNanos() - first_byte_ns_;
    gateway().Record(nullptr, std::move(record));
  } catch (const std::bad_alloc&) {
    stats().access_records_dropped.Add();  // The answer is more than its record.
  }
}

void Http2Stream::DispatchControl(std::shared_ptr<ControlRequest> request) {
  request->owner = this;
  answering_ = request.get();
  has_control_ = true;
  ++gateway().in_flight_;
  gateway().host_.OnControl(std::move(request));
}

void Http2Stream::AnswerInference(Exchange& exchange, Nanos now) {
  connection_.SetNow(now);
  Guarded([&] { OnAnswer(exchange); });
}

void Http2Stream::AnswerLate(Exchange& exchange, Nanos now) {
  connection_.SetNow(now);
  gateway().deadlines_.Remove(&exchange);  // Also if memory is lacking to say so: once is enough.
  stats().results_dropped.Add();
  Guarded([&] { OnLate(exchange); });
}

void Http2Stream::AnswerControl(ControlRequest&, int status, std::string_view body,
                                std::span<const HttpHeader> headers) {
  connection_.SetNow(NowNanos());  // It may have taken long.
  EndControl();
  Guarded([&] { OnControlAnswer(status, body, headers); });
}

void Http2Stream::EndControl() noexcept {
  answering_ = nullptr;
  if (std::exchange(has_control_, false)) --gateway().in_flight_;
}

InFlightRequest Http2Stream::Describe(const Exchange* exchange, Nanos now) const {
  InFlightRequest described;
  described.peer = FindPeer().Text();
  described.age = now - first_byte_ns_;
  described.phase = answering_ != nullptr ? "control" : "receive";
  if (exchange == nullptr) return described;
  if (exchange->servable) {
    described.model = exchange->servable->name();
    described.version = exchange->servable->version_text();
    described.id = exchange->id;
  }
  if (exchange->is_submitted) described.phase = "model";
  described.deadline_ns = gateway().deadlines_.DeadlineOf(*exchange);
  described.body_bytes =
      exchange->is_submitted ? exchange->body_bytes : exchange->body.bytes().size();
  return described;
}

std::unique_ptr<Http2Stream> MakeHttp2Stream(Http2Connection& connection, int32_t id,
                                             const Http2Head& head) {
  std::unique_ptr<Http2Stream> stream;
  if (head.method == "POST" && IsGrpcContentType(head.Find("content-type"))) {
    stream = MakeGrpcStream(connection, id, head);
  } else {
    stream = std::make_unique<RestStream>(connection, id);
  }
  stream->Begin(head);
  return stream;
}

}  // namespace fastserve
