// The RPCs of one request and one answer.
//
// Threads: confined to the loop's.
#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "gateway/http2/grpc_stream.h"

namespace fastserve {

// ModelInfer. What no model is found for goes to the control plane, which knows why.
class GrpcInferStream final : public GrpcStream {
 public:
  static constexpr std::string_view kPath = "/inference.GRPCInferenceService/ModelInfer";

  GrpcInferStream(Http2Connection& connection, int32_t id, const Http2Head& head)
      : GrpcStream(connection, id, head) {}

  void Begin(const Http2Head& head) override;
  void DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const override;

 private:
  bool has_tensors() const override { return true; }
  bool records_itself() const override { return exchange_ != nullptr; }
  void OnMessage(BodyReceiver&& message) override;
  void OnLastMessage() override;
  void OnAnswer(Exchange& exchange) override;
  void OnLate(Exchange& exchange) override;
  void OnControlAnswer(int status, std::string_view body,
                       std::span<const HttpHeader> headers) override;

  Status Decode();
  void Fail(const Status& status);

  OwnedExchange exchange_;
};

// Any other RPC, and those that exist nowhere: the control plane answers, as a control request of
// protocol "grpc" whose answer has grpc-status, and grpc-message (percent-encoded), as headers. Of
// a stream each message is a request of its own, answered in turn.
class GrpcControlStream final : public GrpcStream {
 public:
  GrpcControlStream(Http2Connection& connection, int32_t id, const Http2Head& head);

  void Begin(const Http2Head& head) override;
  void DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const override;

 private:
  bool waits_for_message() const override { return !is_stream_; }
  void OnDrain() override {
    if (is_stream_) Finish(Code::kUnavailable, "the server is ending");
  }
  void OnMessage(BodyReceiver&& message) override;
  void OnLastMessage() override;
  void OnAnswer(Exchange&) override {}
  void OnLate(Exchange&) override {}
  void OnControlAnswer(int status, std::string_view body,
                       std::span<const HttpHeader> headers) override;

  void DispatchNext();

  std::vector<std::pair<std::string, std::string>> metadata_;
  std::deque<BodyReceiver> waiting_;
  bool may_share_ = false;
  const bool is_stream_;
  bool has_all_ = false;
};

// What the control plane is asked.
std::shared_ptr<ControlRequest> MakeRpc(std::string_view path, BodyReceiver&& message);

// How its answer ends the RPC.
struct GrpcControlAnswer {
  Code code = Code::kOk;
  std::string message;
};
GrpcControlAnswer ReadGrpcControlAnswer(int status, std::span<const HttpHeader> headers);

}  // namespace fastserve
