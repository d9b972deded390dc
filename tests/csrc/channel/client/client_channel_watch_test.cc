// How an event loop uses a channel.
#include <gtest/gtest.h>

#include <thread>

#include "channel/client/clients.h"
#include "channel/client/scripted_server.h"
#include "memory/lost_pages.h"

namespace fastserve {
namespace {

bool IsReadable(int fd, int timeout_ms) {
  pollfd watched{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&watched, 1, timeout_ms) > 0;
}

// What the loop is told next.
std::vector<uint64_t> NextReady(ChannelClient& client) {
  const Nanos deadline = NowNanos() + 20 * kSecond;
  while (NowNanos() < deadline) {
    if (!IsReadable(client.fd(), 1000)) continue;
    std::vector<uint64_t> tags = client.TakeReady();
    if (!tags.empty()) return tags;
  }
  ADD_FAILURE() << "nothing came";
  return {};
}

TEST(ClientChannelWatch, TellsALoopWhoHasNews) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor& said) {
    if (said.deadline_ns != kNever) channel.EchoInputs(said);
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> silent = NewCall(*client, "m", "x");
  ASSERT_TRUE(silent->Send(kNever).ok());
  EXPECT_FALSE(silent->Watch(1));
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(call->Send(kNever - 1).ok());
    if (!call->Watch(2)) {
      EXPECT_EQ(NextReady(*client), std::vector<uint64_t>{2});
    }
    EXPECT_EQ(ErrorOf(*silent, 0).code(), Code::kDeadlineExceeded);
    Result<std::optional<ChannelResponse>> next = call->Next(0);
    ASSERT_TRUE(next.ok()) << next.status().message();
    EXPECT_EQ(TextOf((*next)->outputs.at(0).bytes), "x");
  }
  EXPECT_TRUE(client->TakeReady().empty());
}

TEST(ClientChannelWatch, TellsOnceForAllThatCame) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor& said) {
    for (int i = 0; i < 10; ++i) {
      channel.Respond(said, Named("m"), i < 9 ? DescriptorKind::kResponse : DescriptorKind::kLast);
    }
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  ASSERT_TRUE(call->Stream(kNever).ok());
  int got = 0;
  const auto take_all = [&] {
    while (true) {
      const Result<std::optional<ChannelResponse>> next = call->Next(0);
      if (!next.ok()) {
        EXPECT_EQ(next.status().code(), Code::kDeadlineExceeded);
        return false;
      }
      if (!next->has_value()) return true;
      ++got;
    }
  };
  bool is_over = call->Watch(7) && take_all();
  while (!is_over) {
    for (const uint64_t tag : NextReady(*client)) EXPECT_EQ(tag, 7u);
    is_over = take_all();
  }
  EXPECT_EQ(got, 10);
}

TEST(ClientChannelWatch, ToldByAThreadThatWaitsForSomethingElse) {
  ScriptedServer server(
      [](ServedChannel& channel, const Descriptor& said) { channel.EchoCopies(said); });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  std::atomic<bool> is_done{false};
  std::thread other([&] {
    const std::shared_ptr<ChannelCall> call = NewCall(*client, "other", "y");
    while (!is_done.load(std::memory_order_relaxed)) {
      EXPECT_TRUE(call->Send(kNever).ok());
      EXPECT_EQ(TextOf(NextOf(*call).outputs.at(0).bytes), "y");
    }
  });
  std::vector<std::shared_ptr<ChannelCall>> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(NewCall(*client, "m", "x"));
  for (int round = 0; round < 50; ++round) {
    size_t left = calls.size();
    for (size_t i = 0; i < calls.size(); ++i) {
      EXPECT_TRUE(calls[i]->Send(kNever).ok());
      if (!calls[i]->Watch(i)) continue;
      NextOf(*calls[i]);
      --left;
    }
    while (left > 0 && !HasFailure()) {
      for (const uint64_t tag : NextReady(*client)) {
        Result<std::optional<ChannelResponse>> next = calls[tag]->Next(0);
        ASSERT_TRUE(next.ok()) << next.status().message();
        --left;
      }
    }
  }
  is_done.store(true, std::memory_order_relaxed);
  other.join();
}

TEST(ClientChannelWatch, TellsThatTheServerIsGone) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor&) { channel.Die(); });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  ASSERT_TRUE(call->Send(kNever).ok());
  if (!call->Watch(3)) {
    EXPECT_EQ(NextReady(*client), std::vector<uint64_t>{3});
  }
  EXPECT_EQ(ErrorOf(*call, 0).code(), Code::kUnavailable);
}

TEST(ClientChannelWatch, OfADroppedCallNothingIsTold) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor& said) {
    if (said.kind == DescriptorKind::kInfer) channel.EchoCopies(said);
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  std::shared_ptr<ChannelCall> dropped = NewCall(*client, "m", "x");
  ASSERT_TRUE(dropped->Send(kNever).ok());
  dropped->Watch(1);
  const std::shared_ptr<ChannelCall> kept = NewCall(*client, "m", "x");
  ASSERT_TRUE(kept->Send(kNever).ok());
  NextOf(*kept);  // Both are answered now, in order.
  dropped.reset();
  EXPECT_TRUE(client->TakeReady().empty());
}

}  // namespace
}  // namespace fastserve
