#include "gateway/http/control_request.h"

#include <gtest/gtest.h>

#include <string>

#include "gateway/fake_loop.h"

namespace fastserve {
namespace {

TEST(ControlRequest, ShowsWhatWasReceived) {
  FakeLoop loop;
  FakeSocket& socket = loop.Connect();
  socket.Feed(Post("/a%20b?c=%20d", "body", "X-Y:  z \r\n"));
  ASSERT_EQ(loop.controls.size(), 1u);
  const ControlRequest& request = *loop.controls[0];
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/a%20b?c=%20d");
  EXPECT_EQ(request.path, "/a b");
  EXPECT_EQ(request.query, "c=%20d");
  ASSERT_EQ(request.headers.size(), 3u);
  EXPECT_EQ(request.headers[2], (std::pair<std::string, std::string>("X-Y", "z")));
  EXPECT_EQ(request.body.bytes().size(), 4u);
  EXPECT_EQ(loop.gateway->in_flight(), 1u);
}

TEST(ControlRequest, IsAnsweredOnce) {
  FakeLoop loop;
  FakeSocket& socket = loop.Connect();
  socket.Feed(Get("/x"));
  const auto request = loop.controls.at(0);
  loop.controls.clear();
  const HttpHeader header{"X-A", "b"};
  EXPECT_TRUE(request->Respond(418, "tea", {&header, 1}).ok());
  EXPECT_EQ(request->Respond(200, "", {}).code(), Code::kFailedPrecondition);
  const auto answers = AnswersOf(socket.Take());
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 418);
  EXPECT_EQ(answers[0].body, "tea");
  EXPECT_NE(answers[0].head.find("X-A: b\r\n"), std::string::npos);
  loop.ExpectNothingHeld();
}

// A wrong answer can be made good.
TEST(ControlRequest, RefusesAnAnswerThatCannotBeSent) {
  FakeLoop loop;
  FakeSocket& socket = loop.Connect();
  socket.Feed(Get("/x"));
  const auto request = std::move(loop.controls.at(0));
  for (int status : {-1, 0, 100, 199, 600, 1000}) {
    EXPECT_EQ(request->Respond(status, "", {}).code(), Code::kInvalidArgument);
  }
  for (const HttpHeader& header :
       {HttpHeader{"A", "b\r\nC: d"}, HttpHeader{"", "b"}, HttpHeader{"Content-Length", "3"}}) {
    EXPECT_EQ(request->Respond(200, "", {&header, 1}).code(), Code::kInvalidArgument);
  }
  EXPECT_EQ(socket.sent, "");
  EXPECT_TRUE(request->Respond(599, "", {}).ok());
  EXPECT_EQ(AnswersOf(socket.sent).at(0).status, 599);
}

TEST(ControlRequest, IsAnsweredWith500WhenItIsDropped) {
  FakeLoop loop;
  FakeSocket& socket = loop.Connect();
  socket.Feed(Get("/later") + Get("/at-once") + Get("/next"));
  loop.on_control = [&](std::shared_ptr<ControlRequest> request) {
    if (request->path == "/next") static_cast<void>(request->Respond(200, "", {}));
  };
  loop.controls.clear();
  const auto answers = AnswersOf(socket.Take());
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0].status, 500);
  EXPECT_EQ(answers[1].status, 500);
  EXPECT_EQ(answers[2].status, 200);
  loop.ExpectNothingHeld();
}

TEST(ControlRequest, AnswersNobodyWhenTheClientHasLeft) {
  FakeLoop loop;
  loop.Connect().Feed(Post("/x", "body"));
  loop.Connect().Feed(Get("/y"));
  EXPECT_EQ(loop.gateway->in_flight(), 2u);
  loop.sockets[0]->Lose();
  loop.sockets[1]->Lose();
  EXPECT_EQ(loop.gateway->in_flight(), 0u);
  EXPECT_GT(loop.gateway->in_flight_bytes(), 0u) << "the body is still with the control plane";
  EXPECT_TRUE(loop.controls[0]->Respond(200, "x", {}).ok());
  EXPECT_EQ(loop.controls[0]->Respond(200, "x", {}).code(), Code::kFailedPrecondition);
  loop.controls.clear();  // The other one is dropped.
  EXPECT_EQ(loop.sockets[0]->sent, "");
  EXPECT_EQ(loop.sockets[1]->sent, "");
  loop.ExpectNothingHeld();
}

// A write may run anything, the interpreter's collector for one: it drops the request of another
// connection, which answers that, in the midst of this answer.
TEST(ControlRequest, MayBeDroppedWhileAnotherIsAnswered) {
  FakeLoop loop({.access_log = true});
  FakeSocket& first = loop.Connect();
  FakeSocket& second = loop.Connect();
  first.Feed(Get("/1") + Get("/3"));
  second.Feed(Get("/2") + Get("/4"));
  auto request = std::move(loop.controls[0]);
  auto dropped = std::move(loop.controls[1]);
  loop.controls.clear();
  first.on_write = [&] { dropped.reset(); };
  ASSERT_TRUE(request->Respond(200, std::string(1000, 'x'), {}).ok());
  EXPECT_EQ(AnswersOf(first.sent).at(0).body.size(), 1000u);
  EXPECT_EQ(AnswersOf(second.sent).at(0).status, 500);
  const auto records = loop.gateway->access_log().Take();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].path, "/2");
  EXPECT_EQ(records[0].bytes_out, second.sent.size());
  EXPECT_EQ(records[1].path, "/1");
  EXPECT_EQ(records[1].bytes_out, first.sent.size());
  EXPECT_EQ(loop.controls.size(), 2u);
}

// The loop got the buffer that all share, and then an answer began a next request, whose body has a
// place of its own.
TEST(ControlRequest, MayBeAnsweredBetweenGettingABufferAndFillingIt) {
  FakeLoop loop;
  FakeSocket& socket = loop.Connect();
  socket.Feed(Get("/1") + "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab");
  const std::span<std::byte> buffer = socket.connection->GetBuffer();
  ASSERT_TRUE(loop.controls.at(0)->Respond(200, "", {}).ok());
  loop.controls.clear();
  std::memcpy(buffer.data(), "cdef", 4);
  socket.connection->BufferUpdated(4);
  ASSERT_EQ(loop.controls.size(), 1u);
  const auto body = loop.controls[0]->body.bytes();
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(body.data()), body.size()), "abcdef");
}

}  // namespace
}  // namespace fastserve
