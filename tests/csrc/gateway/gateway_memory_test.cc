// Memory that cannot be had: each operator new of whole conversations fails in turn, once and from
// then on. Whatever it was wanted for, the gateway serves the next connection, and holds nothing.
//
// ThreadSanitizer brings an operator new that cannot be replaced; under it nothing fails.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "gateway/fake_loop.h"
#include "gateway/http2/http2_fixture.h"

namespace {

// Of this thread, while it is in the gateway.
thread_local bool counts = false;
thread_local size_t allocations = 0;
thread_local size_t fails_from = SIZE_MAX;  // The number of the first one that fails,
thread_local size_t fails_to = SIZE_MAX;    // and of the first one after it that does not.
thread_local bool has_failed = false;

}  // namespace

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FS_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define FS_THREAD_SANITIZER
#endif
#ifndef FS_THREAD_SANITIZER
// Not inlined, or the compiler sees free() take what new gave and warns.
[[gnu::noinline]] void* operator new(size_t bytes) {
  if (counts) {
    const size_t number = allocations++;
    if (number >= fails_from && number < fails_to) {
      has_failed = true;
      throw std::bad_alloc();
    }
  }
  return std::malloc(bytes == 0 ? 1 : bytes);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
// The others go through those two, also where a sanitizer brings its own.
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return operator new(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](size_t bytes) { return operator new(bytes); }
void* operator new[](size_t bytes, const std::nothrow_t& tag) noexcept {
  return operator new(bytes, tag);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept { operator delete(memory); }
void operator delete[](void* memory) noexcept { operator delete(memory); }
void operator delete[](void* memory, size_t) noexcept { operator delete(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { operator delete(memory); }
#endif  // FS_THREAD_SANITIZER

namespace fastserve {
namespace {

class Counting {
 public:
  explicit Counting(bool on) : before_(std::exchange(counts, on)) {}
  ~Counting() { counts = before_; }

 private:
  const bool before_;
};

std::string Chunked(std::string_view target, std::string_view body) {
  char size[20];
  std::snprintf(size, sizeof size, "%zx", body.size());
  return StrCat("POST ", target, " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", size,
                "\r\n", body, "\r\n0\r\n\r\n");
}

std::string BinaryJson() {
  return R"({"id":"an id that is longer than a short string","inputs":[{"name":"x",)"
         R"("datatype":"FP32",)"
         R"("shape":[1,2],"parameters":{"binary_data_size":8}}],)"
         R"("outputs":[{"name":"y","parameters":{"binary_data":true}}]})";
}

std::string Binary() {
  const std::string json = BinaryJson();
  return Post("/v2/models/m/infer", json + "abcdABCD",
              StrCat("Inference-Header-Content-Length: ", json.size(),
                     "\r\nInference-Timeout-Ms: 60000\r\nFastserve-Timing: 1\r\n"));
}

// What a client says, piece by piece, and how often it is answered.
const std::vector<std::string>& Pieces() {
  static const std::vector<std::string> pieces = {
      Get("/a/path/that/is/longer/than/a/short/string?query"),
      Binary(),
      PostFloats(1, "id"),
      Chunked("/v2/models/m/infer", FloatsJson()),
      Chunked("/control", "body"),
      Post("/v2/models/m/generate", R"({"x":[1,2],"id":"an id that is longer than a short one"})"),
      Post("/v2/models/m/generate_stream", R"({"x":[1,2],"p":"a parameter that is not short"})"),
      Post("/v2/models/m/infer", "{"),
      Post("/v2/models/m/infer", "{}", "Content-Encoding: gzip\r\n"),
      PostFloats().substr(0, 70),
      PostFloats().substr(70) + Get("/pipelined") + PostFloats() + "GET /half",
      " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
  };
  return pieces;
}

// What a client says over HTTP/2, a stream each.
struct Http2Piece {
  Http2Fields fields;
  std::string body;
  bool goes_on = false;
};
constexpr std::string_view kInferPath = "/inference.GRPCInferenceService/ModelInfer";
constexpr std::string_view kStreamPath = "/inference.GRPCInferenceService/ModelStreamInfer";
const std::vector<Http2Piece>& Http2Pieces() {
  static const std::string id(3000, 'i');  // Its answer is worth compressing.
  static const std::vector<Http2Piece> pieces = {
      {PostFields("/a/path/that/is/longer/than/a/short/string"), "body"},
      {PostFields("/v2/models/m/infer", {{"fastserve-timing", "1"}}), FloatsJson(1, "id")},
      {PostFields("/v2/models/m/infer", {{"accept-encoding", "gzip"}}), FloatsJson(1, id)},
      {PostFields("/v2/models/m/infer",
                  {{"inference-header-content-length", std::to_string(BinaryJson().size())}}),
       BinaryJson() + "abcdABCD"},
      {PostFields("/v2/models/m/infer"), "{"},
      {PostFields("/v2/models/m/generate_stream"), R"({"x":[1,2],"p":"a parameter"})"},
      {GrpcFields(kInferPath, {{"grpc-timeout", "60S"}}), Grpc(proto::FloatsRequest(1, "id"))},
      {GrpcFields(kInferPath, {{"grpc-encoding", "gzip"}, {"grpc-accept-encoding", "gzip"}}),
       Grpc(proto::FloatsRequest(1, id))},
      {GrpcFields(kInferPath), Grpc(proto::Bytes(1, "none"))},
      {GrpcFields(kInferPath), Grpc("nonsense")},
      {GrpcFields(kStreamPath), Grpc(proto::FloatsRequest(1)) + Grpc(proto::FloatsRequest(2, id))},
      {GrpcFields("/inference.GRPCInferenceService/ServerLive"), Grpc("")},
      {GrpcFields("/grpc.health.v1.Health/Watch"), Grpc(proto::Bytes(1, "m"))},
      {GrpcFields(kStreamPath), Grpc(proto::FloatsRequest(1)), /*goes_on=*/true},
  };
  return pieces;
}

class Conversation {
 public:
  explicit Conversation(const ServableHandle& model)
      : loop_({.connections_per_client_max = 10, .access_log = true, .cors_origins = {"*"}}) {
    loop_.map->Publish(model);
    loop_.gateway->trace_sampler().Set({.of_all = 1});
    loop_.on_control = [](std::shared_ptr<ControlRequest> request) {
      const HttpHeader header{"X-A", "b"};
      EXPECT_TRUE(request->Respond(200, "an answer", {&header, 1}).ok());
    };
  }

  // All of it, with a client that may leave before the last answer. False when it was cut off.
  bool Hold(bool leaves) {
    FakeSocket* const socket = Connect();
    if (socket == nullptr) return false;
    for (const std::string& piece : Pieces()) {
      if (!socket->is_open()) break;
      Count([&] { socket->Feed(piece); });
      if (leaves && &piece == &Pieces()[2]) {
        Count([&] { socket->Lose(); });
        break;
      }
      Run();
    }
    Run();
    if (!socket->is_lost) Count([&] { socket->Lose(); });
    Run();
    return !socket->is_aborted;
  }

  // The same over HTTP/2; what it asked last is still under way at its end.
  bool HoldHttp2(bool leaves) {
    FakeSocket* const socket = Connect();
    if (socket == nullptr) return false;
    Http2Client client;
    for (const Http2Piece& piece : Http2Pieces()) {
      client.Request(piece.fields, piece.body, piece.goes_on);
      for (std::string sent = client.Take(); !sent.empty() && socket->is_open();
           sent = client.Take()) {
        Count([&] { socket->Feed(sent); });
        if (leaves && &piece == &Http2Pieces()[10]) break;
        Run(socket);
        client.Receive(socket->Take());
      }
      if (leaves && &piece == &Http2Pieces()[10]) break;
    }
    if (!socket->is_lost) Count([&] { socket->Lose(); });
    Run();
    return !socket->is_aborted;
  }

  // Several clients whose answers are ready at once: how many of them are answered, with whatever.
  size_t HoldTogether(size_t clients) {
    std::vector<FakeSocket*> sockets;
    for (size_t i = 0; i < clients; ++i) {
      sockets.push_back(&loop_.Connect());
      sockets.back()->Feed(PostFloats());
    }
    Run();
    size_t answered = 0;
    for (FakeSocket* const socket : sockets) {
      if (!socket->is_aborted) {
        EXPECT_EQ(AnswersOf(socket->sent).size(), 1u);
        ++answered;
      }
      socket->Lose();
    }
    return answered;
  }

  void ExpectNothingHeld() {
    loop_.ExpectNothingHeld();
    EXPECT_EQ(loop_.gateway->connections(), 0u);
    const GatewayStats& stats = loop_.gateway->stats();
    EXPECT_EQ(stats.connections_opened.value(), stats.connections_closed.value());
    uint64_t closes = 0;
    for (const Counter& counter : stats.closes) closes += counter.value();
    EXPECT_EQ(closes, stats.connections_closed.value());
    EXPECT_EQ(loop_.gateway->memory().in_use_bytes, 0u);
    EXPECT_EQ(loop_.gateway->Debug(100, NowNanos()).abandoned, 0u);
  }
  FakeLoop& loop() { return loop_; }

 private:
  FakeSocket* Connect() {
    try {
      const Counting counting(true);
      return &loop_.Connect();
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }
  template <typename Body>
  void Count(Body&& body) {
    const Counting counting(true);
    body();
  }
  // Until nothing is under way; `of` is a socket with whose end that is enough.
  void Run(const FakeSocket* of = nullptr) {
    while (loop_.gateway->in_flight() > 0 || loop_.is_scheduled) {
      if (of != nullptr && !of->is_open()) break;
      if (std::exchange(loop_.is_scheduled, false)) {
        Count([&] { loop_.gateway->RunModels(); });
      } else {
        ASSERT_TRUE(loop_.was_signalled(10'000)) << "nothing ends";
      }
      Count([&] { loop_.gateway->Drain(true); });
    }
  }

  FakeLoop loop_;
};

// How many answers were good, over whatever.
uint64_t Good(Conversation& conversation) {
  const GatewayStats& stats = conversation.loop().gateway->stats();
  return stats.responses[200].value() + stats.grpc_responses[0].value();
}

void FailEach(bool leaves, bool for_good, bool (Conversation::*hold)(bool) = &Conversation::Hold) {
  const ServableHandle model = Serve(EchoBackend(), Named("m"));
  model->WarmUp();
  fails_from = fails_to = SIZE_MAX;
  uint64_t good = 0;             // Of one that is held to its end.
  for (int i = 0; i < 2; ++i) {  // The first one also makes what is made once.
    Conversation undisturbed(model);
    EXPECT_TRUE((undisturbed.*hold)(false));
    good = Good(undisturbed);
    EXPECT_EQ(good, hold == &Conversation::Hold ? 11u : 9u);
    allocations = 0;
    Conversation whole(model);
    EXPECT_TRUE((whole.*hold)(leaves));
    whole.ExpectNothingHeld();
  }
  const size_t total = allocations;
  [[maybe_unused]] size_t cut_off = 0;
  for (size_t i = 0; i < total && !testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE(StrCat("allocation ", i, " of ", total, " fails"));
    Conversation conversation(model);
    allocations = 0;
    has_failed = false;
    fails_from = i;
    fails_to = for_good ? SIZE_MAX : i + 1;
    if (!(conversation.*hold)(leaves)) ++cut_off;
    fails_from = fails_to = SIZE_MAX;
    EXPECT_TRUE(has_failed);
    conversation.ExpectNothingHeld();
    const uint64_t answered = Good(conversation);
    EXPECT_TRUE((conversation.*hold)(false));
    EXPECT_EQ(Good(conversation), answered + good);
    conversation.ExpectNothingHeld();
  }
#ifndef FS_THREAD_SANITIZER
  EXPECT_GT(total, 30u);
  EXPECT_GT(cut_off, total / 4);
#endif
}

TEST(GatewayMemory, FailsOnceAndTheNextConnectionIsServed) { FailEach(false, false); }

TEST(GatewayMemory, FailsFromThenOnAndIsThereAgain) { FailEach(false, true); }

TEST(GatewayMemory, FailsOnceOverHttp2AndTheNextConnectionIsServed) {
  FailEach(false, false, &Conversation::HoldHttp2);
}

TEST(GatewayMemory, FailsFromThenOnOverHttp2AndIsThereAgain) {
  FailEach(false, true, &Conversation::HoldHttp2);
}

TEST(GatewayMemory, FailsAroundAClientOfHttp2ThatLeaves) {
  FailEach(true, false, &Conversation::HoldHttp2);
  FailEach(true, true, &Conversation::HoldHttp2);
}

// The answers of a batch come out of the queue in one chain: one that fails must not take the rest.
TEST(GatewayMemory, FailsForOneAnswerAndTheOthersAreSent) {
  constexpr size_t kClients = 3;
  const ServableHandle model = Serve(EchoBackend(), Named("m"));
  model->WarmUp();
  fails_from = fails_to = SIZE_MAX;
  for (int i = 0; i < 2; ++i) {  // The first one also makes what is made once.
    Conversation whole(model);
    allocations = 0;
    EXPECT_EQ(whole.HoldTogether(kClients), kClients);
    EXPECT_EQ(whole.loop().responses(200), kClients);
  }
  const size_t total = allocations;
  [[maybe_unused]] size_t cut_off = 0;
  [[maybe_unused]] uint64_t told = 0;  // That there was no memory for their answer.
  for (size_t i = 0; i < total && !testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE(StrCat("allocation ", i, " of ", total, " fails"));
    Conversation conversation(model);
    allocations = 0;
    fails_from = i;
    fails_to = i + 1;
    const size_t answered = conversation.HoldTogether(kClients);
    fails_from = fails_to = SIZE_MAX;
    EXPECT_GE(answered, kClients - 1);
    cut_off += kClients - answered;
    told += conversation.loop().responses(503);
    conversation.ExpectNothingHeld();
  }
#ifndef FS_THREAD_SANITIZER
  EXPECT_GT(cut_off, 0u);
  EXPECT_GT(told, 0u);
#endif
}

TEST(GatewayMemory, FailsAroundAClientThatLeaves) {
  FailEach(true, false);
  FailEach(true, true);
}

}  // namespace
}  // namespace fastserve
