#include "gateway/http2/grpc_infer_streams.h"

#include "gateway/http2/http2_fixture.h"

namespace fastserve {
namespace {

using proto::Bytes;
using proto::Entry;
using proto::Floats;
using proto::FloatsRequest;
using proto::Varint;

class GrpcInferStreamsTest : public Http2Gateway {
 protected:
  int32_t Begin(Http2Fields more = {}) {
    const int32_t stream =
        client_.Request(GrpcFields(kStreamInfer, std::move(more)), "", /*goes_on=*/true);
    Talk();
    return stream;
  }
  std::vector<std::string> Messages(int32_t stream) {
    return MessagesOf(client_.answers[stream].data);
  }
  static std::string Response(float first, std::string_view id, std::string_view rest = "",
                              std::string_view model = "m") {
    return Bytes(2, Bytes(1, model) + Bytes(2, "1") + (id.empty() ? "" : Bytes(3, id)) +
                        std::string(rest) +
                        Bytes(5, Bytes(1, "y") + Bytes(2, "FP32") + Bytes(3, "\x01\x02")) +
                        Bytes(6, Floats({first, 2})));
  }
  static std::string Final(bool value) {
    return Bytes(4, Entry("triton_final_response", Varint(1, value)));
  }
  // What says that no response follows, and nothing else.
  static std::string Last(std::string_view model) {
    return Bytes(2, Bytes(1, model) + Bytes(2, "1") + Final(true));
  }
  // The model `name` gives n responses.
  void PublishMany(std::string name, int n) {
    loop_.map->Publish(Serve(EchoBackend([n](auto inputs, int64_t, auto& outputs) {
                               for (int i = 0; i < n; ++i) {
                                 outputs.Add(0, inputs[0].tensor, inputs[0].owner);
                                 outputs.EndResponse();
                               }
                               return Status();
                             }),
                             Named(std::move(name), 0)));
  }
  static std::string For(std::string_view model, std::string_view rest = "") {
    return Bytes(1, model) + FloatsRequest().substr(3) + std::string(rest);
  }
};

TEST_F(GrpcInferStreamsTest, HeadComesBeforeTheFirstMessage) {
  const int32_t stream = Begin();
  EXPECT_EQ(client_.answers[stream].Find(":status"), "200");
  client_.End(stream);
  Talk();
  EXPECT_EQ(client_.answers[stream].Find("grpc-status"), "0");
}

TEST_F(GrpcInferStreamsTest, AnswersKeepTheOrder) {
  const int32_t stream = Begin();
  std::vector<std::string> expected;
  for (int i = 0; i < 300; ++i) {  // More than may be in flight.
    const auto first = static_cast<float>(i);
    client_.Send(stream, Grpc(FloatsRequest(first, std::to_string(i))));
    expected.push_back(Response(first, std::to_string(i)));
  }
  client_.End(stream);
  Talk();
  EXPECT_EQ(Messages(stream), expected);
  EXPECT_EQ(client_.answers[stream].Find("grpc-status"), "0");
}

TEST_F(GrpcInferStreamsTest, ASlowModelHoldsBackTheAnswersBehindIt) {
  const auto gate = std::make_shared<Gate>();
  ServableOptions slow = Named("slow");
  slow.caller_runs = false;
  loop_.map->Publish(Serve(GatedBackend(gate), slow));
  const int32_t stream = Begin();
  client_.Send(stream, Grpc(For("slow")) + Grpc(FloatsRequest(7)));
  socket_->Feed(client_.Take());
  for (int i = 0; i < 3; ++i) loop_.Iterate();
  EXPECT_EQ(loop_.gateway->in_flight(), 2u) << "the second one has run, and waits";
  gate->Open();
  Talk();
  EXPECT_EQ(Messages(stream),
            (std::vector<std::string>{Response(1, "", "", "slow"), Response(7, "")}));
  client_.End(stream);
  Talk();
}

TEST_F(GrpcInferStreamsTest, ARequestMayHaveManyResponsesOrNone) {
  PublishMany("many", 1000);
  PublishMany("none", 0);
  const int32_t stream = Begin();
  client_.OpenWindow(0, 1 << 20);
  client_.OpenWindow(stream, 1 << 20);
  client_.Send(stream, Grpc(For("many")) + Grpc(For("none")) + Grpc(FloatsRequest(2)));
  client_.End(stream);
  Talk();
  const std::vector<std::string> messages = Messages(stream);
  ASSERT_EQ(messages.size(), 1001u);
  EXPECT_EQ(messages[0], Response(1, "", "", "many"));
  EXPECT_EQ(messages[1000], Response(2, ""));
}

TEST_F(GrpcInferStreamsTest, TheLastResponseIsMarkedForWhoAsks) {
  PublishMany("two", 2);
  PublishMany("none", 0);
  const std::string asks = Bytes(4, Entry("triton_enable_empty_final_response", Varint(1, 1)));
  const int32_t stream = Begin();
  client_.Send(stream, Grpc(For("two", asks)) + Grpc(For("none", asks)));
  client_.End(stream);
  Talk();
  // An instance that ended only after the loop took its last response has an empty one marked.
  const std::vector<std::string> merged = {Response(1, "", Final(false), "two"),
                                           Response(1, "", Final(true), "two"), Last("none")};
  const std::vector<std::string> apart = {Response(1, "", Final(false), "two"),
                                          Response(1, "", Final(false), "two"), Last("two"),
                                          Last("none")};
  const std::vector<std::string> messages = Messages(stream);
  EXPECT_TRUE(messages == merged || messages == apart) << testing::PrintToString(messages);
}

TEST_F(GrpcInferStreamsTest, AnErrorIsSaidInItsPlaceAndTheStreamGoesOn) {
  const int32_t stream = Begin();
  client_.Send(stream, Grpc("\x0A\x05m") + Grpc(Bytes(1, "m") + Bytes(3, "7")) +
                           Grpc(FloatsRequest(4, "8")));
  Talk();
  const std::vector<std::string> messages = Messages(stream);
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[0], Bytes(1,
                               "request: the message is no protobuf of ModelInferRequest: end "
                               "of buffer exception"));
  EXPECT_EQ(messages[1], Bytes(1, "input 'x' is missing, expected 'x'") +
                             Bytes(2, Bytes(1, "m") + Bytes(2, "1") + Bytes(3, "7")));
  EXPECT_EQ(messages[2], Response(4, "8"));
  client_.End(stream);
  Talk();
  EXPECT_EQ(client_.answers[stream].Find("grpc-status"), "0");
}

TEST_F(GrpcInferStreamsTest, ControlPlaneSaysWhyThereIsNoModel) {
  const int32_t stream = Begin();
  client_.Send(stream, Grpc(Bytes(1, "nobody") + Bytes(3, "7")) + Grpc(FloatsRequest(2)));
  Talk();
  ASSERT_EQ(loop_.controls.size(), 1u);
  const auto asked = std::move(loop_.controls.front());
  loop_.controls.clear();
  EXPECT_EQ(asked->path, kInfer);
  const std::vector<HttpHeader> headers = {{"grpc-status", "5"}, {"grpc-message", "none"}};
  EXPECT_TRUE(asked->Respond(200, "", headers).ok());
  Talk();
  EXPECT_EQ(Messages(stream), (std::vector<std::string>{Bytes(1, "none") + Bytes(2, Bytes(3, "7")),
                                                        Response(2, "")}));
  client_.End(stream);
  Talk();
}

TEST_F(GrpcInferStreamsTest, ADeadlineEndsTheStream) {
  const int32_t stream = Begin({{"grpc-timeout", "1S"}});
  loop_.gateway->Sweep(NowNanos() + 2 * kSecond);
  Talk();
  EXPECT_EQ(client_.answers[stream].Find("grpc-status"), "4");
  EXPECT_EQ(client_.answers[stream].Find("grpc-message"), "the deadline passed");
}

TEST_F(GrpcInferStreamsTest, WhatEndedBehindOneThatIsLateIsNotLateItself) {
  const auto gate = std::make_shared<Gate>();
  ServableOptions slow = Named("slow");
  slow.caller_runs = false;
  loop_.map->Publish(Serve(GatedBackend(gate), slow));
  const int32_t stream = Begin({{"grpc-timeout", "30m"}});
  client_.Send(stream, Grpc(For("slow")) + Grpc(FloatsRequest(7)) + Grpc(FloatsRequest(8)));
  client_.End(stream);
  socket_->Feed(client_.Take());
  for (int i = 0; i < 5; ++i) loop_.Iterate();
  while (loop_.gateway->in_flight() > 0 && loop_.WakeUp()) continue;
  client_.Receive(socket_->Take());
  const std::vector<std::string> messages = Messages(stream);
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_NE(messages[0].find("the deadline passed while the model ran"), std::string::npos);
  EXPECT_EQ(messages[1], Response(7, ""));
  EXPECT_EQ(messages[2], Response(8, ""));
  gate->Open();
}

TEST_F(GrpcInferStreamsTest, AClientThatSaysNothingIsNotLate) {
  const int32_t stream = Begin();
  loop_.gateway->Sweep(NowNanos() + 100 * kSecond);
  client_.Send(stream, Grpc(FloatsRequest(2)));
  client_.End(stream);
  Talk();
  EXPECT_EQ(Messages(stream), std::vector<std::string>{Response(2, "")});
}

TEST_F(GrpcInferStreamsTest, WhoDoesNotReadIsNotServedFurther) {
  loop_.map->Publish(Serve(EchoBackend(), Named("big", 0x8000)));
  const int32_t stream = Begin();
  const std::string request =
      Bytes(1, "big") +
      Bytes(5, Bytes(1, "x") + Bytes(2, "FP32") +
                   Bytes(3, proto::RawVarint(0x8000) + proto::RawVarint(2))) +
      Bytes(7, std::string(size_t{8} * 0x8000, 'v'));
  for (int i = 0; i < 60; ++i) client_.Send(stream, Grpc(request));
  Talk();
  EXPECT_LE(loop_.gateway->in_flight_bytes() + loop_.gateway->memory().in_use_bytes,
            size_t{16} << 20);
  // When it reads, all is answered.
  client_.End(stream);
  for (int i = 0; i < 1000 && !client_.answers[stream].is_closed; ++i) {
    client_.OpenWindow(0, 1 << 20);
    client_.OpenWindow(stream, 1 << 20);
    Talk();
  }
  EXPECT_EQ(Messages(stream).size(), 60u);
  EXPECT_EQ(client_.answers[stream].Find("grpc-status"), "0");
}

TEST_F(GrpcInferStreamsTest, ADrainEndsTheStreamWhenAllIsAnswered) {
  const auto gate = std::make_shared<Gate>();
  ServableOptions slow = Named("slow");
  slow.caller_runs = false;
  loop_.map->Publish(Serve(GatedBackend(gate), slow));
  const int32_t busy = Begin();
  const int32_t idle = Begin();
  client_.Send(busy, Grpc(For("slow")));
  socket_->Feed(client_.Take());
  loop_.Iterate();
  const Nanos now = NowNanos();
  loop_.gateway->BeginDrain(now);
  loop_.gateway->Sweep(now + 2 * kSecond);
  client_.Receive(socket_->Take());
  EXPECT_EQ(client_.answers[idle].Find("grpc-status"), "14");
  EXPECT_FALSE(client_.answers[busy].is_closed);
  gate->Open();
  loop_.RunUntilIdle();
  client_.Receive(socket_->Take());
  EXPECT_EQ(Messages(busy), std::vector<std::string>{Response(1, "", "", "slow")});
  EXPECT_EQ(client_.answers[busy].Find("grpc-message"), "the server is ending");
  EXPECT_TRUE(socket_->is_closed);
}

TEST_F(GrpcInferStreamsTest, WhatNobodyTookDoesNotStayInTheConnectionsWindow) {
  const auto gate = std::make_shared<Gate>();
  ServableOptions slow = Named("slow");
  slow.caller_runs = false;
  loop_.map->Publish(Serve(GatedBackend(gate), slow));
  std::string requests;  // More than are taken at once, and nearly a stream's window.
  while (requests.size() < 900'000) requests += Grpc(For("slow"));
  for (int i = 0; i < 30; ++i) {  // Together more than the connection's window.
    const int32_t stream = client_.Request(GrpcFields(kStreamInfer), "", /*goes_on=*/true);
    client_.Send(stream, requests);
    for (int turn = 0; turn < 20; ++turn) {
      const std::string sent = client_.Take();
      if (!sent.empty()) socket_->Feed(sent);
      while (loop_.Iterate()) continue;
      client_.Receive(socket_->Take());
    }
    client_.Reset(stream);
  }
  gate->Open();
  Talk();
  const int32_t stream = Begin();
  client_.Send(stream, Grpc(FloatsRequest(2)));
  client_.End(stream);
  Talk();
  EXPECT_EQ(Messages(stream), std::vector<std::string>{Response(2, "")});
}

TEST_F(GrpcInferStreamsTest, AResetLetsGoOfAll) {
  const auto gate = std::make_shared<Gate>();
  ServableOptions slow = Named("slow");
  slow.caller_runs = false;
  loop_.map->Publish(Serve(GatedBackend(gate), slow));
  const int32_t stream = Begin();
  for (int i = 0; i < 100; ++i) client_.Send(stream, Grpc(For("slow")));
  socket_->Feed(client_.Take());
  loop_.Iterate();
  client_.Reset(stream);
  socket_->Feed(client_.Take());
  gate->Open();
  loop_.RunUntilIdle();
  EXPECT_EQ(loop_.gateway->in_flight(), 0u);
}

}  // namespace
}  // namespace fastserve
