// GrpcWatchStream: grpc.health.v1.Health/Watch: how a service is, said at once and then whenever it
// changes, for as long as the client listens.
//
// The control plane answers as it answers Check, and is asked again each second: so nothing there
// has to know who watches. A server that ends says what is true then, and ends the stream.
//
// Threads: confined to the loop's.
#pragma once

#include <string>
#include <vector>

#include "gateway/http2/grpc_stream.h"

namespace fastserve {

class GrpcWatchStream final : public GrpcStream {
 public:
  static constexpr std::string_view kPath = "/grpc.health.v1.Health/Watch";
  // As fine as the gateway's sweep.
  static constexpr Nanos kAskEvery = kSecond;

  GrpcWatchStream(Http2Connection& connection, int32_t id, const Http2Head& head)
      : GrpcStream(connection, id, head) {}

  void OnTimeout() override;
  void OnDrain() override;
  void DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const override;

 private:
  void OnMessage(BodyReceiver&& message) override;
  void OnLastMessage() override;
  void OnAnswer(Exchange&) override {}
  void OnLate(Exchange&) override {}
  void OnControlAnswer(int status, std::string_view body,
                       std::span<const HttpHeader> headers) override;

  Status Ask();

  std::string asked_;  // The client's message.
  std::string said_;   // The last answer's.
  bool has_said_ = false;
  bool is_ending_ = false;
};

}  // namespace fastserve
