#include "gateway/http2/grpc_infer_streams.h"

#include <algorithm>
#include <utility>

#include "gateway/http2/grpc_calls.h"

namespace fastserve {

void GrpcInferStreams::Begin(const Http2Head& head) {
  errors_end_ = head.Find("triton_grpc_error") == "true";
  may_share_ = options().regions && MayShare(head);
  GrpcStream::Begin(head);
  if (!is_finished()) SendHead();  // Clients wait for it before they say more.
}

bool GrpcInferStreams::can_take() const {
  return !is_draining_ && calls_.size() < kInFlightMax && asked_ == nullptr &&
         session().unsent(id_) < kUnsentMax;
}

void GrpcInferStreams::OnMessage(BodyReceiver&& message) {
  calls_.push_back({NewExchange()});
  Exchange* const exchange = calls_.back().exchange.get();
  exchange->streams = true;
  exchange->may_share = may_share_;
  exchange->body = std::move(message);
  exchange->received_ns = now();
  exchange->first_byte_ns = now();
  exchange->body_bytes = exchange->body.bytes().size();
  if (gateway().access_log().enabled()) {
    exchange->method = "POST";
    exchange->path = path_;
    exchange->notes_end = true;
  }
  Call* const call = &calls_.back();
  if (Status status = Decode(call); !status.ok()) {
    exchange->CountFailure(status.code());
    EndCall(call, std::move(status));
    return SendReady();
  }
  if (exchange->servable) return Submit(exchange);
  asked_ = exchange;
  DispatchControl(MakeRpc(GrpcInferStream::kPath, std::move(exchange->body)));
}

Status GrpcInferStreams::Decode(Call* call) {
  Exchange& exchange = *call->exchange;
  FS_RETURN_IF_ERROR(codec().DecodeMessage(exchange));
  const InferBody& body = codec().body();
  call->wants_final = body.wants_final;
  exchange.id = body.id;
  exchange.servable = FindServable(body.model_name, body.model_version);
  if (!exchange.servable) return {};
  BeginTrace(&exchange, "POST", path_);
  if (rpc_deadline_ns() != kNever) {
    exchange.timeout = std::max<Nanos>(rpc_deadline_ns() - now(), 0);
  }
  return codec().Bind(exchange, now());
}

void GrpcInferStreams::OnLastMessage() {
  has_all_ = true;
  SendReady();
}

GrpcInferStreams::Call* GrpcInferStreams::Find(const Exchange& exchange) {
  const auto found =
      std::ranges::find(calls_, &exchange, [](const Call& call) { return call.exchange.get(); });
  return found == calls_.end() ? nullptr : &*found;
}

void GrpcInferStreams::AnswerPart(Exchange& exchange, Nanos now) {
  connection_.SetNow(now);
  if (!calls_.empty() && calls_.front().exchange.get() == &exchange) {
    Guarded([this] { SendReady(); });
  }
}

void GrpcInferStreams::OnAnswer(Exchange& exchange) {
  EndCall(Find(exchange), std::move(exchange.end));
  SendReady();
}

void GrpcInferStreams::OnLate(Exchange& exchange) {
  Call* const call = Find(exchange);
  // Its result may still come, to nobody: what is said here needs an exchange of its own.
  OwnedExchange stand_in = NewExchange();
  stand_in->id = exchange.id;
  stand_in->servable = exchange.servable;
  stand_in->is_traced = exchange.is_traced;
  stand_in->method = exchange.method;
  stand_in->path = exchange.path;
  stand_in->first_byte_ns = exchange.first_byte_ns;
  stand_in->received_ns = exchange.received_ns;
  stand_in->body_bytes = exchange.body_bytes;
  call->exchange = std::move(stand_in);
  EndCall(call, MakeStatus(Code::kDeadlineExceeded,
                           "the deadline passed while the model ran; its result is dropped"));
  SendReady();
}

void GrpcInferStreams::OnControlAnswer(int status, std::string_view,
                                       std::span<const HttpHeader> headers) {
  const GrpcControlAnswer answer = ReadGrpcControlAnswer(status, headers);
  const Code code = answer.code == Code::kOk ? Code::kInternal : answer.code;
  EndCall(Find(*std::exchange(asked_, nullptr)), MakeStatus(code, answer.message));
  SendReady();
}

void GrpcInferStreams::EndCall(Call* call, Status status) {
  call->has_ended = true;
  call->exchange->end = std::move(status);
}

void GrpcInferStreams::SendReady() {
  while (!calls_.empty() && !is_finished()) {
    Call& call = calls_.front();
    SendResponses(call);
    if (!call.has_ended) break;
    const Code code = call.exchange->end.code();
    SendEnd(call);
    RecordAccess(call.exchange.get(), 200, std::exchange(bytes_out_, 0), code);
    calls_.pop_front();
  }
  if (!calls_.empty()) return;
  if (has_all_) return Finish(Code::kOk, {});
  if (is_draining_) Finish(Code::kUnavailable, "the server is ending");
}

void GrpcInferStreams::OnDrain() {
  is_draining_ = true;
  SendReady();
}

void GrpcInferStreams::SendResponses(Call& call) {
  Exchange& exchange = *call.exchange;
  EncodedMessage& answer = message();
  const EncodedMessageScope scope(answer);
  while (!exchange.ready.empty()) {
    StreamedResponses::Response response = std::move(exchange.ready.front());
    exchange.ready.pop_front();
    exchange.shared.Place(response);
    GrpcEnvelope envelope{.in_stream = true};
    if (call.wants_final) {
      call.has_sent_final = call.has_ended && exchange.end.ok() && exchange.ready.empty();
      envelope.is_final = call.has_sent_final;
    }
    const Status status = codec().EncodeMessage(exchange, response, envelope, &answer);
    if (!status.ok()) {
      EndCall(&call, status);
      return exchange.ready.clear();
    }
    SendMessage(answer);
  }
}

void GrpcInferStreams::SendEnd(Call& call) {
  Exchange& exchange = *call.exchange;
  EncodedMessage& answer = message();
  const EncodedMessageScope scope(answer);
  if (exchange.end.ok()) {
    if (exchange.servable && exchange.responses > 0) exchange.CountAnswer();
    if (!call.wants_final || call.has_sent_final) return;
    const GrpcEnvelope envelope{.in_stream = true, .is_final = true};
    if (codec().EncodeMessage(exchange, {}, envelope, &answer).ok()) SendMessage(answer);
    return;
  }
  if (errors_end_) return Finish(exchange.end);
  InferResult result{.model_name = {}, .model_version = {}, .id = exchange.id};
  if (exchange.servable) {
    result.model_name = exchange.servable->name();
    result.model_version = exchange.servable->version_text();
  }
  EncodeGrpcStreamError(exchange.end.message(), result, &answer.text);
  SendMessage(answer);
}

void GrpcInferStreams::OnSent() {
  if (can_take()) TakePending();
}

void GrpcInferStreams::DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const {
  for (const Call& call : calls_) out->push_back(Describe(call.exchange.get(), now));
}

}  // namespace fastserve
