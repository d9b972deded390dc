#include "gateway/http2/grpc_calls.h"

#include "gateway/http2/http2_fixture.h"

namespace fastserve {
namespace {

using proto::Bytes;
using proto::Entry;
using proto::Floats;
using proto::FloatsRequest;
using proto::Varint;

class GrpcCalls : public Http2Gateway {
 protected:
  static void ExpectFloats(const Http2Answer& answer, float first = 1, std::string_view id = "") {
    EXPECT_EQ(answer.Find(":status"), "200");
    EXPECT_EQ(answer.Find("content-type"), "application/grpc");
    EXPECT_EQ(answer.Find("grpc-status"), "0") << answer.Find("grpc-message");
    EXPECT_EQ(
        MessagesOf(answer.data),
        std::vector<std::string>{Bytes(1, "m") + Bytes(2, "1") + (id.empty() ? "" : Bytes(3, id)) +
                                 Bytes(5, Bytes(1, "y") + Bytes(2, "FP32") + Bytes(3, "\x01\x02")) +
                                 Bytes(6, Floats({first, 2}))});
    EXPECT_TRUE(answer.is_closed);
    EXPECT_EQ(answer.error, 0u);
  }
  static void ExpectError(const Http2Answer& answer, Code code, std::string_view message) {
    EXPECT_EQ(answer.Find(":status"), "200");
    EXPECT_EQ(answer.Find("grpc-status"), GrpcCodeText(code));
    EXPECT_EQ(answer.Find("grpc-message"), message);
    EXPECT_EQ(answer.data, "");
    EXPECT_TRUE(answer.is_closed);
  }
};

TEST_F(GrpcCalls, AnInferenceIsAnswered) {
  ExpectFloats(Infer(FloatsRequest(5, "id")), 5, "id");
  EXPECT_EQ(loop_.gateway->stats().grpc_responses[0].value(), 1u);
  EXPECT_EQ(loop_.gateway->stats().http2_connections.value(), 1u);
}

TEST_F(GrpcCalls, ManyAtOnceOnOneConnection) {
  std::vector<int32_t> streams;
  for (int i = 0; i < 50; ++i) {
    const std::string request = Grpc(FloatsRequest(static_cast<float>(i)));
    streams.push_back(client_.Request(GrpcFields(kInfer), request));
  }
  Talk();
  for (int i = 0; i < 50; ++i) {
    ExpectFloats(client_.answers[streams[static_cast<size_t>(i)]], static_cast<float>(i));
  }
}

TEST_F(GrpcCalls, AnswersOfAnIterationAreOneWrite) {
  const ServableHandle quick = Serve(EchoBackend(), Named("quick", 64));
  quick->WarmUp();
  loop_.map->Publish(quick);
  Talk();
  const std::string request = Grpc(Bytes(1, "quick") + FloatsRequest().substr(3));
  for (int i = 0; i < 20; ++i) client_.Request(GrpcFields(kInfer), request);
  const int before = socket_->writes;
  socket_->Feed(client_.Take());
  loop_.RunUntilIdle();
  EXPECT_EQ(socket_->writes, before + 1);
}

TEST_F(GrpcCalls, AMessageMayComeInAnyPieces) {
  const std::string message = Grpc(FloatsRequest(3));
  const int32_t stream = client_.Request(GrpcFields(kInfer), "", /*goes_on=*/true);
  for (const char byte : message) {
    client_.Send(stream, {&byte, 1});
    Talk();
  }
  client_.End(stream);
  Talk();
  ExpectFloats(client_.answers[stream], 3);
}

TEST_F(GrpcCalls, LargeTensorsLieAligned) {
  loop_.map->Publish(Serve(EchoBackend([](auto inputs, int64_t rows, auto& outputs) {
                             const auto* at = inputs[0].tensor.bytes.data();
                             EXPECT_EQ(reinterpret_cast<uintptr_t>(at) % 64, 0u);
                             return Echo(inputs, rows, outputs);
                           }),
                           Named("big", 0x8000)));
  std::string values(size_t{8} * 0x8000, 'v');
  const std::string request =
      Bytes(1, "big") +
      Bytes(5, Bytes(1, "x") + Bytes(2, "FP32") +
                   Bytes(3, proto::RawVarint(0x8000) + proto::RawVarint(2))) +
      Bytes(7, values);
  const int32_t stream = client_.Request(GrpcFields(kInfer), Grpc(request));
  client_.OpenWindow(0, 1 << 20);
  Talk();
  client_.OpenWindow(stream, 1 << 20);
  Talk();
  EXPECT_EQ(client_.answers[stream].Find("grpc-status"), "0");
  EXPECT_TRUE(client_.answers[stream].data.ends_with(values));
}

TEST_F(GrpcCalls, WhatIsWrongIsSaid) {
  ExpectError(Infer("\x0A\x05m"), Code::kInvalidArgument,
              "request: the message is no protobuf of ModelInferRequest: end of buffer exception");
  ExpectError(Infer(Bytes(1, "m")), Code::kInvalidArgument, "input 'x' is missing, expected 'x'");
  ExpectError(Infer(FloatsRequest() + Bytes(6, Bytes(1, "z"))), Code::kInvalidArgument,
              "unknown output 'z', expected 'y'");
  EXPECT_EQ(loop_.gateway->stats().grpc_responses[3].value(), 3u);
  // The connection goes on.
  ExpectFloats(Infer(FloatsRequest()));
}

TEST_F(GrpcCalls, ExactlyOneMessage) {
  ExpectError(Ask(GrpcFields(kInfer), Grpc(FloatsRequest()) + Grpc(FloatsRequest())),
              Code::kUnimplemented, "ModelInfer takes exactly one message");
  ExpectError(Ask(GrpcFields(kInfer)), Code::kInvalidArgument, "the request has no message");
}

TEST_F(GrpcCalls, ControlPlaneSaysWhyThereIsNoModel) {
  const int32_t stream =
      client_.Request(GrpcFields(kInfer), Grpc(Bytes(1, "nobody") + Bytes(3, "7")));
  Talk();
  ASSERT_EQ(loop_.controls.size(), 1u);
  const std::shared_ptr<ControlRequest> asked = std::move(loop_.controls.front());
  loop_.controls.clear();
  EXPECT_TRUE(asked->is_grpc);
  EXPECT_EQ(asked->path, kInfer);
  const auto body = asked->body.bytes();
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(body.data()), body.size()),
            Bytes(1, "nobody") + Bytes(3, "7"));
  const std::vector<HttpHeader> headers = {{"grpc-status", "5"}, {"grpc-message", "no%20such"}};
  EXPECT_TRUE(asked->Respond(200, "", headers).ok());
  Talk();
  ExpectError(client_.answers[stream], Code::kNotFound, "no such");
}

