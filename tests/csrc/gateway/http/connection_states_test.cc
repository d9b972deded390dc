// The states of a connection: their deadlines, their ends, and what is written down of them.
#include <gtest/gtest.h>

#include <string>

#include "gateway/fake_loop.h"

namespace fastserve {
namespace {

const GatewayOptions kTimes = {.head_timeout = 10 * kSecond,
                               .body_timeout = 20 * kSecond,
                               .idle_timeout = 40 * kSecond,
                               .access_log = true};
// What a test does takes less.
constexpr Nanos kMoment = 5 * kSecond;
const std::string kUnfinished = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
const std::string kChunks =
    "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";

// Nothing happens to it a moment before `timeout` has passed; afterwards something may.
void PassDeadline(FakeLoop& loop, FakeSocket& socket, Nanos timeout) {
  const Nanos now = NowNanos();
  loop.gateway->Sweep(now + timeout - kMoment);
  ASSERT_TRUE(socket.is_open());
  ASSERT_EQ(socket.sent, "");
  loop.gateway->Sweep(now + timeout + 1);
}

TEST(ConnectionStates, AConnectionWithoutARequestIsClosed) {
  FakeLoop loop(kTimes);
  FakeSocket& socket = loop.Connect();
  PassDeadline(loop, socket, kTimes.head_timeout);  // A new one must hurry.
  EXPECT_TRUE(socket.is_closed);
  EXPECT_EQ(socket.sent, "");
  FakeSocket& kept = loop.Connect();
  kept.Feed(Get("/x"));
  ASSERT_TRUE(loop.controls.at(0)->Respond(200, "", {}).ok());
  kept.Take();
  PassDeadline(loop, kept, kTimes.idle_timeout);
  EXPECT_TRUE(kept.is_closed);
  EXPECT_FALSE(kept.is_aborted);
  EXPECT_EQ(kept.sent, "");
}

TEST(ConnectionStates, AHeadThatIsTooSlowIsAnsweredThenDroppedThenAborted) {
  FakeLoop loop(kTimes);
  FakeSocket& socket = loop.Connect();
  socket.Feed("GET /x HT");
  PassDeadline(loop, socket, kTimes.head_timeout);
  EXPECT_EQ(AnswersOf(socket.Take()).at(0).status, 408);
  EXPECT_TRUE(socket.is_finished);
  EXPECT_FALSE(socket.is_closed);
  socket.Feed(Get("/y"));
  EXPECT_TRUE(loop.controls.empty());
  loop.gateway->Sweep(NowNanos() + kTimes.head_timeout + 3 * kSecond);
  EXPECT_TRUE(socket.is_aborted);
  loop.ExpectNothingHeld();
}

// Bytes of a head do not give it more time.
TEST(ConnectionStates, AHeadHasItsTimeAsAWhole) {
  FakeLoop loop(kTimes);
  FakeSocket& socket = loop.Connect(NowNanos() - 8 * kSecond);
  socket.Feed("GET ");
  const Nanos begun = NowNanos();
  socket.Feed("/x HT");
  loop.gateway->Sweep(begun + 9 * kSecond);
  EXPECT_TRUE(socket.is_open());
  loop.gateway->Sweep(begun + 11 * kSecond);
  EXPECT_TRUE(socket.is_finished);
}

TEST(ConnectionStates, ABodyThatStallsIsAnswered) {
  for (const std::string& begun : {kUnfinished, kChunks}) {
    FakeLoop loop(kTimes);
    FakeSocket& socket = loop.Connect();
    socket.Feed(begun);
    EXPECT_GT(loop.gateway->in_flight_bytes(), 0u);
    PassDeadline(loop, socket, kTimes.body_timeout);
    EXPECT_EQ(AnswersOf(socket.Take()).at(0).status, 408);
    EXPECT_TRUE(socket.is_finished);
    loop.ExpectNothingHeld();
  }
}

TEST(ConnectionStates, AnAnswerMayTakeAnyTime) {
  FakeLoop loop(kTimes);
  FakeSocket& socket = loop.Connect();
  socket.Feed(Get("/x"));
  loop.gateway->Sweep(NowNanos() + 1'000'000 * kSecond);
  EXPECT_TRUE(socket.is_open());
  ASSERT_TRUE(loop.controls.at(0)->Respond(200, "", {}).ok());
  // The idle time counts from the answer, not from the request.
  loop.gateway->Sweep(NowNanos() + kTimes.idle_timeout - kMoment);
  EXPECT_TRUE(socket.is_open());
}

TEST(ConnectionStates, AClientThatDoesNotReadIsAborted) {
  FakeLoop loop(kTimes);
  FakeSocket& socket = loop.Connect();
  socket.on_write = [&] { socket.connection->PauseWriting(); };
  socket.Feed(Get("/x") + Get("/y"));
  ASSERT_TRUE(std::move(loop.controls.at(0))->Respond(200, "", {}).ok());
  loop.controls.clear();
  socket.Take();
  PassDeadline(loop, socket, kTimes.idle_timeout);
  EXPECT_TRUE(socket.is_aborted);
  // The socket may say this and that before it is lost.
  socket.connection->ResumeWriting();
  EXPECT_TRUE(loop.controls.empty());
  socket.Lose();
  loop.ExpectNothingHeld();
}

// Also when it is refused: such a one is not waited for longer than others.
TEST(ConnectionStates, ARefusedClientThatDoesNotReadIsAbortedSoon) {
  FakeLoop loop(kTimes);
  FakeSocket& socket = loop.Connect();
  socket.on_write = [&] { socket.connection->PauseWriting(); };
  socket.Feed("NONSENSE\r\n\r\n");
  EXPECT_TRUE(socket.is_finished);
  loop.gateway->Sweep(NowNanos() + 3 * kSecond);
  EXPECT_TRUE(socket.is_aborted);
}

TEST(ConnectionStates, TheNextRequestWaitsUntilTheAnswerIsSent) {
  FakeLoop loop(kTimes);
  FakeSocket& socket = loop.Connect();
  bool is_slow = true;
  socket.on_write = [&] {
    if (is_slow) socket.connection->PauseWriting();
  };
  socket.Feed(Get("/x") + Get("/y"));
  ASSERT_TRUE(loop.controls.at(0)->Respond(200, "", {}).ok());
  loop.controls.clear();
  socket.Feed(Get("/z"));
  EXPECT_TRUE(loop.controls.empty());
  is_slow = false;
  socket.connection->ResumeWriting();
  ASSERT_EQ(loop.controls.size(), 1u);
  EXPECT_EQ(loop.controls[0]->path, "/y");
}

// Whatever the pause came between: nothing that waits is forgotten.
TEST(ConnectionStates, AHeadGoesOnWhenTheSocketIsReadyAgain) {
  FakeLoop loop(kTimes);
  FakeSocket& socket = loop.Connect();
  socket.Feed("GET /x HT");
  socket.connection->PauseWriting();
  socket.Feed("TP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(loop.controls.empty());
  socket.connection->ResumeWriting();
  EXPECT_EQ(loop.controls.size(), 1u);
}

// What comes while an answer is under way is kept up to a limit, then the socket is left to fill.
TEST(ConnectionStates, ReadingPausesWhenTooMuchWaits) {
  FakeLoop loop(kTimes);
  FakeSocket& socket = loop.Connect();
  const std::string request = Get("/x");
  size_t fed = 0;
  while (!socket.is_reading_paused) {
    socket.Feed(request);
    ASSERT_LE(++fed * request.size(), (64u << 10) + 2 * request.size());
  }
  for (size_t i = 0; i < fed; ++i) {
    ASSERT_EQ(loop.controls.size(), 1u);
    const auto control = std::move(loop.controls[0]);
    loop.controls.clear();
    ASSERT_TRUE(control->Respond(200, "", {}).ok());
    EXPECT_FALSE(i > 0 && socket.is_reading_paused);
  }
  EXPECT_TRUE(loop.controls.empty());
  loop.ExpectNothingHeld();
}

TEST(ConnectionStates, AClientMayLeaveAtAnyTime) {
  const ServableHandle model = Serve(EchoBackend(), Named("m"));
  const std::string infer = PostFloats();
  std::vector<std::string> beginnings = {
      "",           "GET", kUnfinished,   kChunks,     Get("/x"),
      "NONSENSE\n", infer, infer + infer, infer + "G", Get("/x") + infer};
  for (const std::string& beginning : beginnings) {
    FakeLoop loop(kTimes);
    loop.map->Publish(model);
    FakeSocket& socket = loop.Connect();
    if (!beginning.empty()) socket.Feed(beginning);
    socket.Take();
    socket.Lose();
    loop.RunUntilIdle();
    EXPECT_EQ(socket.sent, "") << beginning;
    EXPECT_EQ(loop.gateway->connections(), 0u);
    EXPECT_EQ(loop.gateway->in_flight(), 0u) << beginning;
    loop.controls.clear();
    loop.ExpectNothingHeld();
    EXPECT_EQ(loop.gateway->stats().connections_closed.value(), 1u);
  }
}

TEST(ConnectionStates, AClientThatLeftIsNotComputedFor) {
  int runs = 0;
  ServableOptions options = Named("m");
  options.max_queue_delay = 0;
  FakeLoop loop(kTimes);
  const ServableHandle model = Serve(EchoBackend([&runs](auto inputs, int64_t rows, auto& outputs) {
                                       ++runs;
                                       return Echo(inputs, rows, outputs);
                                     }),
                                     options);
  loop.map->Publish(model);
  FakeSocket& socket = loop.Connect();
  socket.Feed(PostFloats());
  socket.Lose();
  loop.RunUntilIdle();
  EXPECT_EQ(runs, 0);
  EXPECT_EQ(model->stats().failures[size_t(FailureReason::kCancelled)].value(), 1u);
}

TEST(ConnectionStates, DrainingClosesWhatIsIdleAndTheRestAfterItsAnswer) {
  GatewayOptions options = kTimes;
  options.drain_grace = 0;
  FakeLoop loop(options);
  FakeSocket& idle = loop.Connect();
  FakeSocket& head = loop.Connect();
  FakeSocket& body = loop.Connect();
  FakeSocket& busy = loop.Connect();
  head.Feed("GET /head HTTP");
  body.Feed(kUnfinished);
  busy.Feed(Get("/busy") + Get("/dropped"));
  loop.gateway->BeginDrain(NowNanos());
  EXPECT_TRUE(loop.gateway->is_draining());
  EXPECT_TRUE(idle.is_closed);
  head.Feed("/1.1\r\nHost: a\r\n\r\n");
  body.Feed("defghi");
  ASSERT_EQ(loop.controls.size(), 3u);
  for (auto& control : loop.controls) ASSERT_TRUE(control->Respond(200, "", {}).ok());
  for (FakeSocket* socket : {&head, &body, &busy}) {
    EXPECT_TRUE(socket->is_closed);
    const auto answers = AnswersOf(socket->sent);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_NE(answers[0].head.find("Connection: close\r\n"), std::string::npos);
  }
  EXPECT_EQ(loop.controls.size(), 3u);
}

TEST(ConnectionStates, OneConnectionTooManyIsToldSo) {
  GatewayOptions options = kTimes;
  options.connections_max = 2;
  FakeLoop loop(options);
  loop.Connect();
  FakeSocket& second = loop.Connect();
  FakeSocket& third = loop.Connect();
  const auto answers = AnswersOf(third.Take());
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 503);
  EXPECT_NE(answers[0].head.find("Retry-After: 1\r\n"), std::string::npos);
  EXPECT_TRUE(third.is_finished);
  third.Feed(Get("/x"));
  EXPECT_TRUE(loop.controls.empty());
  third.Lose();
  second.Lose();
  EXPECT_TRUE(loop.Connect().is_open());
  EXPECT_EQ(loop.gateway->stats().connections_opened.value(), 4u);
}

TEST(ConnectionStates, TheServersMemoryIsForWhoCameFirst) {
  GatewayOptions options = kTimes;
  options.in_flight_bytes_max = 10;
  FakeLoop loop(options);
  const ServableHandle model = Serve(EchoBackend(), Named("m"));
  loop.map->Publish(model);
  FakeSocket& first = loop.Connect();
  first.Feed(kUnfinished);
  FakeSocket& second = loop.Connect();
  second.Feed("POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(AnswersOf(second.Take()).at(0).status, 503);
  EXPECT_EQ(model->stats().failures[size_t(FailureReason::kRejected)].value(), 1u);
  first.Lose();
  loop.ExpectNothingHeld();
}

TEST(ConnectionStates, WhatHappenedIsCounted) {
  FakeLoop loop(kTimes);
  const ServableHandle model = Serve(EchoBackend(), Named("m"));
  loop.map->Publish(model);
  FakeSocket& socket = loop.Connect();
  const std::string all = PostFloats() + Get("/x") + Post("/v2/models/m/infer", "{") +
                          Post("/v2/models/m/infer", "{}", "Content-Encoding: br\r\n");
  loop.on_control = [](std::shared_ptr<ControlRequest> request) {
    ASSERT_TRUE(request->Respond(404, "no", {}).ok());
  };
  socket.Feed(all);
  loop.RunUntilIdle();
  const GatewayStats& stats = loop.gateway->stats();
  EXPECT_EQ(stats.requests.value(), 4u);
  EXPECT_EQ(stats.bytes_in.value(), all.size());
  EXPECT_EQ(stats.bytes_out.value(), socket.sent.size());
  EXPECT_EQ(loop.responses(200), 1u);
  EXPECT_EQ(loop.responses(400), 1u);
  EXPECT_EQ(loop.responses(404), 1u);
  EXPECT_EQ(loop.responses(415), 1u);
  EXPECT_EQ(model->stats().failures[size_t(FailureReason::kInvalid)].value(), 2u);
  EXPECT_EQ(model->stats().request.count(), 1u);
}

// Each record is of one request, whatever the exchange that carried it did before.
TEST(ConnectionStates, WhatHappenedIsWrittenDown) {
  FakeLoop loop(kTimes);
  loop.map->Publish(Serve(EchoBackend(), Named("m", 8, 3)));
  FakeSocket& socket = loop.Connect();
  const std::string first = PostFloats(1, "me");
  const std::string second = Post("/v2/models/m/infer?q", "{");
  const std::string third = Post("/x?y", "body");
  const std::string fourth =
      "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n";
  socket.Feed(first + second + third + fourth);
  loop.RunUntilIdle();
  ASSERT_EQ(loop.controls.size(), 1u);
  ASSERT_TRUE(loop.controls[0]->Respond(200, "", {}).ok());
  const auto records = loop.gateway->access_log().Take();
  ASSERT_EQ(records.size(), 4u);
  const auto expect = [&](size_t i, int status, const char* path, const char* model, const char* id,
                          size_t bytes_in) {
    const AccessRecord& record = records[i];
    EXPECT_EQ(record.peer, "192.0.2.1:5");
    EXPECT_EQ(record.method, "POST");
    EXPECT_EQ(record.status, status);
    EXPECT_EQ(record.path, path);
    EXPECT_EQ(record.model, model);
    EXPECT_EQ(record.version, *model == '\0' ? "" : "3");
    EXPECT_EQ(record.id, id);
    EXPECT_EQ(record.bytes_in, bytes_in);
    EXPECT_GT(record.bytes_out, 0u);
    EXPECT_GE(record.receive, 0);
    EXPECT_GE(record.total, record.receive + record.queue + record.stage + record.run +
                                record.finish + record.send);
    EXPECT_LT(record.total, 60 * kSecond);
    EXPECT_EQ(record.batch_rows, i == 0 ? 1 : 0);
  };
  expect(0, 200, "/v2/models/m/infer", "m", "me", first.size());
  expect(1, 400, "/v2/models/m/infer", "m", "", second.size());
  expect(2, 200, "/x", "", "", third.size());
  expect(3, 413, "/v2/models/m/infer", "m", "", fourth.size());
  EXPECT_EQ(records[3].receive, 0);
  EXPECT_TRUE(loop.gateway->access_log().Take().empty());
}

}  // namespace
}  // namespace fastserve
