// Both sides of a connection in one program: the server's is Http2Session's.
#include "client/grpc_session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "protocol/grpc/grpc_framing.h"

namespace fastserve {
namespace {

using Fields = std::vector<Http2Field>;

std::string Framed(std::string_view message, bool is_compressed = false) {
  const std::array prefix = FormatGrpcPrefix(
      {.is_compressed = is_compressed, .length = static_cast<uint32_t>(message.size())});
  return std::string(prefix.data(), prefix.size()).append(message);
}

// Writes down what it is asked, and answers as the test says.
class Server final : public Http2Events {
 public:
  void* OnHead(int32_t stream, const Http2Head& head) override {
    said += StrCat(stream, " ", head.path);
    for (const Http2Field& field : head.fields) {
      if (field.name != "te" && field.name != "content-type") {
        said += StrCat(" ", field.name, "=", field.value);
      }
    }
    said += "; ";
    return this;
  }
  void OnData(int32_t stream, void*, std::string_view data) override {
    bodies[stream] += data;
    session->Consume(stream, data.size());
  }
  void OnEnd(int32_t stream, void*) override {
    if (on_end) on_end(stream);
  }
  void OnClosed(int32_t stream, void*, uint32_t error) override {
    if (error != 0) said += StrCat(stream, " reset ", error, "; ");
  }
  void Head(int32_t stream) {
    session->Answer(stream, Fields{{":status", "200"}, {"content-type", "application/grpc"}},
                    false);
  }
  void End(int32_t stream, std::string_view code = "0", std::string_view message = "") {
    session->End(stream, Fields{{"grpc-status", code}, {"grpc-message", message}});
  }

  std::string said;
  std::map<int32_t, std::string> bodies;
  std::function<void(int32_t)> on_end;
  Http2Session* session = nullptr;
};

class GrpcSessionTest : public testing::Test {
 protected:
  GrpcSessionTest() { Begin({}); }
  void Begin(const Http2Session::Options& options) {
    server_session_ = *Http2Session::Create(options, server_);
    server_.session = server_session_.get();
    client_ = *GrpcSession::Create({.message_bytes_max = 1 << 20}, *pool_);
  }
  int32_t Start(std::string_view message = "hello") {
    const Result<int32_t> call = client_->Start({.path = "/s/M", .authority = "a"});
    EXPECT_TRUE(call.ok()) << call.status().message();
    EXPECT_TRUE(client_->Write(*call, message).ok());
    client_->End(*call);
    return *call;
  }
  // Both say what they have, until neither has more.
  void Talk() {
    for (bool is_quiet = false; !is_quiet;) {
      const std::string sent = TakeClients();
      EXPECT_TRUE(server_session_->Receive(sent).ok());
      const std::string answered = TakeServers();
      if (!Receive(answered).ok()) return;
      is_quiet = sent.empty() && answered.empty();
    }
  }
  std::string TakeClients() {
    EXPECT_TRUE(client_->Send().ok());
    std::string sent;
    for (const OutputPart& part : client_->output().parts()) sent += part.bytes;
    client_->output().Clear();
    return sent;
  }
  std::string TakeServers() {
    Http2Output output;
    EXPECT_TRUE(server_session_->Send(&output).ok());
    std::string sent;
    for (const OutputPart& part : output.parts()) sent += part.bytes;
    return sent;
  }
  Status Receive(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::span<std::byte> buffer = client_->GetBuffer();
      const size_t taken = std::min(bytes.size(), buffer.size());
      std::memcpy(buffer.data(), bytes.data(), taken);
      FS_RETURN_IF_ERROR(client_->Received(taken));
      bytes.remove_prefix(taken);
    }
    return {};
  }
  std::string Message(int32_t call) {
    const std::optional<GrpcMessage> message = client_->TakeMessage(call);
    if (!message) return "none";
    return {reinterpret_cast<const char*>(message->bytes.data()), message->bytes.size()};
  }
  std::string End(int32_t call) {
    const Status* const end = client_->EndOf(call);
    if (end == nullptr) return "runs";
    return end->ok() ? "OK" : StrCat(CodeName(end->code()), " ", end->message());
  }

