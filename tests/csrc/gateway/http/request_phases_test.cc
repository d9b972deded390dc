#include "gateway/http/request_phases.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "gateway/fake_loop.h"

namespace fastserve {
namespace {

std::string Format(const RequestPhases& phases) {
  ServerTimingStorage storage;
  return std::string(FormatServerTiming(phases, storage));
}

TEST(RequestPhases, AreWrittenInMilliseconds) {
  EXPECT_EQ(Format({.receive = 12'999,
                    .queue = 100'000,
                    .stage = 0,
                    .run = 1'234'567'890,
                    .finish = 999,
                    .send = 5'000}),
            "receive;dur=0.012, queue;dur=0.100, stage;dur=0.000, run;dur=1234.567, "
            "finish;dur=0.000, send;dur=0.005");
  EXPECT_EQ(Format({}), "");
  EXPECT_EQ(Format({.receive = 1'000'000}), "receive;dur=1.000");
  const std::string longest = Format({kNever, kNever, kNever, kNever, kNever, kNever});
  EXPECT_TRUE(longest.starts_with("receive;dur=86400000.000, ")) << longest;
  EXPECT_LT(longest.size(), sizeof(ServerTimingStorage));
}

TEST(RequestPhases, FollowEachOtherWithoutAGap) {
  Exchange exchange(*CompletionQueue::Create(), std::make_shared<Admission>(Admission::Options{}),
                    SlabPool::Create({}));
  EXPECT_EQ(PhasesOf(exchange, 5).receive, RequestPhases::kNotReached);
  exchange.first_byte_ns = 10;
  exchange.received_ns = 30;
  exchange.request.submitted_ns = 30;
  EXPECT_EQ(PhasesOf(exchange, 50).receive, 20);
  EXPECT_EQ(PhasesOf(exchange, 50).queue, RequestPhases::kNotReached);
  exchange.request.started_ns = 70;
  exchange.request.staged_ns = 150;
  exchange.request.computed_ns = 310;
  exchange.ended_ns = 630;
  const RequestPhases phases = PhasesOf(exchange, 1270);
  EXPECT_EQ(phases.queue, 40);
  EXPECT_EQ(phases.stage, 80);
  EXPECT_EQ(phases.run, 160);
  EXPECT_EQ(phases.finish, 320);
  EXPECT_EQ(phases.send, 640);
  exchange.is_submitted = true;  // Then those times are the scheduler's.
  EXPECT_EQ(PhasesOf(exchange, 1270).run, RequestPhases::kNotReached);
}

TEST(RequestPhases, AreToldToWhoAsks) {
  FakeLoop loop;
  loop.map->Publish(Serve(EchoBackend(), Named("m")));
  FakeSocket& socket = loop.Connect();
  const auto timing_of = [&](std::string_view fields, std::string_view body) {
    socket.Feed(Post("/v2/models/m/infer", body, fields));
    loop.RunUntilIdle();
    const std::string head = AnswersOf(socket.Take()).at(0).head;
    constexpr std::string_view kField = "\r\nServer-Timing: ";
    const size_t at = head.find(kField);
    if (at == std::string::npos) return std::string();
    const size_t start = at + kField.size();
    return head.substr(start, head.find("\r\n", start) - start);
  };
  EXPECT_EQ(timing_of("", FloatsJson()), "");
  EXPECT_EQ(timing_of("Fastserve-Timing: 0\r\n", FloatsJson()), "");
  const std::string asked = timing_of("fastserve-timing: 1\r\n", FloatsJson());
  size_t at = 0;
  for (const char* phase : {"receive;dur=", ", queue;dur=", ", stage;dur=", ", run;dur=",
                            ", finish;dur=", ", send;dur="}) {
    at = asked.find(phase, at);
    ASSERT_NE(at, std::string::npos) << phase << " in " << asked;
  }
  EXPECT_EQ(timing_of("", FloatsJson()), "") << "each request asks for itself";
  const std::string failed = timing_of("Fastserve-Timing: 1\r\n", "{");
  EXPECT_TRUE(failed.starts_with("receive;dur=")) << failed;
  EXPECT_EQ(failed.find("run"), std::string::npos) << "it never ran";
}

}  // namespace
}  // namespace fastserve
