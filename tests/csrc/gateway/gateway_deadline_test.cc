// Requests that are late, or that nobody waits for any more, while the model is busy.
//
// What waits is late by the scheduler's clock, so it gets a millisecond. What runs must have begun
// in time, however slow this machine is: it gets a minute, and the loop is told that it is over.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "gateway/fake_loop.h"

namespace fastserve {
namespace {

constexpr int kMinuteMs = 60'000;
constexpr Nanos kMinute = 60 * kSecond;

std::string PostTimed(int timeout_ms, std::string_view fields = "") {
  return Post("/v2/models/m/infer", FloatsJson(),
              StrCat("Inference-Timeout-Ms: ", timeout_ms, "\r\n", fields));
}

// A model "m" whose only instance runs the first request until the gate is opened.
struct BusyServer {
  explicit BusyServer(size_t queue_depth = 8, const GatewayOptions& options = {}) : loop(options) {
    ServableOptions served = Named("m");
    served.caller_runs = false;
    served.queue_depth = queue_depth;
    model = Serve(GatedBackend(shared_gate), served);
    loop.map->Publish(model);
  }
  ~BusyServer() { gate.Open(); }

  FakeSocket& Run(std::string_view request) {
    FakeSocket& socket = loop.Connect();
    socket.Feed(request);
    EXPECT_TRUE(loop.Iterate());
    gate.AwaitWaiting(1);
    return socket;
  }
  uint64_t failures(FailureReason reason) const {
    return model->stats().failures[static_cast<size_t>(reason)].value();
  }

  const std::shared_ptr<Gate> shared_gate = std::make_shared<Gate>();
  Gate& gate = *shared_gate;
  FakeLoop loop;
  ServableHandle model;
};

TEST(GatewayDeadline, IsAnsweredInTimeThoughTheRequestStillWaits) {
  BusyServer server;
  FakeLoop& loop = server.loop;
  server.Run(PostFloats());
  FakeSocket& timed = loop.Connect();
  timed.Feed(PostTimed(1));
  EXPECT_EQ(timed.sent, "");
  ASSERT_TRUE(loop.WakeUp());
  const auto answers = AnswersOf(timed.Take());
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 504);
  EXPECT_EQ(server.failures(FailureReason::kDeadline), 1u);
  EXPECT_EQ(server.model->queue_depth(), 0u) << "its place is free";
  EXPECT_EQ(loop.gateway->stats().results_dropped.value(), 0u);
  EXPECT_EQ(loop.gateway->in_flight(), 1u);
  EXPECT_FALSE(loop.WakeUp()) << "nobody has a deadline any more";
  server.gate.Open();
  loop.RunUntilIdle();
  loop.ExpectNothingHeld();
}

// The result goes to nobody, and the connection does not wait for it.
TEST(GatewayDeadline, IsAnsweredInTimeThoughTheRequestRuns) {
  BusyServer server(8, {.access_log = true});
  FakeLoop& loop = server.loop;
  FakeSocket& timed = server.Run(PostTimed(kMinuteMs) + Get("/next"));
  EXPECT_EQ(timed.sent, "");
  loop.WakeUpAt(NowNanos() + 2 * kMinute);
  EXPECT_EQ(AnswersOf(timed.Take()).at(0).status, 504);
  EXPECT_EQ(loop.gateway->stats().results_dropped.value(), 1u);
  ASSERT_EQ(loop.controls.size(), 1u) << "the next request is begun";
  ASSERT_TRUE(loop.controls[0]->Respond(200, "", {}).ok());
  loop.controls.clear();
  EXPECT_EQ(AnswersOf(timed.Take()).at(0).status, 200);
  EXPECT_EQ(loop.gateway->in_flight(), 1u) << "the engine is still at it";
  server.gate.Open();
  loop.RunUntilIdle();
  EXPECT_EQ(timed.sent, "");
  loop.ExpectNothingHeld();
  const auto records = loop.gateway->access_log().Take();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].status, 504);
  EXPECT_EQ(records[0].run, 0);
}

