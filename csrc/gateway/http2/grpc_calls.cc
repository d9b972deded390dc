#include "gateway/http2/grpc_calls.h"

#include <charconv>
#include <utility>

#include "protocol/http1.h"
#include "protocol/kserve_rest.h"

namespace fastserve {
namespace {

// Messages of a stream that wait for their turn.
constexpr size_t kWaitingMax = 16;

bool IsStream(std::string_view path) { return path.starts_with("/grpc.reflection."); }

// Of an answer that says nothing of gRPC: it was made for HTTP.
Code CodeOfHttp(int status) {
  switch (status) {
    case 200:
      return Code::kOk;
    case 404:
      return Code::kUnimplemented;
    case 429:
    case 503:
      return Code::kUnavailable;
    default:
      return Code::kInternal;
  }
}

Status TooMany(std::string_view path) {
  return Unimplemented(path.substr(path.rfind('/') + 1), " takes exactly one message");
}

}  // namespace

std::shared_ptr<ControlRequest> MakeRpc(std::string_view path, BodyReceiver&& message) {
  auto control = std::make_shared<ControlRequest>(std::move(message));
  control->is_grpc = true;
  control->method = "POST";
  control->path = path;
  control->target = path;
  return control;
}

GrpcControlAnswer ReadGrpcControlAnswer(int status, std::span<const HttpHeader> headers) {
  GrpcControlAnswer answer{.code = CodeOfHttp(status), .message = {}};
  for (const HttpHeader& field : headers) {
    if (field.name == "grpc-status") {
      int code = 0;
      std::from_chars(field.value.data(), field.value.data() + field.value.size(), code);
      const bool exists = code >= 0 && code <= static_cast<int>(Code::kUnauthenticated);
      answer.code = exists ? static_cast<Code>(code) : Code::kUnknown;
    } else if (field.name == "grpc-message") {
      const bool is_encoded = PercentDecode(field.value, &answer.message);
      if (!is_encoded) answer.message = field.value;
    }
  }
  return answer;
}

// -- ModelInfer ----------------------------------------------------------------------------------

void GrpcInferStream::Begin(const Http2Head& head) {
  exchange_ = NewExchange();
  exchange_->head_bytes = head.bytes;
  exchange_->notes_end = gateway().access_log().enabled();
  if (gateway().shares_memory()) exchange_->may_share = MayShare(head);
  if (gateway().access_log().enabled()) {
    exchange_->method = head.method;
    exchange_->path = head.path;
  }
  GrpcStream::Begin(head);
}

void GrpcInferStream::OnMessage(BodyReceiver&& message) {
  if (messages_ > 1) return Fail(TooMany(path_));
  exchange_->body = std::move(message);
}

void GrpcInferStream::OnLastMessage() {
  if (messages_ == 0) return Fail(InvalidArgument("the request has no message"));
  exchange_->received_ns = now();
  exchange_->body_bytes = exchange_->body.bytes().size();
  if (const Status status = Decode(); !status.ok()) return Fail(status);
  if (!exchange_->servable) {
    return DispatchControl(MakeRpc(path_, std::move(exchange_->body)));
  }
  Submit(exchange_.get());
}

Status GrpcInferStream::Decode() {
  FS_RETURN_IF_ERROR(codec().DecodeMessage(*exchange_));
  const InferBody& body = codec().body();
  exchange_->servable = FindServable(body.model_name, body.model_version);
  if (!exchange_->servable) return {};
  BeginTrace(exchange_.get(), "POST", path_);
  if (rpc_deadline_ns() != kNever) {
    if (rpc_deadline_ns() <= now()) {
      return MakeStatus(Code::kDeadlineExceeded,
                        "the deadline passed before the request was there");
    }
    exchange_->timeout = rpc_deadline_ns() - now();
  }
  return codec().Bind(*exchange_, now());
}

void GrpcInferStream::OnAnswer(Exchange& exchange) {
  Status status = std::move(exchange.end);
  EncodedMessage& answer = message();
  const EncodedMessageScope scope(answer);
  if (status.ok()) {
    status = InferCodec::CheckResponses(exchange);
    if (status.ok()) status = codec().EncodeMessage(exchange, exchange.outputs, {}, &answer);
    if (!status.ok()) exchange.CountFailure(status.code());
  }
  if (!status.ok()) {
    Finish(status);
  } else {
    SendMessage(answer);
    exchange.CountAnswer();
    Finish(Code::kOk, {});
  }
  RecordAccess(&exchange, 200, bytes_out_, end_code());
  exchange_.reset();
}

void GrpcInferStream::OnLate(Exchange& exchange) {
  Finish(Code::kDeadlineExceeded, "the deadline passed while the model ran; its result is dropped");
  RecordAccess(&exchange, 200, 0, end_code());
  exchange_.reset();
}

void GrpcInferStream::OnControlAnswer(int status, std::string_view,
                                      std::span<const HttpHeader> headers) {
  const GrpcControlAnswer answer = ReadGrpcControlAnswer(status, headers);
  // It was asked why there is no such model: there is no good answer to that.
  Finish(answer.code == Code::kOk ? Code::kInternal : answer.code, answer.message);
  RecordAccess(exchange_.get(), 200, 0, end_code());
  exchange_.reset();
}

void GrpcInferStream::Fail(const Status& status) {
  exchange_->CountFailure(status.code());
  Finish(status);
  RecordAccess(exchange_.get(), 200, 0, end_code());
  exchange_.reset();
}

void GrpcInferStream::DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const {
  if (exchange_ != nullptr) out->push_back(Describe(exchange_.get(), now));
}

// -- Everything else -----------------------------------------------------------------------------

GrpcControlStream::GrpcControlStream(Http2Connection& connection, int32_t id, const Http2Head& head)
    : GrpcStream(connection, id, head), is_stream_(IsStream(path_)) {}

void GrpcControlStream::Begin(const Http2Head& head) {
  for (const Http2Field& field : head.fields) metadata_.emplace_back(field.name, field.value);
  may_share_ = options().regions && MayShare(head);
  GrpcStream::Begin(head);
}

void GrpcControlStream::OnMessage(BodyReceiver&& message) {
  if (!is_stream_ && messages_ > 1) return Finish(TooMany(path_));
  if (waiting_.size() == kWaitingMax) {
    return Finish(ResourceExhausted(kWaitingMax, " messages wait for an answer already"));
  }
  waiting_.push_back(std::move(message));
  if (is_stream_) DispatchNext();
}

void GrpcControlStream::OnLastMessage() {
  has_all_ = true;
  if (messages_ == 0 && !is_stream_) return Finish(InvalidArgument("the request has no message"));
  DispatchNext();
}

void GrpcControlStream::DispatchNext() {
  if (answering_ != nullptr || is_finished()) return;
  if (waiting_.empty()) {
    if (has_all_) Finish(Code::kOk, {});
    return;
  }
  auto control = MakeRpc(path_, std::move(waiting_.front()));
  waiting_.pop_front();
  control->headers = metadata_;
  control->may_share = may_share_;
  DispatchControl(std::move(control));
}

void GrpcControlStream::OnControlAnswer(int status, std::string_view body,
                                        std::span<const HttpHeader> headers) {
  if (is_finished()) return;  // Its deadline was faster.
  const GrpcControlAnswer answer = ReadGrpcControlAnswer(status, headers);
  if (answer.code != Code::kOk) return Finish(answer.code, answer.message);
  SendMessage(body);
  DispatchNext();
}

void GrpcControlStream::DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const {
  if (answering_ != nullptr) out->push_back(Describe(nullptr, now));
}

}  // namespace fastserve
