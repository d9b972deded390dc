#include "gateway/gateway.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "gateway/fake_loop.h"

namespace fastserve {
namespace {

// Whatever arrived in one iteration of the loop, on whatever connection, is one batch.
TEST(Gateway, RunsWhatArrivedTogetherAsOneBatch) {
  FakeLoop loop;
  const ServableHandle model = Serve(EchoBackend(), Named("m"));
  model->WarmUp();
  loop.map->Publish(model);
  for (int i = 0; i < 5; ++i) loop.Connect().Feed(PostFloats(i));
  EXPECT_EQ(loop.gateway->in_flight(), 5u);
  loop.RunUntilIdle();
  EXPECT_EQ(model->stats().executions.value(), 1u);
  EXPECT_EQ(model->stats().batch_rows[5].value(), 1u);
  for (int i = 0; i < 5; ++i) {
    const auto answers = AnswersOf(loop.sockets[size_t(i)]->sent);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_NE(answers[0].body.find(StrCat("\"data\":[", i)), std::string::npos) << answers[0].body;
    EXPECT_EQ(loop.sockets[size_t(i)]->writes, 1);
  }
  loop.ExpectNothingHeld();
}

TEST(Gateway, RunsCheapModelsItselfWithoutASignal) {
  FakeLoop loop;
  const ServableHandle model = Serve(EchoBackend(), Named("m"));
  model->WarmUp();
  loop.map->Publish(model);
  FakeSocket& socket = loop.Connect();
  socket.Feed(PostFloats() + PostFloats());
  ASSERT_TRUE(loop.is_scheduled);
  while (loop.Iterate()) {
  }
  EXPECT_EQ(AnswersOf(socket.sent).size(), 2u);
  EXPECT_EQ(model->stats().caller_runs.value(), 2u);
  EXPECT_FALSE(loop.was_signalled());
}

TEST(Gateway, IsSignalledWhenAnInstanceThreadEndsARun) {
  FakeLoop loop;
  ServableOptions options = Named("m");
  options.caller_runs = false;
  Gate gate;
  loop.map->Publish(Serve(EchoBackend([&gate](auto inputs, int64_t rows, auto& outputs) {
                            gate.Pass();
                            return Echo(inputs, rows, outputs);
                          }),
                          options));
  FakeSocket& socket = loop.Connect();
  socket.Feed(PostFloats());
  EXPECT_TRUE(loop.Iterate());
  gate.AwaitWaiting(1);
  EXPECT_FALSE(loop.was_signalled());
  EXPECT_EQ(socket.sent, "");
  gate.Open();
  EXPECT_TRUE(loop.was_signalled(10'000));
  loop.gateway->Drain(true);
  EXPECT_FALSE(loop.was_signalled());
  EXPECT_EQ(AnswersOf(socket.sent).size(), 1u);
  loop.ExpectNothingHeld();
}

// The first request holds the only instance, the next two fill the queue.
TEST(Gateway, AnswersWith429WhenTheQueueIsFull) {
  Gate gate;
  FakeLoop loop;
  ServableOptions options = Named("m");
  options.queue_depth = 2;
  options.caller_runs = false;
  loop.map->Publish(Serve(EchoBackend([&](auto inputs, int64_t rows, OutputSink& outputs) {
                            gate.Pass();
                            return Echo(inputs, rows, outputs);
                          }),
                          options));
  loop.Connect().Feed(PostFloats());
  EXPECT_TRUE(loop.Iterate());
  gate.AwaitWaiting(1);
  for (int i = 0; i < 3; ++i) loop.Connect().Feed(PostFloats());
  gate.Open();
  loop.RunUntilIdle();
  EXPECT_EQ(loop.responses(200), 3u);
  EXPECT_EQ(loop.responses(429), 1u);
  EXPECT_NE(loop.sockets[3]->sent.find("Retry-After: 1\r\n"), std::string::npos);
}

// What bodies were received into, and what the model's batches were gathered in.
TEST(Gateway, GivesBackTheMemoryThatItKeptAndServesOn) {
  FakeLoop loop;
  loop.map->Publish(Serve(EchoBackend(), Named("m")));
  const auto ask = [&loop] {
    FakeSocket& one = loop.Connect();
    FakeSocket& other = loop.Connect();
    one.Feed(PostFloats());
    other.Feed(PostFloats());
    loop.RunUntilIdle();
    EXPECT_EQ(AnswersOf(one.sent).size() + AnswersOf(other.sent).size(), 2u);
  };
  ask();
  const size_t kept = loop.gateway->memory().cached_bytes;
  EXPECT_GT(loop.gateway->TrimMemory(), kept) << "the model's is missing";
  EXPECT_EQ(loop.gateway->memory().cached_bytes, 0u);
  EXPECT_EQ(loop.gateway->TrimMemory(), 0u);
  ask();
}

// A slow upload is answered by the version that its head found, which is retired meanwhile.
TEST(Gateway, KeepsNoRetiredVersionForWhoIsStillUploading) {
  FakeLoop loop;
  bool is_gone = false;
  {
    struct Watched : FakeBackend {
      using FakeBackend::FakeBackend;
      ~Watched() override { *is_gone = true; }
      bool* is_gone = nullptr;
    };
    auto backend =
        std::make_shared<Watched>(std::vector{Spec("x", DataType::kFp32, {-1, 2})},
                                  std::vector{Spec("y", DataType::kFp32, {-1, 2})}, Echo);
    backend->is_gone = &is_gone;
    loop.map->Publish(Serve(std::move(backend), Named("m", 8, 1)));
  }
  FakeSocket& slow = loop.Connect();
  const std::string request = PostFloats();
  slow.Feed(std::string_view(request).substr(0, request.size() - 5));
  loop.map->Publish(Serve(EchoBackend(), Named("m", 8, 2)));
  ASSERT_TRUE(loop.map->Retire("m", 1).ok());
  FakeSocket& quick = loop.Connect();
  quick.Feed(request);
  loop.RunUntilIdle();
  EXPECT_NE(quick.sent.find("\"model_version\":\"2\""), std::string::npos);
  EXPECT_FALSE(is_gone);
  slow.Feed(std::string_view(request).substr(request.size() - 5));
  loop.RunUntilIdle();
  EXPECT_NE(slow.sent.find("\"model_version\":\"2\""), std::string::npos) << slow.sent;
  EXPECT_TRUE(is_gone) << "nobody needs it any more";
  slow.Feed(Post("/v2/models/m/versions/1/infer", FloatsJson()));
  EXPECT_EQ(loop.controls.size(), 1u);
}

TEST(Gateway, LeavesModelsThatAreNotServedToTheControlPlane) {
  FakeLoop loop;
  loop.Connect().Feed(PostFloats());
  ASSERT_EQ(loop.controls.size(), 1u);
  EXPECT_EQ(loop.controls[0]->path, "/v2/models/m/infer");
  EXPECT_EQ(loop.controls[0]->body.bytes().size(), FloatsJson().size());
}

// What was submitted when the gateway goes is ended, and its servable freed: the sanitizer of leaks
// would tell.
TEST(Gateway, MayGoBeforeItsRequestsAreRun) {
  auto loop = std::make_unique<FakeLoop>();
  loop->map->Publish(Serve(EchoBackend(), Named("m")));
  loop->Connect().Feed(PostFloats());
  loop.reset();
}

TEST(Gateway, MayGoWhileAnEngineRuns) {
  Gate gate;
  std::weak_ptr<Servable> left;
  std::shared_ptr<Departure> departure;
  {
    auto loop = std::make_unique<FakeLoop>();
    ServableOptions options = Named("m");
    options.caller_runs = false;
    const ServableHandle model =
        Serve(EchoBackend([&gate](auto inputs, int64_t rows, auto& outputs) {
                gate.Pass();
                return Echo(inputs, rows, outputs);
              }),
              options);
    left = model;
    departure = model->departure();
    loop->map->Publish(model);
    loop->Connect().Feed(PostFloats());
    loop->Iterate();
    gate.AwaitWaiting(1);
  }
  EXPECT_FALSE(left.expired()) << "the exchange needs it";
  gate.Open();
  // The run's end lets go of it, on its instance's thread.
  EXPECT_TRUE(departure->WaitUntil(kNever));
  EXPECT_TRUE(left.expired());
}

// Half of a request, whose client takes its time, while its model's version is replaced.
TEST(Gateway, LetsGoOfARetiredVersionWhileARequestForItArrives) {
  FakeLoop loop;
  ServableHandle first = Serve(EchoBackend(), Named("m"));
  const std::weak_ptr<Servable> left = first;
  loop.map->Publish(std::exchange(first, nullptr));
  FakeSocket& socket = loop.Connect();
  const std::string request = PostFloats();
  socket.Feed(request.substr(0, request.size() / 2));
  loop.gateway->Sweep(NowNanos());
  EXPECT_FALSE(left.expired());
  ServableOptions options = Named("m");
  options.version = 2;
  loop.map->Publish(Serve(EchoBackend(), options));
  ASSERT_TRUE(loop.map->Retire("m", 1).ok());
  EXPECT_FALSE(left.expired());
  loop.gateway->Sweep(NowNanos());
  EXPECT_TRUE(left.expired());
  socket.Feed(request.substr(request.size() / 2));
  loop.RunUntilIdle();
  const auto answers = AnswersOf(socket.sent);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_NE(answers[0].body.find("\"model_version\":\"2\""), std::string::npos) << answers[0].body;
  loop.ExpectNothingHeld();
}

// Without a sweep in between, and also if nothing was served for a while.
TEST(Gateway, BindsARequestToTheVersionThatIsServedWhenItIsThere) {
  FakeLoop loop;
  loop.map->Publish(Serve(EchoBackend(), Named("m")));
  const std::string request = PostFloats();
  FakeSocket& socket = loop.Connect();
  socket.Feed(request.substr(0, request.size() / 2));
  ASSERT_TRUE(loop.map->Retire("m", 1).ok());
  loop.gateway->Sweep(NowNanos());
  ServableOptions options = Named("m");
  options.version = 2;
  loop.map->Publish(Serve(EchoBackend(), options));
  socket.Feed(request.substr(request.size() / 2));
  loop.RunUntilIdle();
  const auto answers = AnswersOf(socket.sent);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_NE(answers[0].body.find("\"model_version\":\"2\""), std::string::npos) << answers[0].body;
}

TEST(Gateway, AnswersARequestWhoseVersionWentWhileItArrived) {
  FakeLoop loop;
  loop.map->Publish(Serve(EchoBackend(), Named("m")));
  FakeSocket& socket = loop.Connect();
  const std::string request = PostFloats();
  socket.Feed(request.substr(0, request.size() - 1));
  ASSERT_TRUE(loop.map->Retire("m", 1).ok());
  loop.gateway->Sweep(NowNanos());
  socket.Feed(request.substr(request.size() - 1));
  socket.Feed(PostFloats());
  loop.RunUntilIdle();
  const auto answers = AnswersOf(socket.sent);
  ASSERT_GE(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 503);
  EXPECT_NE(answers[0].body.find("was unloaded while the request arrived"), std::string::npos);
}

}  // namespace
}  // namespace fastserve
