// GrpcInferStreams: ModelStreamInfer: many requests and their responses on one stream.
//
// Answers keep the order of their requests, whatever order the models take. What goes wrong with a
// request is said in its place (error_message), and the stream goes on, unless the client asked by
// Triton's metadata triton_grpc_error for its end, which has a code. What a client may send
// beyond kInFlightMax requests, or while it does not read its answers, waits in the stream's
// window.
//
// Threads: confined to the loop's.
#pragma once

#include <deque>

#include "gateway/http2/grpc_stream.h"

namespace fastserve {

class GrpcInferStreams final : public GrpcStream {
 public:
  static constexpr std::string_view kPath = "/inference.GRPCInferenceService/ModelStreamInfer";
  static constexpr size_t kInFlightMax = 64;
  // Of answers that the client does not take.
  static constexpr size_t kUnsentMax = 4 << 20;

  GrpcInferStreams(Http2Connection& connection, int32_t id, const Http2Head& head)
      : GrpcStream(connection, id, head) {}

  void Begin(const Http2Head& head) override;
  void OnDrain() override;
  void OnSent() override;
  void DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const override;

 private:
  // One request: with the scheduler, or ended.
  struct Call {
    OwnedExchange exchange;
    bool wants_final = false;
    bool has_ended = false;
    bool has_sent_final = false;
  };

  bool has_tensors() const override { return true; }
  bool can_take() const override;
  bool waits_for_message() const override { return false; }
  bool records_itself() const override { return messages_ > 0; }
  void OnMessage(BodyReceiver&& message) override;
  void OnLastMessage() override;
  void AnswerPart(Exchange& exchange, Nanos now) override;
  void OnAnswer(Exchange& exchange) override;
  void OnLate(Exchange& exchange) override;
  void OnControlAnswer(int status, std::string_view body,
                       std::span<const HttpHeader> headers) override;

  Status Decode(Call* call);
  Call* Find(const Exchange& exchange);
  void EndCall(Call* call, Status status);
  // Sends what is there of the first call, and then of the next.
  void SendReady();
  void SendResponses(Call& call);
  void SendEnd(Call& call);

  std::deque<Call> calls_;
  Exchange* asked_ = nullptr;  // Of a model that is not served: the control plane is asked why.
  bool may_share_ = false;
  bool has_all_ = false;
  bool errors_end_ = false;
  bool is_draining_ = false;
};

}  // namespace fastserve
