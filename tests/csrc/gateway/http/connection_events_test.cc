// Streams of server-sent events: as they come, to a client that reads them, slowly or not at all.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/fake_loop.h"

namespace fastserve {
namespace {

const GatewayOptions kTimes = {.idle_timeout = 40 * kSecond, .access_log = true};

// A model that answers once, waits at the gate, then answers again and ends with `end`.
struct Streaming {
  explicit Streaming(Status end = {}) {
    ServableOptions served = Named("m");
    served.caller_runs = false;
    auto model = [gate = gate, end](auto inputs, int64_t rows, auto& outputs) -> Status {
      FS_RETURN_IF_ERROR(Echo(inputs, rows, outputs));
      gate->Pass();
      FS_RETURN_IF_ERROR(Echo(inputs, rows, outputs));
      return end;
    };
    loop.map->Publish(Serve(EchoBackend(model), served));
  }
  ~Streaming() { gate->Open(); }

  // Asks, and drains what came before the gate.
  FakeSocket& Ask(std::string_view fields = "") {
    FakeSocket& socket = loop.Connect();
    socket.Feed(Post("/v2/models/m/generate_stream", R"({"x":[1,2],"id":"7"})", fields));
    EXPECT_TRUE(loop.Iterate());
    gate->AwaitWaiting(1);
    EXPECT_TRUE(loop.was_signalled(10'000));
    loop.gateway->Drain(true);
    return socket;
  }

  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  FakeLoop loop{kTimes};
};

const std::string kEvent =
    "data: {\"id\":\"7\",\"model_name\":\"m\",\"model_version\":\"1\",\"y\":[1.0,2.0]}\n\n";

size_t EventsIn(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(kEvent, at)) != std::string_view::npos; ++at) ++count;
  return count;
}

TEST(ConnectionEvents, EachIsSentAsItComes) {
  Streaming server;
  FakeSocket& socket = server.Ask();
  const std::string first = socket.Take();
  EXPECT_TRUE(first.starts_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")) << first;
  EXPECT_EQ(EventsIn(first), 1u);
  server.gate->Open();
  server.loop.RunUntilIdle();
  const std::string rest = socket.Take();
  EXPECT_EQ(EventsIn(rest), 1u);
  EXPECT_TRUE(rest.ends_with("\r\n0\r\n\r\n"));
  EXPECT_EQ(server.loop.responses(200), 1u);
  // The next request is served on the same connection, and noted as any.
  socket.Feed(Get("/x"));
  EXPECT_EQ(server.loop.controls.size(), 1u);
  const auto records = server.loop.gateway->access_log().Take();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].bytes_out, first.size() + rest.size());
}

TEST(ConnectionEvents, WhoReadsSlowlyGetsThemWhenHeDoes) {
  Streaming server;
  FakeSocket& socket = server.Ask();
  socket.Take();
  socket.connection->PauseWriting();
  server.gate->Open();
  server.loop.RunUntilIdle();
  // All that the model gave is there: the end is sent with it.
  EXPECT_EQ(EventsIn(socket.Take()), 1u);
  socket.connection->ResumeWriting();
  EXPECT_EQ(socket.Take(), "");
  EXPECT_TRUE(socket.is_open());
}

TEST(ConnectionEvents, WhoDoesNotReadIsAborted) {
  Streaming server;
  FakeSocket& socket = server.Ask();
  socket.connection->PauseWriting();
  server.loop.gateway->Sweep(NowNanos() + kTimes.idle_timeout + 1);
  EXPECT_TRUE(socket.is_aborted);
  server.gate->Open();
  socket.Lose();
  server.loop.RunUntilIdle();
  server.loop.ExpectNothingHeld();
}

TEST(ConnectionEvents, WhoReadsAgainInTimeIsNot) {
  Streaming server;
  FakeSocket& socket = server.Ask();
  socket.connection->PauseWriting();
  socket.connection->ResumeWriting();
  server.loop.gateway->Sweep(NowNanos() + kTimes.idle_timeout + 1);
  EXPECT_TRUE(socket.is_open());
}

TEST(ConnectionEvents, WhoLeavesTakesNothingAlong) {
  Streaming server;
  FakeSocket& socket = server.Ask();
  socket.Lose();
  server.gate->Open();
  server.loop.RunUntilIdle();
  server.loop.ExpectNothingHeld();
}

TEST(ConnectionEvents, AnErrorAfterTheFirstIsAnEvent) {
  Streaming server(Internal("it broke"));
  FakeSocket& socket = server.Ask();
  server.gate->Open();
  server.loop.RunUntilIdle();
  const std::string sent = socket.Take();
  EXPECT_TRUE(sent.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_NE(sent.find("data: {\"error\":\"it broke\"}\n\n"), std::string::npos) << sent;
  EXPECT_TRUE(sent.ends_with("0\r\n\r\n"));
}

TEST(ConnectionEvents, WhatJsonCannotSayIsAnEventAndTheStreamGoesOn) {
  FakeLoop loop(kTimes);
  loop.map->Publish(Serve(EchoBackend([](auto inputs, int64_t rows, auto& outputs) -> Status {
                            static const std::array<float, 2> numbers = {NAN, 1};
                            Tensor tensor = inputs[0].tensor;
                            tensor.bytes = std::as_bytes(std::span(numbers));
                            outputs.Add(0, tensor, inputs[0].owner);
                            outputs.EndResponse();
                            return Echo(inputs, rows, outputs);
                          }),
                          Named("m")));
  FakeSocket& socket = loop.Connect();
  socket.Feed(Post("/v2/models/m/generate_stream", R"({"x":[1,2],"id":"7"})"));
  loop.RunUntilIdle();
  const std::string sent = socket.Take();
  EXPECT_NE(sent.find("data: {\"error\":"), std::string::npos) << sent;
  EXPECT_EQ(EventsIn(sent), 1u);
}

TEST(ConnectionEvents, AnErrorBeforeTheFirstIsTheStatus) {
  FakeLoop loop(kTimes);
  loop.map->Publish(
      Serve(EchoBackend([](auto, auto, auto&) { return Internal("it broke"); }), Named("m")));
  FakeSocket& socket = loop.Connect();
  socket.Feed(Post("/v2/models/m/generate_stream", R"({"x":[1,2]})"));
  loop.RunUntilIdle();
  const std::vector<Answer> answers = AnswersOf(socket.Take());
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 500);
}

TEST(ConnectionEvents, ADeadlineWithinAStreamEndsIt) {
  Streaming server;
  FakeSocket& socket = server.Ask("Inference-Timeout-Ms: 60000\r\n");
  socket.Take();
  server.loop.WakeUpAt(NowNanos() + 61 * kSecond);
  const std::string rest = socket.Take();
  EXPECT_NE(rest.find("data: {\"error\":\"the deadline passed"), std::string::npos) << rest;
  EXPECT_TRUE(rest.ends_with("0\r\n\r\n"));
  server.gate->Open();
  server.loop.RunUntilIdle();
  server.loop.ExpectNothingHeld();
  EXPECT_EQ(socket.Take(), "");
}

TEST(ConnectionEvents, WithoutChunksTheConnectionIsTheEnd) {
  Streaming server;
  FakeSocket& socket = server.loop.Connect();
  const std::string body = R"({"x":[1,2],"id":"7"})";
  socket.Feed(StrCat("POST /v2/models/m/generate_stream HTTP/1.0\r\nContent-Length: ", body.size(),
                     "\r\nConnection: keep-alive\r\n\r\n", body));
  server.gate->Open();
  server.loop.RunUntilIdle();
  const std::string sent = socket.Take();
  EXPECT_EQ(sent.find("Transfer-Encoding"), std::string::npos);
  EXPECT_TRUE(sent.ends_with(kEvent + kEvent)) << sent;
  EXPECT_TRUE(socket.is_closed);
}

}  // namespace
}  // namespace fastserve