TEST(GatewayDeadline, OfADrainingServerClosesTheConnectionAsWell) {
  BusyServer server;
  FakeSocket& timed = server.Run(PostTimed(kMinuteMs));
  server.loop.gateway->BeginDrain(NowNanos());
  server.loop.WakeUpAt(NowNanos() + 2 * kMinute);
  EXPECT_TRUE(timed.is_closed);
  EXPECT_EQ(AnswersOf(timed.Take()).at(0).status, 504);
}

TEST(GatewayDeadline, DoesNotTakeAResultThatIsThere) {
  BusyServer server;
  FakeLoop& loop = server.loop;
  FakeSocket& timed = server.Run(PostTimed(kMinuteMs));
  server.gate.Open();
  ASSERT_TRUE(loop.was_signalled(10'000));
  loop.WakeUpAt(NowNanos() + 2 * kMinute);
  EXPECT_EQ(AnswersOf(timed.Take()).at(0).status, 200);
  loop.ExpectNothingHeld();
}

TEST(GatewayDeadline, NeedsOneTimerThatOnlyAnEarlierOneMoves) {
  BusyServer server;
  FakeLoop& loop = server.loop;
  server.Run(PostFloats());
  EXPECT_EQ(loop.wake_ups, 0);
  const auto send = [&](int timeout_ms) {
    loop.Connect().Feed(PostTimed(timeout_ms));
    loop.Iterate();
  };
  send(900);
  EXPECT_EQ(loop.wake_ups, 1);
  const Nanos first = loop.wake_up_ns;
  send(950);
  EXPECT_EQ(loop.wake_ups, 1);
  send(1);
  EXPECT_EQ(loop.wake_ups, 2);
  EXPECT_LT(loop.wake_up_ns, first);
  // Nobody waits for a day: who needs it no more must not leave a timer behind.
  FakeLoop other;
  other.map->Publish(server.model);
  const Nanos before = NowNanos();
  other.Connect().Feed(PostTimed(86'400'000));
  other.Iterate();
  EXPECT_EQ(other.wake_ups, 1);
  EXPECT_LE(other.wake_up_ns, NowNanos() + Gateway::kWakeUpMax);
  EXPECT_GE(other.wake_up_ns, before + Gateway::kWakeUpMax);
  other.WakeUpAt(NowNanos());
  EXPECT_EQ(other.wake_ups, 2) << "it is still to come";
  EXPECT_EQ(other.sockets[0]->sent, "");
}

TEST(GatewayDeadline, LeavesNoTimerBehindWhenItWasMet) {
  BusyServer server;
  server.gate.Open();
  FakeLoop& loop = server.loop;
  loop.Connect().Feed(PostTimed(kMinuteMs));
  loop.RunUntilIdle();
  EXPECT_EQ(loop.responses(200), 1u);
  EXPECT_NE(loop.wake_up_ns, kNever);
  loop.WakeUpAt(NowNanos() + 2 * kMinute);
  EXPECT_EQ(loop.wake_up_ns, kNever);
  EXPECT_EQ(loop.responses(504), 0u);
}

// Many late ones, waiting and running, of which some clients have left: each has one answer.
TEST(GatewayDeadline, EndsAllThatAreLate) {
  BusyServer server(64);
  FakeLoop& loop = server.loop;
  server.Run(PostTimed(kMinuteMs));
  for (int i = 0; i < 20; ++i) loop.Connect().Feed(PostTimed(i % 3 == 0 ? kMinuteMs : 1));
  loop.sockets[1]->Lose();
  loop.sockets[2]->Lose();
  loop.Iterate();
  // 13 that wait for a millisecond, of which one has left.
  while (loop.responses(504) < 12) ASSERT_TRUE(loop.WakeUp());
  EXPECT_EQ(server.model->queue_depth(), 6u);
  server.gate.Open();
  loop.RunUntilIdle();
  EXPECT_EQ(loop.responses(200), 7u);
  EXPECT_EQ(loop.responses(504), 12u);
  loop.ExpectNothingHeld();
}

TEST(GatewayDeadline, MustBeANumberOfMilliseconds) {
  BusyServer server;
  server.gate.Open();
  FakeLoop& loop = server.loop;
  FakeSocket& socket = loop.Connect();
  for (const char* wrong : {"0", "86400001", "1.5", "-1", "", "1s", "99999999999999999999"}) {
    socket.Feed(
        Post("/v2/models/m/infer", FloatsJson(), StrCat("Inference-Timeout-Ms: ", wrong, "\r\n")));
    const auto answers = AnswersOf(socket.Take());
    ASSERT_EQ(answers.size(), 1u) << wrong;
    EXPECT_EQ(answers[0].status, 400);
    EXPECT_NE(answers[0].body.find("Inference-Timeout-Ms"), std::string::npos);
  }
  socket.Feed(PostTimed(5000, "Inference-Timeout-Ms: 5000\r\n"));
  EXPECT_EQ(AnswersOf(socket.Take()).at(0).status, 400) << "twice";
  socket.Feed(Get("/x", "Inference-Timeout-Ms: soon\r\n"));
  EXPECT_EQ(loop.controls.size(), 1u) << "that is no inference";
  EXPECT_TRUE(socket.is_open());
}

TEST(GatewayAbandoned, MakesRoomAtOnceThoughTheModelIsBusy) {
  BusyServer server(1);
  FakeLoop& loop = server.loop;
  server.Run(PostFloats());
  FakeSocket& waiting = loop.Connect();
  waiting.Feed(PostFloats());
  FakeSocket& refused = loop.Connect();
  refused.Feed(PostFloats());
  loop.Iterate();
  EXPECT_EQ(AnswersOf(refused.Take()).at(0).status, 429);
  const size_t held_bytes = loop.gateway->in_flight_bytes();
  waiting.Lose();
  EXPECT_TRUE(loop.Iterate()) << "its end is looked after";
  EXPECT_EQ(server.failures(FailureReason::kCancelled), 1u);
  EXPECT_LT(loop.gateway->in_flight_bytes(), held_bytes);
  EXPECT_EQ(loop.gateway->in_flight(), 1u);
  refused.Feed(PostFloats());
  loop.Iterate();
  EXPECT_EQ(refused.sent, "") << "it has the place";
  server.gate.Open();
  loop.RunUntilIdle();
  EXPECT_EQ(AnswersOf(refused.Take()).at(0).status, 200);
  loop.ExpectNothingHeld();
}

// A loop that takes no calls any more, for want of memory or because it is closed.
TEST(GatewayAbandoned, EndsAndRunsWithoutALoopThatTakesCalls) {
  BusyServer server;
  FakeLoop& loop = server.loop;
  FakeSocket& running = server.Run(PostFloats());
  loop.can_schedule = false;
  FakeSocket& waiting = loop.Connect();
  waiting.Feed(PostTimed(kMinuteMs));
  FakeSocket& leaving = loop.Connect();
  leaving.Feed(PostFloats());
  leaving.Lose();
  EXPECT_EQ(server.failures(FailureReason::kCancelled), 1u);
  EXPECT_TRUE(loop.was_signalled());
  loop.gateway->Drain(true);
  server.gate.Open();
  while (waiting.sent.empty() || running.sent.empty()) {
    ASSERT_TRUE(loop.was_signalled(10'000));
    loop.gateway->Drain(true);
  }
  EXPECT_EQ(AnswersOf(waiting.Take()).at(0).status, 200);
  loop.ExpectNothingHeld();
}

// A queue that is full answers at once; that answer must not wait for an iteration either.
TEST(GatewayAbandoned, ToldThatTheQueueIsFullWithoutALoopThatTakesCalls) {
  BusyServer server(1);
  FakeLoop& loop = server.loop;
  server.Run(PostFloats());
  loop.can_schedule = false;
  loop.Connect().Feed(PostFloats());
  FakeSocket& refused = loop.Connect();
  refused.Feed(PostFloats());
  ASSERT_TRUE(loop.was_signalled());
  loop.gateway->Drain(true);
  EXPECT_EQ(AnswersOf(refused.Take()).at(0).status, 429);
}

}  // namespace
}  // namespace fastserve
