// What a connection answers, however its bytes arrive. Its states and their deadlines are in
// connection_states_test.cc.
#include "gateway/http/connection.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "gateway/fake_loop.h"

namespace fastserve {
namespace {

using Pieces = std::vector<std::string_view>;

const ServableHandle& EchoModel() {
  static const ServableHandle servable = Serve(EchoBackend(), Named("m"));
  return servable;
}

// Answers "/later" when the loop is idle, "/never" not at all, everything else at once.
struct Server {
  explicit Server(const GatewayOptions& options = {}) : loop(options) {
    loop.map->Publish(EchoModel());
    loop.on_control = [this](std::shared_ptr<ControlRequest> request) {
      if (request->path == "/later") {
        loop.controls.push_back(std::move(request));
      } else {
        Answer(*request);
      }
    };
  }
  static void Answer(ControlRequest& request) {
    const auto body = request.body.bytes();
    const std::string text =
        StrCat(request.method, " ", request.path, "?", request.query, " ", request.headers.size(),
               " ", std::string_view(reinterpret_cast<const char*>(body.data()), body.size()));
    EXPECT_TRUE(request.Respond(200, text, {}).ok());
  }
  void RunUntilIdle() {
    while (true) {
      loop.RunUntilIdle();
      if (loop.controls.empty()) return;
      const auto request = std::move(loop.controls.back());
      loop.controls.pop_back();
      Answer(*request);
    }
  }

  FakeLoop loop;
};

// All that was sent, and how it ended.
std::string Said(const Pieces& pieces, bool run_between) {
  Server server;
  FakeSocket& socket = server.loop.Connect();
  for (std::string_view piece : pieces) {
    if (socket.is_closed) break;
    socket.Feed(piece);
    if (run_between) server.RunUntilIdle();
  }
  server.RunUntilIdle();
  server.loop.ExpectNothingHeld();
  std::string said = WithoutDates(socket.Take());
  if (socket.is_finished) said += "[finished]";
  if (socket.is_closed) said += "[closed]";
  return said;
}

std::string SaidHowever(std::string_view message) {
  const std::string whole = Said({message}, true);
  Pieces bytes;
  for (size_t i = 0; i < message.size(); ++i) bytes.push_back(message.substr(i, 1));
  for (bool run_between : {false, true}) {
    EXPECT_EQ(Said(bytes, run_between), whole) << "byte by byte: " << message;
    for (size_t cut = 1; cut < message.size(); ++cut) {
      EXPECT_EQ(Said({message.substr(0, cut), message.substr(cut)}, run_between), whole)
          << "cut at " << cut << ": " << message;
    }
  }
  return whole;
}

std::string Chunked(std::string_view target, std::string_view body, size_t chunk) {
  std::string message =
      StrCat("POST ", target, " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (size_t at = 0; at < body.size(); at += chunk) {
    const std::string_view piece = body.substr(at, chunk);
    char size[20];
    std::snprintf(size, sizeof size, "%zx", piece.size());
    message += StrCat(size, "\r\n", piece, "\r\n");
  }
  return message + "0\r\n\r\n";
}

std::string BinaryFloats(std::string_view fields = "") {
  const std::string json =
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],)"
      R"("parameters":{"binary_data_size":8}}],"outputs":[{"name":"y","parameters":{)"
      R"("binary_data":true}}]})";
  return Post("/v2/models/m/infer", json + "abcdABCD",
              StrCat("Inference-Header-Content-Length: ", json.size(), "\r\n", fields));
}

TEST(Connection, AnswersAnInference) {
  const std::string said = SaidHowever(PostFloats());
  const std::vector<Answer> answers = AnswersOf(said);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 200);
  EXPECT_NE(answers[0].head.find("Content-Type: application/json\r\n"), std::string::npos);
  EXPECT_NE(answers[0].body.find("\"data\":[1"), std::string::npos) << answers[0].body;
}

