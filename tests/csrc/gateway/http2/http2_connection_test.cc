#include "gateway/http2/http2_connection.h"

#include "gateway/http2/http2_fixture.h"
#include "protocol/http2/http2_session.h"

namespace fastserve {
namespace {

using proto::FloatsRequest;

class Http2ConnectionTest : public Http2Gateway {
 protected:
  Http2ConnectionTest() : Http2Gateway({.idle_timeout = 60 * kSecond, .drain_grace = kSecond}) {}
};

TEST_F(Http2ConnectionTest, ThePrefaceMayComeByteByByte) {
  const std::string sent = client_.Take();
  ASSERT_TRUE(sent.starts_with(kHttp2Preface));
  for (const char byte : sent) socket_->Feed({&byte, 1});
  Talk();
  EXPECT_EQ(Infer(FloatsRequest()).Find("grpc-status"), "0");
}

TEST_F(Http2ConnectionTest, WhatOnlyBeginsLikeItIsHttp1) {
  FakeSocket& post = loop_.Connect();
  for (const char byte : PostFloats()) post.Feed({&byte, 1});
  loop_.RunUntilIdle();
  EXPECT_EQ(AnswersOf(post.Take()).front().status, 200);
  post.Lose();
  FakeSocket& broken = loop_.Connect();
  broken.Feed("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
  EXPECT_EQ(AnswersOf(broken.Take()).front().status, 505);
  broken.Lose();
}

TEST_F(Http2ConnectionTest, BrokenFramesEndTheConnectionWithAReason) {
  Talk();
  constexpr uint8_t kData = 0;
  socket_->Feed(Http2Frame(kData, 0, 0, "x"));  // Data of no stream.
  client_.Receive(socket_->Take());
  EXPECT_EQ(client_.goaways, std::vector<uint32_t>{NGHTTP2_PROTOCOL_ERROR});
  EXPECT_TRUE(socket_->is_closed);
}

TEST_F(Http2ConnectionTest, RapidResetsEndTheConnection) {
  Talk();
  int rounds = 0;
  for (; rounds < 100 && socket_->is_open(); ++rounds) {
    for (int i = 0; i < 50; ++i) {
      client_.Reset(client_.Request(GrpcFields(kInfer), "", /*goes_on=*/true));
    }
    // nghttp2's client would not send what it resets at once: as an attacker does, it is sent
    // before.
    socket_->Feed(client_.Take());
  }
  // Frames by hand.
  std::string flood;
  constexpr uint8_t kHeaders = 1, kReset = 3, kEndHeaders = 4;
  const std::string head(
      "\x83\x86\x84\x41\x01"
      "a",
      6);  // POST http / a
  for (uint32_t stream = 100'001; stream < 104'001; stream += 2) {
    flood += Http2Frame(kHeaders, kEndHeaders, stream, head);
    flood += Http2Frame(kReset, 0, stream, std::string("\0\0\0\x08", 4));
  }
  if (socket_->is_open()) socket_->Feed(flood);
  EXPECT_TRUE(socket_->is_closed);
  client_.Receive(socket_->Take());
  // nghttp2 has a limit of its own, which may be the first.
  EXPECT_TRUE(client_.goaways.back() == NGHTTP2_ENHANCE_YOUR_CALM ||
              client_.goaways.back() == NGHTTP2_INTERNAL_ERROR);
  EXPECT_EQ(loop_.gateway->stats().http2_floods.value(), 1u);
  loop_.controls.clear();
}

TEST_F(Http2ConnectionTest, FloodsOfPingsEndTheConnection) {
  Talk();
  constexpr uint8_t kPing = 6;
  std::string flood;
  for (int i = 0; i < 1500; ++i) flood += Http2Frame(kPing, 0, 0, std::string(8, 'p'));
  socket_->Feed(flood);
  EXPECT_TRUE(socket_->is_closed);
  EXPECT_EQ(loop_.gateway->stats().http2_floods.value(), 1u);
}

TEST_F(Http2ConnectionTest, IdleConnectionsAreClosedWithAWord) {
  Talk();
  loop_.gateway->Sweep(NowNanos() + 59 * kSecond);
  EXPECT_TRUE(socket_->is_open());
  loop_.gateway->Sweep(NowNanos() + 61 * kSecond);
  client_.Receive(socket_->Take());
  EXPECT_EQ(client_.goaways, std::vector<uint32_t>{0});
  EXPECT_TRUE(socket_->is_closed);
}

TEST_F(Http2ConnectionTest, WhoDoesNotReadIsAborted) {
  const int32_t stream = client_.Request(GrpcFields(kInfer), Grpc(FloatsRequest()));
  socket_->connection->PauseWriting();
  socket_->Feed(client_.Take());
  loop_.RunUntilIdle();
  EXPECT_EQ(socket_->Take(), "") << "nothing is written to who does not read";
  loop_.gateway->Sweep(NowNanos());
  loop_.gateway->Sweep(NowNanos() + 59 * kSecond);
  EXPECT_FALSE(socket_->is_aborted);
  loop_.gateway->Sweep(NowNanos() + 120 * kSecond);
  EXPECT_TRUE(socket_->is_aborted);
  EXPECT_FALSE(client_.answers[stream].is_closed);
}

TEST_F(Http2ConnectionTest, WhoReadsAgainGetsItsAnswers) {
  Talk();
  socket_->connection->PauseWriting();
  const int32_t stream = client_.Request(GrpcFields(kInfer), Grpc(FloatsRequest()));
  socket_->Feed(client_.Take());
  loop_.RunUntilIdle();
  socket_->connection->ResumeWriting();
  client_.Receive(socket_->Take());
  EXPECT_EQ(client_.answers[stream].Find("grpc-status"), "0");
}

TEST_F(Http2ConnectionTest, WindowsThatStayShutAreNotWaitedForForEver) {
  Http2Client shut(/*window=*/0);
  FakeSocket& socket = loop_.Connect();
  shut.Request(GrpcFields(kInfer), Grpc(FloatsRequest()));
  socket.Feed(shut.Take());
  loop_.RunUntilIdle();
  loop_.gateway->Sweep(NowNanos());
  EXPECT_TRUE(socket.is_open());
  loop_.gateway->Sweep(NowNanos() + 61 * kSecond);
  EXPECT_TRUE(socket.is_aborted);
  socket.Lose();
}

class Http2Times : public Http2Gateway {
 protected:
  Http2Times()
      : Http2Gateway({.idle_timeout = 1000 * kSecond,
                      .keepalive = 30 * kSecond,
                      .connection_age = 100 * kSecond,
                      .drain_grace = kSecond}) {}
};

TEST_F(Http2Times, ASilentClientIsAskedWhetherItIsThere) {
  client_.Request(GrpcFields("/a.B/C"), Grpc(""));
  Talk();
  const Nanos now = NowNanos();
  loop_.gateway->Sweep(now + 29 * kSecond);
  client_.Receive(socket_->Take());
  EXPECT_EQ(client_.pings, 0);
  loop_.gateway->Sweep(now + 31 * kSecond);
  client_.Receive(socket_->Take());
  EXPECT_EQ(client_.pings, 1);
  loop_.gateway->Sweep(now + 40 * kSecond);
  EXPECT_TRUE(socket_->is_open());
  loop_.gateway->Sweep(now + 52 * kSecond);
  EXPECT_TRUE(socket_->is_aborted);
}

TEST_F(Http2Times, WhoAnswersIsThere) {
  client_.Request(GrpcFields("/a.B/C"), Grpc(""));
  Talk();
  const Nanos now = NowNanos();
  loop_.gateway->Sweep(now + 31 * kSecond);
  client_.Receive(socket_->Take());
  socket_->Feed(client_.Take());
  loop_.gateway->Sweep(now + 32 * kSecond);
  EXPECT_TRUE(socket_->is_open());
}

TEST_F(Http2Times, WhoHasNoRequestIsNotAsked) {
  Talk();
  loop_.gateway->Sweep(NowNanos() + 60 * kSecond);
  client_.Receive(socket_->Take());
  EXPECT_EQ(client_.pings, 0);
}

TEST_F(Http2Times, AnOldConnectionEndsWhenItsRequestsAreAnswered) {
  const int32_t stream = client_.Request(GrpcFields("/a.B/C"), Grpc(""));
  Talk();
  const Nanos now = NowNanos();
  loop_.gateway->Sweep(now + 111 * kSecond);
  loop_.gateway->Sweep(now + 113 * kSecond);
  client_.Receive(socket_->Take());
  EXPECT_EQ(client_.goaways, (std::vector<uint32_t>{0, 0}));
  ASSERT_TRUE(socket_->is_open());
  EXPECT_TRUE(loop_.controls.front()->Respond(200, "", {}).ok());
  loop_.controls.clear();
  loop_.RunUntilIdle();
  while (loop_.Iterate()) continue;
  client_.Receive(socket_->Take());
  EXPECT_TRUE(client_.answers[stream].is_closed);
  EXPECT_TRUE(socket_->is_closed);
}

TEST_F(Http2Times, SoDoesOneOverHttp1) {
  FakeSocket& old = loop_.Connect(NowNanos() - 101 * kSecond);
  old.Feed(PostFloats());
  loop_.RunUntilIdle();
  EXPECT_NE(AnswersOf(old.Take()).front().head.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(old.is_closed);
  old.Lose();
}

TEST_F(Http2ConnectionTest, ADrainAnswersWhatIsThereAndWhatComesInTime) {
  Talk();
  const Nanos now = NowNanos();
  loop_.gateway->BeginDrain(now);
  Talk();
  EXPECT_EQ(client_.goaways, std::vector<uint32_t>{0});
  EXPECT_TRUE(socket_->is_open());
  loop_.gateway->Sweep(now + 2 * kSecond);
  EXPECT_TRUE(socket_->is_closed);
}

TEST_F(Http2ConnectionTest, ADrainWaitsForWhatRuns) {
  const auto gate = std::make_shared<Gate>();
  ServableOptions slow = Named("slow");
  slow.caller_runs = false;
  loop_.map->Publish(Serve(GatedBackend(gate), slow));
  const int32_t stream = client_.Request(GrpcFields(kInfer),
                                         Grpc(proto::Bytes(1, "slow") + FloatsRequest().substr(3)));
  socket_->Feed(client_.Take());
  loop_.Iterate();
  const Nanos now = NowNanos();
  loop_.gateway->BeginDrain(now);
  loop_.gateway->Sweep(now + 2 * kSecond);
  EXPECT_TRUE(socket_->is_open());
  gate->Open();
  loop_.RunUntilIdle();
  client_.Receive(socket_->Take());
  EXPECT_EQ(client_.answers[stream].Find("grpc-status"), "0");
  EXPECT_TRUE(socket_->is_closed);
}

TEST_F(Http2ConnectionTest, WhoLeavesFreesEverything) {
  for (int i = 0; i < 10; ++i) {
    client_.Request(GrpcFields(kInfer), Grpc(FloatsRequest()));
    client_.Request(GrpcFields("/a.B/C"), Grpc("x"));
  }
  socket_->Feed(client_.Take());
  socket_->Lose();
  loop_.controls.clear();
  loop_.RunUntilIdle();
  loop_.ExpectNothingHeld();
}

TEST(RateBudget, GrowsWithTime) {
  RateBudget budget(10, 2);
  EXPECT_TRUE(budget.Take(10, 100 * kSecond));
  EXPECT_FALSE(budget.Take(1, 100 * kSecond));
  EXPECT_TRUE(budget.Take(1, 101 * kSecond));
  EXPECT_TRUE(budget.Take(10, 200 * kSecond));
  EXPECT_FALSE(budget.Take(1, 200 * kSecond));
}

}  // namespace
}  // namespace fastserve