TEST_F(GrpcCalls, OtherRpcsAreControlRequests) {
  const int32_t stream =
      client_.Request(GrpcFields("/a.B/C", {{"key", "value"}}), Grpc("question"));
  Talk();
  ASSERT_EQ(loop_.controls.size(), 1u);
  EXPECT_EQ(loop_.controls[0]->path, "/a.B/C");
  EXPECT_EQ(loop_.controls[0]->headers.back(),
            (std::pair<std::string, std::string>{"key", "value"}));
  EXPECT_TRUE(loop_.controls[0]
                  ->Respond(200, "answer", std::vector<HttpHeader>{{"grpc-status", "0"}})
                  .ok());
  loop_.controls.clear();
  Talk();
  const Http2Answer& answer = client_.answers[stream];
  EXPECT_EQ(MessagesOf(answer.data), std::vector<std::string>{"answer"});
  EXPECT_EQ(answer.Find("grpc-status"), "0");
}

TEST_F(GrpcCalls, ADroppedControlRequestIsAnInternalError) {
  const int32_t stream = client_.Request(GrpcFields("/a.B/C"), Grpc(""));
  Talk();
  loop_.controls.clear();
  Talk();
  ExpectError(client_.answers[stream], Code::kInternal, "");
}

TEST_F(GrpcCalls, MessagesOfAStreamAreAnsweredInTurn) {
  const int32_t stream = client_.Request(
      GrpcFields("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), "", true);
  client_.Send(stream, Grpc("1") + Grpc("2"));
  Talk();
  for (const std::string_view answer : {"a1", "a2"}) {
    ASSERT_EQ(loop_.controls.size(), 1u) << "one at a time";
    const auto asked = std::move(loop_.controls.front());
    loop_.controls.clear();
    EXPECT_TRUE(asked->Respond(200, answer, {}).ok());
    Talk();
  }
  EXPECT_EQ(MessagesOf(client_.answers[stream].data), (std::vector<std::string>{"a1", "a2"}));
  EXPECT_FALSE(client_.answers[stream].is_closed);
  client_.End(stream);
  Talk();
  EXPECT_EQ(client_.answers[stream].Find("grpc-status"), "0");
}

TEST_F(GrpcCalls, ADeadlineThatPassesWhileTheModelRuns) {
  const auto gate = std::make_shared<Gate>();
  ServableOptions slow = Named("slow");
  slow.caller_runs = false;
  loop_.map->Publish(Serve(GatedBackend(gate), slow));
  const std::string request = Bytes(1, "slow") + FloatsRequest().substr(3);
  const int32_t stream =
      client_.Request(GrpcFields(kInfer, {{"grpc-timeout", "20m"}}), Grpc(request));
  socket_->Feed(client_.Take());
  loop_.Iterate();
  ASSERT_TRUE(loop_.WakeUp());
  client_.Receive(socket_->Take());
  ExpectError(client_.answers[stream], Code::kDeadlineExceeded,
              "the deadline passed while the model ran; its result is dropped");
  gate->Open();
}

TEST_F(GrpcCalls, AClientThatResetsFreesItsPlace) {
  const auto gate = std::make_shared<Gate>();
  ServableOptions slow = Named("slow");
  slow.caller_runs = false;
  const ServableHandle servable = Serve(GatedBackend(gate), slow);
  loop_.map->Publish(servable);
  const std::string request = Bytes(1, "slow") + FloatsRequest().substr(3);
  const int32_t first = client_.Request(GrpcFields(kInfer), Grpc(request));
  socket_->Feed(client_.Take());
  loop_.Iterate();
  const int32_t second = client_.Request(GrpcFields(kInfer), Grpc(request));
  socket_->Feed(client_.Take());
  loop_.Iterate();
  client_.Reset(second);
  client_.Reset(first);
  socket_->Feed(client_.Take());
  loop_.Iterate();
  EXPECT_EQ(servable->queue_depth(), 0u);
  gate->Open();
  loop_.RunUntilIdle();
  EXPECT_EQ(loop_.gateway->in_flight(), 0u);
}

TEST_F(GrpcCalls, DebugTellsOfEachRequest) {
  client_.Request(GrpcFields("/a.B/C"), Grpc(""));
  client_.Request(GrpcFields(kInfer), "", /*goes_on=*/true);
  Talk();
  const DebugSnapshot debug = loop_.gateway->Debug(10, NowNanos());
  ASSERT_EQ(debug.in_flight.size(), 2u);
  EXPECT_EQ(debug.in_flight[0].phase, "control");
  EXPECT_EQ(debug.in_flight[1].phase, "receive");
  EXPECT_EQ(debug.in_flight[0].peer, "192.0.2.1:5");
  loop_.controls.clear();
}

TEST(ReadGrpcControlAnswer, OfAnswersThatWereMadeForHttp) {
  EXPECT_EQ(ReadGrpcControlAnswer(200, {}).code, Code::kOk);
  EXPECT_EQ(ReadGrpcControlAnswer(404, {}).code, Code::kUnimplemented);
  EXPECT_EQ(ReadGrpcControlAnswer(503, {}).code, Code::kUnavailable);
  EXPECT_EQ(ReadGrpcControlAnswer(500, {}).code, Code::kInternal);
  const std::vector<HttpHeader> wrong = {{"grpc-status", "99"}, {"grpc-message", "%zz"}};
  EXPECT_EQ(ReadGrpcControlAnswer(200, wrong).code, Code::kUnknown);
  EXPECT_EQ(ReadGrpcControlAnswer(200, wrong).message, "%zz");
}

}  // namespace
}  // namespace fastserve