TEST(Connection, AnswersBinaryTensorsWithBinaryTensors) {
  const std::vector<Answer> answers = AnswersOf(SaidHowever(BinaryFloats()));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 200);
  EXPECT_TRUE(answers[0].body.ends_with("}abcdABCD")) << answers[0].body;
  EXPECT_NE(
      answers[0].head.find(StrCat("Inference-Header-Content-Length: ", answers[0].body.size() - 8)),
      std::string::npos);
}

TEST(Connection, ReadsChunks) {
  const std::vector<Answer> whole =
      AnswersOf(SaidHowever(Chunked("/v2/models/m/infer", FloatsJson(), 1000)));
  const std::vector<Answer> small =
      AnswersOf(Said({Chunked("/v2/models/m/infer", FloatsJson(), 3)}, true));
  ASSERT_EQ(whole.size(), 1u);
  EXPECT_EQ(whole[0].status, 200);
  ASSERT_EQ(small.size(), 1u);
  EXPECT_EQ(small[0].body, whole[0].body);
  EXPECT_EQ(AnswersOf(SaidHowever(Chunked("/c?q", "abcdef", 4))).at(0).body, "POST /c?q 2 abcdef");
}

TEST(Connection, AnswersPipelinedRequestsInOrder) {
  const std::string message = Get("/later?1") + PostFloats(1, "a") + Post("/x", "body") +
                              BinaryFloats() + Chunked("/later", "cc", 1) + PostFloats(2, "b") +
                              "HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string said = SaidHowever(message);
  EXPECT_TRUE(said.ends_with("\r\n\r\n")) << "of HEAD";
  std::vector<Answer> answers = AnswersOf(said.substr(0, said.rfind("HTTP/1.1")));
  ASSERT_EQ(answers.size(), 6u);
  EXPECT_EQ(answers[0].body, "GET /later?1 1 ");
  EXPECT_NE(answers[1].body.find("\"id\":\"a\""), std::string::npos);
  EXPECT_EQ(answers[2].body, "POST /x? 2 body");
  EXPECT_TRUE(answers[3].body.ends_with("abcdABCD"));
  EXPECT_EQ(answers[4].body, "POST /later? 2 cc");
  EXPECT_NE(answers[5].body.find("\"id\":\"b\""), std::string::npos);
}

// The request is at fault, not the connection: it is read to its end, and the next is answered.
TEST(Connection, GoesOnAfterARequestThatCannotBeServed) {
  const std::string next = Get("/next");
  struct Case {
    std::string request;
    int status;
    std::string_view said;
  };
  for (const Case& test :
       {Case{Post("/v2/models/m/infer", "{}", "Content-Encoding: br\r\n"), 415, "'br'"},
        Case{Post("/v2/models/none/infer", "{}", "Content-Encoding: br\r\n"), 415, "'br'"},
        Case{Post("/v2/models/m/infer", "{}", "Content-Encoding: gzip\r\n"), 400, "no gzip data"},
        Case{Post("/v2/models/m/infer", "{}", "Inference-Header-Content-Length: x\r\n"), 400,
             "'x'"},
        Case{Post("/v2/models/m/infer", ""), 400, "empty"},
        Case{Post("/v2/models/m/infer", "{"), 400, "error"},
        Case{Post("/v2/models/m/infer", "{\"inputs\":[]}"), 400, "error"},
        Case{Post("/v2/models/m/infer", "ab", "Inference-Header-Content-Length: 3\r\n"), 400,
             "error"},
        Case{Post("/v2/models/none/infer", "{}"), 200, "POST /v2/models/none/infer"}}) {
    const std::vector<Answer> answers = AnswersOf(SaidHowever(test.request + next));
    ASSERT_EQ(answers.size(), 2u) << test.request;
    EXPECT_EQ(answers[0].status, test.status) << answers[0].body;
    EXPECT_NE(answers[0].body.find(test.said), std::string::npos) << answers[0].body;
    EXPECT_EQ(answers[1].body, "GET /next? 1 ");
  }
}