  std::unique_ptr<SlabPool> pool_ = SlabPool::Create({});
  Server server_;
  std::unique_ptr<Http2Session> server_session_;
  std::unique_ptr<GrpcSession> client_;
};

TEST_F(GrpcSessionTest, ACallHasAnAnswerAndAnEnd) {
  const std::vector<HttpHeader> metadata = {{"authorization", "Bearer a"}};
  const Result<int32_t> call = client_->Start(
      {.path = "/s/M", .authority = "host:1", .timeout_ns = 1'500'000'000, .metadata = metadata});
  ASSERT_TRUE(call.ok());
  ASSERT_TRUE(client_->Write(*call, "hello").ok());
  client_->End(*call);
  Talk();
  EXPECT_EQ(server_.said, "1 /s/M grpc-timeout=1500000u authorization=Bearer a; ");
  EXPECT_EQ(server_.bodies[1], Framed("hello"));
  EXPECT_EQ(End(*call), "runs");
  server_.Head(*call);
  server_.session->Write(*call, Framed("world"));
  server_.End(*call);
  Talk();
  EXPECT_EQ(client_->TakeChanged(), std::vector<int32_t>{*call});
  EXPECT_EQ(Message(*call), "world");
  EXPECT_EQ(Message(*call), "none");
  EXPECT_EQ(End(*call), "OK");
  EXPECT_TRUE(client_->IsAnswered(*call));
  client_->Forget(*call);
  EXPECT_EQ(client_->calls(), 0u);
}

TEST_F(GrpcSessionTest, ErrorsInTrailersAndInAHeadAlone) {
  const int32_t trailers = Start();
  const int32_t head = Start();
  Talk();
  server_.Head(trailers);
  server_.End(trailers, "3", "bad %22x%22 100%");
  server_.session->Answer(head,
                          Fields{{":status", "200"},
                                 {"content-type", "application/grpc"},
                                 {"grpc-status", "5"},
                                 {"grpc-message", "no%20model"}},
                          true);
  Talk();
  EXPECT_EQ(End(trailers), "INVALID_ARGUMENT bad %22x%22 100%");  // Not well encoded: as it is.
  EXPECT_EQ(End(head), "NOT_FOUND no model");
}

TEST_F(GrpcSessionTest, WhatIsNoGrpcSaysSo) {
  const int32_t proxy = Start();
  const int32_t unended = Start();
  const int32_t reset = Start();
  const int32_t refused = Start();
  Talk();
  server_.session->Answer(proxy, Fields{{":status", "503"}, {"content-type", "text/html"}}, false);
  server_.session->Write(proxy, "<html>");
  server_.session->End(proxy);
  server_.Head(unended);
  server_.session->End(unended);
  server_.session->Reset(reset, Http2Error::kInternalError);
  server_.session->Reset(refused, Http2Error::kRefusedStream);
  Talk();
  EXPECT_EQ(End(proxy), "UNAVAILABLE no gRPC: HTTP status 503 and content-type 'text/html'");
  EXPECT_EQ(End(unended), "INTERNAL the server's answer ends without grpc-status");
  EXPECT_EQ(End(reset), "INTERNAL the server reset the call, HTTP/2's error 2");
  EXPECT_TRUE(End(refused).starts_with("UNAVAILABLE "));
  EXPECT_FALSE(client_->IsAnswered(refused));
}

TEST_F(GrpcSessionTest, AProxysStatusHasACode) {
  for (const auto& [status, code] :
       std::vector<std::pair<std::string, std::string>>{{"400", "INTERNAL"},
                                                        {"401", "UNAUTHENTICATED"},
                                                        {"403", "PERMISSION_DENIED"},
                                                        {"404", "UNIMPLEMENTED"},
                                                        {"429", "UNAVAILABLE"},
                                                        {"302", "UNKNOWN"}}) {
    const int32_t call = Start();
    Talk();
    server_.session->Answer(call, Fields{{":status", status}}, true);
    Talk();
    EXPECT_TRUE(End(call).starts_with(code + " no gRPC")) << End(call);
    client_->Forget(call);
  }
}

TEST_F(GrpcSessionTest, MessagesThatCannotBeTaken) {
  const auto answer = [&](std::string_view data) {
    const int32_t call = Start();
    Talk();
    server_.Head(call);
    server_.session->Write(call, data);
    server_.End(call);
    Talk();
    const std::string end = End(call);
    client_->Forget(call);
    Talk();
    return end;
  };
  EXPECT_TRUE(answer(Framed("x", true)).starts_with("INTERNAL the server compressed"));
  EXPECT_TRUE(answer("\x02xxxx").starts_with("INTERNAL gRPC message"));
  EXPECT_TRUE(answer(std::string("\0\0\x20\0\0", 5)).starts_with("RESOURCE_EXHAUSTED"));
  EXPECT_EQ(answer(std::string("\0\0\0\0\x09half", 9)),
            "INTERNAL the server's answer ends within a message");
  EXPECT_EQ(client_->calls(), 0u);
  EXPECT_EQ(answer(Framed("well")), "OK");
}

TEST_F(GrpcSessionTest, AMessageInPiecesAndItsTensorsPlace) {
  const int32_t call = Start();
  Talk();
  server_.Head(call);
  // Field 6, five bytes.
  const std::string message = std::string("\x0A\x01m\x32\x05", 5) + "tensor"[0] + "ensx";
  for (const char byte : Framed(message)) {
    server_.session->Write(call, {&byte, 1});
    Talk();
  }
  server_.End(call);
  Talk();
  const std::optional<GrpcMessage> taken = client_->TakeMessage(call);
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->bytes.size(), message.size());
  const int32_t whole = Start();
  Talk();
  server_.Head(whole);
  server_.session->Write(whole, Framed(message));
  server_.End(whole);
  Talk();
  const std::optional<GrpcMessage> placed = client_->TakeMessage(whole);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(placed->bytes.data() + 5) % 64, 0u);
}

TEST_F(GrpcSessionTest, AServerThatIsFasterIsHeldBack) {
  const int32_t call = Start();
  Talk();
  server_.Head(call);
  const std::string message(100'000, 'x');
  for (int i = 0; i < 100; ++i) server_.session->Write(call, Framed(message));
  Talk();
  const size_t unsent = server_.session->unsent(call);
  EXPECT_GT(unsent, 5'000'000u);  // The window is 4 MiB.
  int taken = 0;
  while (client_->TakeMessage(call)) ++taken;
  EXPECT_GT(taken, 30);
  Talk();
  EXPECT_LT(server_.session->unsent(call), unsent);
  server_.End(call);
  for (; End(call) == "runs" || taken < 100;) {
    ASSERT_LE(taken, 100);
    if (client_->TakeMessage(call)) ++taken;
    Talk();
  }
  EXPECT_EQ(taken, 100);
}

TEST_F(GrpcSessionTest, WhatIsGivenUpIsReset) {
  const int32_t call = Start();
  Talk();
  client_->Forget(call);
  EXPECT_EQ(client_->calls(), 1u);
  Talk();
  EXPECT_EQ(client_->calls(), 0u);
  EXPECT_EQ(server_.said, "1 /s/M; 1 reset 8; ");
  client_->Forget(call);
  EXPECT_EQ(End(call), "runs");
  EXPECT_FALSE(client_->TakeMessage(call));
}

TEST_F(GrpcSessionTest, AnEndBeforeTheRequestsEnd) {
  const Result<int32_t> call = client_->Start({.path = "/s/M", .authority = "a"});
  ASSERT_TRUE(call.ok());
  Talk();
  server_.Head(*call);
  server_.End(*call, "8", "no");
  Talk();
  EXPECT_EQ(End(*call), "RESOURCE_EXHAUSTED no");
  client_->Forget(*call);
  Talk();
  EXPECT_EQ(client_->calls(), 0u);
}

TEST_F(GrpcSessionTest, TakesAsManyCallsAsTheServerSays) {
  Begin({.streams_max = 2});
  Talk();
  EXPECT_TRUE(client_->takes_calls());
  const int32_t first = Start();
  Start();
  EXPECT_FALSE(client_->takes_calls());
  Talk();
  server_.Head(first);
  server_.End(first);
  Talk();
  EXPECT_TRUE(client_->takes_calls());
  server_.session->GoAway(Http2Error::kNoError);
  Talk();
  EXPECT_FALSE(client_->takes_calls());
  EXPECT_EQ(client_->Start({.path = "/s/M", .authority = "a"}).status().code(), Code::kUnavailable);
}

TEST_F(GrpcSessionTest, ABrokenConnectionEndsEveryCall) {
  const int32_t first = Start();
  const int32_t second = Start();
  Talk();
  EXPECT_TRUE(Receive(std::string(100, '\xff')).ok());
  EXPECT_TRUE(client_->wants_to_send());  // It says why it goes.
  TakeClients();
  EXPECT_TRUE(End(first).starts_with("UNAVAILABLE the server's connection broke"));
  EXPECT_TRUE(End(second).starts_with("UNAVAILABLE"));
  EXPECT_FALSE(client_->takes_calls());
  EXPECT_FALSE(client_->Received(1).ok());
  client_->Forget(first);
  client_->Forget(second);
  EXPECT_EQ(client_->calls(), 0u);
}

TEST_F(GrpcSessionTest, MetadataThatGrpcDoesNotAllow) {
  for (const HttpHeader& field : std::vector<HttpHeader>{{"Upper", "x"},
                                                         {"grpc-timeout", "1S"},
                                                         {"te", "x"},
                                                         {"content-type", "x"},
                                                         {"host", "x"},
                                                         {":path", "x"},
                                                         {"a", "b\nc"}}) {
    const Status status =
        client_->Start({.path = "/s/M", .authority = "a", .metadata = {&field, 1}}).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << field.name;
  }
}

}  // namespace
}  // namespace fastserve
