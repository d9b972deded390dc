// How connections end, and why: each reason is counted once, whatever else happened to them.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "gateway/fake_loop.h"

namespace fastserve {
namespace {

const GatewayOptions kOptions = {.body_bytes_max = 1000,
                                 .in_flight_bytes_max = 2000,
                                 .connections_max = 4,
                                 .connections_per_client_max = 2,
                                 .head_timeout = 10 * kSecond,
                                 .body_timeout = 20 * kSecond,
                                 .idle_timeout = 40 * kSecond,
                                 .drain_grace = 5 * kSecond};
const std::string kUnfinished = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";

void ExpectOneEnd(const FakeLoop& loop, ConnectionEnd expected) {
  const GatewayStats& stats = loop.gateway->stats();
  for (size_t i = 0; i < kConnectionEndNames.size(); ++i) {
    EXPECT_EQ(stats.closes[i].value(), i == static_cast<size_t>(expected) ? 1u : 0u)
        << kConnectionEndNames[i] << ", expected "
        << kConnectionEndNames[static_cast<size_t>(expected)];
  }
}

// What happens to a connection before its socket is gone.
using Story = std::function<void(FakeLoop&, FakeSocket&)>;

void Tell(ConnectionEnd expected, const Story& story) {
  FakeLoop loop(kOptions);
  FakeSocket& socket = loop.Connect();
  story(loop, socket);
  ExpectOneEnd(loop, ConnectionEnd{kConnectionEndNames.size()});
  socket.Lose();
  ExpectOneEnd(loop, expected);
  EXPECT_EQ(loop.gateway->stats().connections_closed.value(), 1u);
  loop.controls.clear();
  loop.ExpectNothingHeld();
}

void Feed(FakeSocket& socket, const std::string& bytes) { socket.Feed(bytes); }

TEST(ConnectionEnd, IsTheClients) {
  Tell(ConnectionEnd::kClient, [](FakeLoop&, FakeSocket&) {});
  for (const std::string& begun : {std::string("GET /"), kUnfinished, Get("/x")}) {
    Tell(ConnectionEnd::kClient, [&](FakeLoop&, FakeSocket& socket) { Feed(socket, begun); });
  }
  Tell(ConnectionEnd::kClient, [](FakeLoop& loop, FakeSocket& socket) {
    Feed(socket, Get("/x", "Connection: close\r\n"));
    ASSERT_TRUE(loop.controls.at(0)->Respond(200, "", {}).ok());
    EXPECT_TRUE(socket.is_closed);
  });
}

TEST(ConnectionEnd, IsThatNothingCame) {
  Tell(ConnectionEnd::kIdle, [](FakeLoop& loop, FakeSocket& socket) {
    loop.gateway->Sweep(NowNanos() + 11 * kSecond);
    EXPECT_TRUE(socket.is_closed);
  });
  Tell(ConnectionEnd::kIdle, [](FakeLoop& loop, FakeSocket& socket) {
    Feed(socket, Get("/x"));
    ASSERT_TRUE(loop.controls.at(0)->Respond(200, "", {}).ok());
    loop.gateway->Sweep(NowNanos() + 41 * kSecond);
    EXPECT_TRUE(socket.is_closed);
    loop.gateway->Sweep(NowNanos() + 82 * kSecond);  // It does not even close.
    EXPECT_TRUE(socket.is_aborted);
  });
}

TEST(ConnectionEnd, IsThatTooLittleCame) {
  Tell(ConnectionEnd::kHeadTimeout, [](FakeLoop& loop, FakeSocket& socket) {
    Feed(socket, "GET /");
    loop.gateway->Sweep(NowNanos() + 11 * kSecond);
    loop.gateway->Sweep(NowNanos() + 14 * kSecond);
    EXPECT_TRUE(socket.is_aborted);
  });
  Tell(ConnectionEnd::kBodyTimeout, [](FakeLoop& loop, FakeSocket& socket) {
    Feed(socket, kUnfinished);
    loop.gateway->Sweep(NowNanos() + 21 * kSecond);
  });
}

TEST(ConnectionEnd, IsThatSomethingElseCame) {
  for (const char* bytes : {"NONSENSE\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
                            "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz"}) {
    Tell(ConnectionEnd::kProtocolError,
         [&](FakeLoop&, FakeSocket& socket) { Feed(socket, bytes); });
  }
}

TEST(ConnectionEnd, IsThatTooMuchCame) {
  for (const char* bytes :
       {"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n",
        "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n"}) {
    Tell(ConnectionEnd::kLimit, [&](FakeLoop&, FakeSocket& socket) { Feed(socket, bytes); });
  }
}

TEST(ConnectionEnd, IsTheServers) {
  Tell(ConnectionEnd::kDrain, [](FakeLoop& loop, FakeSocket& socket) {
    const Nanos now = NowNanos();
    loop.gateway->BeginDrain(now);
    EXPECT_TRUE(socket.is_open());
    loop.WakeUpAt(now + 6 * kSecond);
    EXPECT_TRUE(socket.is_closed);
  });
  Tell(ConnectionEnd::kDrain, [](FakeLoop& loop, FakeSocket& socket) {
    Feed(socket, Get("/x"));
    loop.gateway->BeginDrain(NowNanos());
    ASSERT_TRUE(loop.controls.at(0)->Respond(200, "", {}).ok());
    EXPECT_TRUE(socket.is_closed);
  });
}

TEST(ConnectionEnd, IsThatTheClientDoesNotRead) {
  Tell(ConnectionEnd::kWriteStalled, [](FakeLoop& loop, FakeSocket& socket) {
    socket.on_write = [&] { socket.connection->PauseWriting(); };
    Feed(socket, Get("/x"));
    ASSERT_TRUE(loop.controls.at(0)->Respond(200, "", {}).ok());
    loop.gateway->Sweep(NowNanos() + 41 * kSecond);
    EXPECT_TRUE(socket.is_aborted);
  });
}

TEST(ConnectionEnd, IsWhatTheSocketSaysWithoutAnotherReason) {
  for (const bool is_refused : {false, true}) {
    FakeLoop loop(kOptions);
    FakeSocket& socket = loop.Connect();
    if (is_refused) socket.Feed("NONSENSE\r\n\r\n");
    socket.is_lost = true;
    socket.connection->Lost(ConnectionEnd::kError);
    ExpectOneEnd(loop, is_refused ? ConnectionEnd::kProtocolError : ConnectionEnd::kError);
    socket.connection->Lost();
    EXPECT_EQ(loop.gateway->stats().connections_closed.value(), 1u);
  }
}

TEST(ConnectionEnd, IsThatThereAreTooMany) {
  FakeLoop loop(kOptions);
  for (int i = 0; i < 4; ++i) loop.Connect(NowNanos(), {StrCat("192.0.2.", i), 5});
  FakeSocket& refused = loop.Connect(NowNanos(), {"192.0.2.9", 5});
  EXPECT_EQ(AnswersOf(refused.Take()).at(0).status, 503);
  refused.Lose();
  ExpectOneEnd(loop, ConnectionEnd::kLimit);
  EXPECT_EQ(loop.gateway->stats().rejected_per_client.value(), 0u);
}

TEST(RetryAfter, IsTheExpectedWaitInWholeSeconds) {
  EXPECT_EQ(RetryAfterSeconds(0), 1u);
  EXPECT_EQ(RetryAfterSeconds(kSecond), 1u);
  EXPECT_EQ(RetryAfterSeconds(kSecond + 1), 2u);
  EXPECT_EQ(RetryAfterSeconds(59 * kSecond + 1), 60u);
  EXPECT_EQ(RetryAfterSeconds(kNever), 60u);
}

// By address, whatever the port; who has none is not counted.
TEST(ConnectionsPerClient, AreLimited) {
  GatewayOptions options = kOptions;
  options.connections_max = 100;
  FakeLoop loop(options);
  FakeSocket& first = loop.Connect(NowNanos(), {"192.0.2.1", 1});
  loop.Connect(NowNanos(), {"192.0.2.1", 2});
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(loop.Connect(NowNanos(), {"unix"}).is_open());
  EXPECT_TRUE(loop.Connect(NowNanos(), {"2001:db8::1", 1}).is_open());
  FakeSocket& refused = loop.Connect(NowNanos(), {"192.0.2.1", 3});
  const auto answers = AnswersOf(refused.Take());
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 429);
  EXPECT_NE(answers[0].head.find("Retry-After: 1\r\n"), std::string::npos);
  EXPECT_NE(answers[0].head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(refused.is_finished);
  first.Lose();
  EXPECT_TRUE(loop.Connect(NowNanos(), {"192.0.2.1", 4}).is_open()) << "the place is free";
  EXPECT_EQ(loop.gateway->stats().rejected_per_client.value(), 1u);
  // Those who are told so are as many at once as may be open; the others are told nothing.
  EXPECT_TRUE(loop.Connect(NowNanos(), {"192.0.2.1", 5}).is_finished);
  FakeSocket& ignored = loop.Connect(NowNanos(), {"192.0.2.1", 6});
  EXPECT_TRUE(ignored.is_aborted);
  EXPECT_EQ(ignored.sent, "");
  EXPECT_EQ(loop.gateway->stats().rejected_per_client.value(), 3u);
}

TEST(Draining, GivesIdleConnectionsTimeForAnotherRequest) {
  FakeLoop loop(kOptions);
  FakeSocket& idle = loop.Connect();
  FakeSocket& late = loop.Connect();
  const Nanos now = NowNanos();
  loop.gateway->BeginDrain(now);
  EXPECT_LE(loop.wake_up_ns, now + kOptions.drain_grace);
  idle.Feed(Get("/x"));
  ASSERT_TRUE(loop.controls.at(0)->Respond(200, "", {}).ok());
  EXPECT_NE(AnswersOf(idle.Take()).at(0).head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(idle.is_closed);
  // It was sent in time, so it is answered, however long that takes.
  late.Feed("GET /y HTTP/1.1\r\n");
  loop.WakeUpAt(now + 6 * kSecond);
  EXPECT_TRUE(late.is_open());
  late.Feed("Host: a\r\n\r\n");
  loop.WakeUpAt(now + 1000 * kSecond);
  ASSERT_EQ(loop.controls.size(), 2u);
  ASSERT_TRUE(loop.controls[1]->Respond(200, "", {}).ok());
  EXPECT_EQ(AnswersOf(late.Take()).at(0).status, 200);
  EXPECT_TRUE(late.is_closed);
}

TEST(Draining, ServesConnectionsThatStillCome) {
  FakeLoop loop(kOptions);
  loop.gateway->BeginDrain(NowNanos());
  FakeSocket& idle = loop.Connect();
  FakeSocket& busy = loop.Connect(NowNanos(), {"192.0.2.2", 1});
  EXPECT_NE(loop.wake_up_ns, kNever);
  busy.Feed(Get("/x"));
  loop.WakeUpAt(NowNanos() + 6 * kSecond);
  EXPECT_TRUE(idle.is_closed);
  EXPECT_TRUE(busy.is_open());
  ASSERT_TRUE(loop.controls.at(0)->Respond(200, "", {}).ok());
  EXPECT_TRUE(busy.is_closed);
}

// What was written before the drain is still sent to a client that reads slowly.
TEST(Draining, DoesNotCutAnAnswerThatIsStillSent) {
  FakeLoop loop(kOptions);
  FakeSocket& socket = loop.Connect();
  socket.on_write = [&] { socket.connection->PauseWriting(); };
  socket.Feed(Get("/x"));
  ASSERT_TRUE(loop.controls.at(0)->Respond(200, "", {}).ok());
  const Nanos now = NowNanos();
  loop.gateway->BeginDrain(now);
  loop.WakeUpAt(now + 6 * kSecond);
  EXPECT_TRUE(socket.is_closed);
  EXPECT_FALSE(socket.is_aborted);
}

TEST(Draining, NeedsNoTimerWhenNobodyIsLeft) {
  FakeLoop loop(kOptions);
  FakeSocket& socket = loop.Connect();
  loop.gateway->BeginDrain(NowNanos());
  socket.Lose();
  loop.WakeUpAt(NowNanos() + kSecond);
  EXPECT_EQ(loop.wake_up_ns, kNever);
}

}  // namespace
}  // namespace fastserve