TEST(Connection, RefusesWhatHasNoKnownEndAndLingers) {
  for (const auto& [request, status] :
       {std::pair{std::string("NONSENSE\r\n\r\n"), 400},
        std::pair{std::string("GET / HTTP/1.1\r\n\r\n"), 400},
        std::pair{std::string("GET / HTTP/3.0\r\nHost: a\r\n\r\n"), 505},
        std::pair{std::string("POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz"),
                  400},
        std::pair{std::string("POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"),
                  413}}) {
    const std::string said = SaidHowever(request + Get("/next"));
    ASSERT_TRUE(said.ends_with("[finished]")) << said;
    const auto answers = AnswersOf(said.substr(0, said.size() - 10));
    ASSERT_EQ(answers.size(), 1u) << said;
    EXPECT_EQ(answers[0].status, status);
    EXPECT_NE(answers[0].head.find("Connection: close\r\n"), std::string::npos);
  }
}

TEST(Connection, ClosesWhenTheClientAskedForIt) {
  EXPECT_TRUE(SaidHowever(Get("/x", "Connection: close\r\n") + Get("/dropped"))
                  .ends_with("GET /x? 2 [closed]"));
  const std::string old = SaidHowever("GET /x HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.ends_with("GET /x? 0 [closed]")) << old;
  EXPECT_NE(old.find("Connection: close\r\n"), std::string::npos);
  const std::string kept = SaidHowever("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_TRUE(kept.ends_with("GET /x? 1 ")) << kept;
  EXPECT_NE(kept.find("Connection: keep-alive\r\n"), std::string::npos);
}

TEST(Connection, TellsWhoWaitsForItToContinue) {
  Server server;
  FakeSocket& socket = server.loop.Connect();
  const std::string body = "abc";
  const std::string message = Post("/x", body, "Expect: 100-continue\r\n");
  socket.Feed(std::string_view(message).substr(0, message.size() - body.size()));
  EXPECT_EQ(socket.Take(), kHttp1Continue);
  socket.Feed(body);
  EXPECT_EQ(AnswersOf(socket.Take()).at(0).body, "POST /x? 3 abc");
  // One that is refused is not told to go on.
  socket.Feed(
      "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n"
      "Expect: 100-continue\r\n\r\n");
  EXPECT_EQ(AnswersOf(socket.Take()).at(0).status, 413);
}

TEST(Connection, SendsNoBodyToHeadNorWithAStatusThatHasNone) {
  FakeLoop loop;
  FakeSocket& socket = loop.Connect();
  socket.Feed("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n" + Get("/1") + Get("/2") + Get("/3"));
  for (int status : {200, 204, 304, 200}) {
    ASSERT_EQ(loop.controls.size(), 1u);
    const auto request = std::move(loop.controls.back());
    loop.controls.clear();
    const bool has_body = status == 200 && request->method == "GET";
    ASSERT_TRUE(request->Respond(status, "body", {}).ok());
    const std::string said = socket.Take();
    EXPECT_EQ(said.ends_with("\r\n\r\n"), !has_body) << said;
    EXPECT_EQ(said.find("Content-Length: 4\r\n") != std::string::npos, status != 204) << said;
  }
  loop.ExpectNothingHeld();
}

TEST(Connection, ReceivesALargeBodyWhereItStays) {
  Server server;
  FakeSocket& socket = server.loop.Connect();
  std::string body;
  for (int i = 0; body.size() < 1'000'000; ++i) body += std::to_string(i);
  socket.Feed(Post("/large", body) + Get("/next"));
  const auto answers = AnswersOf(socket.Take());
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].body, "POST /large? 2 " + body);
  server.loop.ExpectNothingHeld();
}

}  // namespace
}  // namespace fastserve
