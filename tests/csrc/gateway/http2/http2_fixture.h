// A gateway with the model "m", and a client over HTTP/2.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "gateway/fake_loop.h"
#include "protocol/grpc/grpc_framing.h"
#include "protocol/grpc/proto_text.h"
#include "protocol/http2/http2_client.h"

namespace fastserve {

inline std::string Grpc(std::string_view message) {
  const auto prefix = FormatGrpcPrefix({.length = static_cast<uint32_t>(message.size())});
  return std::string(prefix.data(), prefix.size()) + std::string(message);
}
// The messages of an answer, without their prefixes.
inline std::vector<std::string> MessagesOf(std::string_view data) {
  std::vector<std::string> messages;
  while (!data.empty()) {
    if (data.size() < kGrpcPrefixBytes) {
      ADD_FAILURE() << "no prefix: " << data;
      break;
    }
    const size_t length = ParseGrpcPrefix(data)->length;
    EXPECT_LE(length, data.size() - kGrpcPrefixBytes);
    messages.emplace_back(data.substr(kGrpcPrefixBytes, length));
    data.remove_prefix(kGrpcPrefixBytes + messages.back().size());
  }
  return messages;
}

inline Http2Fields GrpcFields(std::string_view path, Http2Fields more = {}) {
  more.insert(more.begin(), {{"content-type", "application/grpc"}, {"te", "trailers"}});
  return PostFields(path, more);
}

class Http2Gateway : public testing::Test {
 protected:
  static constexpr std::string_view kInfer = "/inference.GRPCInferenceService/ModelInfer";
  static constexpr std::string_view kStreamInfer =
      "/inference.GRPCInferenceService/ModelStreamInfer";

  explicit Http2Gateway(const GatewayOptions& options = {}) : loop_(options) {
    loop_.map->Publish(Serve(EchoBackend(), Named("m")));
    socket_ = &loop_.Connect();
  }
  ~Http2Gateway() override {
    if (!socket_->is_lost) socket_->Lose();
    loop_.controls.clear();
    loop_.RunUntilIdle();
    loop_.ExpectNothingHeld();
  }

  // Both sides, until neither has more to say; models run.
  void Talk() {
    for (bool is_quiet = false; !is_quiet && socket_->is_open();) {
      const std::string sent = client_.Take();
      if (!sent.empty()) socket_->Feed(sent);
      loop_.RunUntilIdle();
      const std::string answered = socket_->Take();
      client_.Receive(answered);
      is_quiet = sent.empty() && answered.empty();
    }
  }
  const Http2Answer& Ask(const Http2Fields& fields, std::string_view body = "") {
    const int32_t stream = client_.Request(fields, body);
    Talk();
    return client_.answers[stream];
  }
  const Http2Answer& Infer(std::string_view message, Http2Fields more = {}) {
    return Ask(GrpcFields(kInfer, std::move(more)), Grpc(message));
  }

  FakeLoop loop_;
  FakeSocket* socket_;
  Http2Client client_;
};

}  // namespace fastserve
