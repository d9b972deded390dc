#include "channel/client/client_channel.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "channel/client/clients.h"
#include "channel/client/scripted_server.h"
#include "memory/lost_pages.h"

namespace fastserve {
namespace {

// Ends with CANCELLED what is cancelled, and says nothing else.
void Obey(ServedChannel& channel, const Descriptor& said) {
  if (said.kind == DescriptorKind::kCancel) channel.End(said.request, Code::kCancelled);
}

TEST(ClientChannel, GivesEachOfManyThreadsItsOwn) {
  constexpr int kThreads = 8;
  constexpr int kRequests = 4000;
  // Answers come late and in another order; at the end there are not enough to wait for.
  std::vector<Descriptor> held;
  int heard = 0;
  ScriptedServer server([&](ServedChannel& channel, const Descriptor& said) {
    held.push_back(said);
    if (++heard <= kRequests - kThreads && held.size() < 3) return;
    for (auto one = held.rbegin(); one != held.rend(); ++one) channel.EchoCopies(*one);
    held.clear();
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  std::atomic<int> begun{0};
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      const std::string text = "thread " + std::to_string(thread);
      const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", text);
      while (begun.fetch_add(1, std::memory_order_relaxed) < kRequests) {
        ASSERT_TRUE(call->Send(kNever).ok());
        const ChannelResponse response = NextOf(*call);
        ASSERT_EQ(response.outputs.size(), 1u);
        if (TextOf(response.outputs[0].bytes) == text) {
          right.fetch_add(1, std::memory_order_relaxed);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, kRequests);
  EXPECT_TRUE(server.HasReleased(kRequests));
}

TEST(ClientChannel, ALeaderThatLeavesLeavesNobodyAsleep) {
  std::optional<Descriptor> held;
  ScriptedServer server([&held](ServedChannel& channel, const Descriptor& said) {
    if (said.kind == DescriptorKind::kCancel) return;
    std::vector<std::byte> text;
    const ChannelMessage message = channel.Read(said, &text);
    if (message.model == "held") held = said;
    if (message.model == "go") channel.EchoCopies(*held);
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  for (int i = 0; i < 20; ++i) {
    const std::shared_ptr<ChannelCall> leader = NewCall(*client, "never", "x");
    const std::shared_ptr<ChannelCall> follower = NewCall(*client, "held", "y");
    ASSERT_TRUE(leader->Send(kNever).ok());
    ASSERT_TRUE(follower->Send(kNever).ok());
    std::thread leads([&] {
      EXPECT_EQ(ErrorOf(*leader, NowNanos() + 3 * kMillisecond).code(), Code::kDeadlineExceeded);
    });
    std::thread follows([&] { EXPECT_EQ(TextOf(NextOf(*follower).outputs.at(0).bytes), "y"); });
    leads.join();
    const std::shared_ptr<ChannelCall> go = NewCall(*client, "go", "x");
    ASSERT_TRUE(go->Send(kNever).ok());
    follows.join();
  }
}

TEST(ClientChannel, WaitsNoLongerThanItIsTold) {
  ScriptedServer server([](ServedChannel&, const Descriptor&) {});
  for (const Nanos spin : {Nanos{0}, 50 * kMicrosecond}) {
    ChannelClientOptions options = TestOptions();
    options.spin = spin;
    const std::shared_ptr<ChannelClient> client = ConnectTo(server, options);
    const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
    EXPECT_EQ(ErrorOf(*call, 0).code(), Code::kFailedPrecondition);
    ASSERT_TRUE(call->Send(kNever).ok());
    EXPECT_EQ(ErrorOf(*call, 0).code(), Code::kDeadlineExceeded);
    const Nanos until = NowNanos() + 5 * kMillisecond;
    EXPECT_EQ(ErrorOf(*call, until).code(), Code::kDeadlineExceeded);
    EXPECT_GE(NowNanos(), until);
    EXPECT_TRUE(call->is_under_way());
    EXPECT_EQ(call->Send(kNever).code(), Code::kFailedPrecondition);
  }
}

TEST(ClientChannel, GivesAllResponsesOfAStreamInOrder) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor& said) {
    EXPECT_EQ(said.kind, DescriptorKind::kStream);
    for (int i = 0; i < 100; ++i) {
      const std::string version = std::to_string(i);
      const bool is_last = i == 99 && said.deadline_ns == kNever;
      channel.Respond(said, Named("m", version),
                      is_last ? DescriptorKind::kLast : DescriptorKind::kResponse);
    }
    if (said.deadline_ns != kNever) channel.End(said.request, Code::kOk);
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  for (const Nanos deadline : {kNever, kNever - 1}) {
    ASSERT_TRUE(call->Stream(deadline).ok());
    for (int i = 0; i < 100; ++i) EXPECT_EQ(NextOf(*call).message.version, std::to_string(i));
    EXPECT_TRUE(IsOver(*call));
    EXPECT_TRUE(IsOver(*call));
  }
  EXPECT_TRUE(server.HasReleased(200));
  EXPECT_TRUE(ScriptedServer::Becomes([&] { return server.counts().bytes_in_use == 0; }));
}

TEST(ClientChannel, TellsHowARequestEnded) {
  uint32_t code = 0;
  ScriptedServer server([&code](ServedChannel& channel, const Descriptor& said) {
    code == 99 ? channel.Say({DescriptorKind::kEnd, 99, said.request, 0, 0, 0, {}})
               : channel.End(said.request, static_cast<Code>(code), code == 3 ? "too long" : "");
    code = code == 0 ? 3 : code == 3 ? 14 : 99;
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  ASSERT_TRUE(call->Send(kNever).ok());
  EXPECT_TRUE(IsOver(*call));
  ASSERT_TRUE(call->Send(kNever).ok());
  const Status invalid = ErrorOf(*call);
  EXPECT_EQ(invalid.code(), Code::kInvalidArgument);
  EXPECT_EQ(invalid.message(), "too long");
  EXPECT_EQ(ErrorOf(*call).message(), "too long");  // As often as one asks.
  ASSERT_TRUE(call->Send(kNever).ok());
  EXPECT_EQ(ErrorOf(*call).code(), Code::kUnavailable);
  ASSERT_TRUE(call->Send(kNever).ok());
  const Status unknown = ErrorOf(*call);
  EXPECT_EQ(unknown.code(), Code::kUnknown);
  EXPECT_NE(unknown.message().find("99"), std::string::npos);
  EXPECT_TRUE(server.HasReleased(1));  // The one text.
}

TEST(ClientChannel, CancelsFromAnyThread) {
  ScriptedServer server(&Obey);
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  call->Cancel();  // It was not sent: nothing to cancel.
  ASSERT_TRUE(call->Send(kNever).ok());
  std::thread other([&] {
    call->Cancel();
    call->Cancel();
  });
  EXPECT_EQ(ErrorOf(*call).code(), Code::kCancelled);
  other.join();
  EXPECT_TRUE(server.HasCancels(1));
  call->Cancel();
  EXPECT_EQ(ErrorOf(*call).code(), Code::kCancelled);
}

TEST(ClientChannel, ADroppedCallKeepsItsBlocksUntilTheServerIsDone) {
  std::atomic<bool> may_end{false};
  ScriptedServer server([&](ServedChannel& channel, const Descriptor& said) {
    if (said.kind != DescriptorKind::kCancel) return;
    while (!may_end.load(std::memory_order_relaxed)) std::this_thread::yield();
    channel.Respond(said, Named("m"), DescriptorKind::kResponse);
    channel.End(said.request, Code::kCancelled, "cancelled");
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  ASSERT_TRUE(call->Send(kNever).ok());
  call.reset();
  EXPECT_GT(client->bytes_in_use(), 0u);
  may_end.store(true, std::memory_order_relaxed);
  EXPECT_TRUE(ScriptedServer::Becomes([&] {
    client->TakeReady();  // Somebody who looks.
    return client->bytes_in_use() == 0;
  }));
  // So do the blocks of the response and of the text.
  EXPECT_TRUE(server.HasReleased(2));
}

TEST(ClientChannel, HasOnlySoManySlots) {
  ScriptedServer server(&Obey);
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  std::vector<std::shared_ptr<ChannelCall>> calls;
  for (uint32_t i = 0; i < kChannelSlots; ++i) {
    calls.push_back(*client->NewCall("m", "", ""));
    ASSERT_TRUE(calls.back()->Send(kNever).ok()) << i;
  }
  const std::shared_ptr<ChannelCall> one_more = NewCall(*client, "m", "x");
  const Status status = one_more->Send(kNever);
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_NE(status.message().find("1024"), std::string::npos);
  calls[7]->Cancel();
  EXPECT_EQ(ErrorOf(*calls[7]).code(), Code::kCancelled);
  EXPECT_TRUE(one_more->Send(kNever).ok());
}

TEST(ClientChannel, UsesTheSlotThatBecameFreeLast) {
  uint64_t heard = 0;
  ScriptedServer server([&heard](ServedChannel& channel, const Descriptor& said) {
    EXPECT_EQ(said.request, ++heard * kChannelSlots);
    channel.EchoInputs(said);
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(call->Send(kNever).ok());
    NextOf(*call);
  }
}

TEST(ClientChannel, WhatIsSaidOfAnEarlierRequestIsDropped) {
  uint64_t before = 0;
  ScriptedServer server([&before](ServedChannel& channel, const Descriptor& said) {
    if (before != 0) {
      // Of the same slot, and of one that was never used.
      for (const uint64_t stale : {before, uint64_t{17}, said.request + 1, UINT64_MAX}) {
        Descriptor again = said;
        again.request = stale;
        channel.Respond(again, Named("stale"), DescriptorKind::kLast);
        channel.End(stale, Code::kInternal, "stale");
        channel.End(stale, Code::kInternal);
      }
    }
    before = said.request;
    channel.EchoCopies(said);
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(call->Send(kNever).ok());
    EXPECT_EQ(NextOf(*call).message.model, "m");
  }
  ASSERT_TRUE(call->Send(kNever).ok());
  NextOf(*call);
  // Two of each of the four went back, and three responses.
  EXPECT_TRUE(ScriptedServer::Becomes([&] {
    client->TakeReady();
    return server.counts().releases >= 8 + 2;
  }));
}

TEST(ClientChannel, AServerThatTalksNonsenseIsLetGo) {
  std::atomic<uint32_t> kind{0};
  ScriptedServer server([&kind](ServedChannel& channel, const Descriptor& said) {
    Descriptor nonsense = said;
    nonsense.kind = static_cast<DescriptorKind>(kind.load(std::memory_order_relaxed));
    channel.Say(nonsense);
  });
  for (const uint32_t unknown : {0u, 1u, 4u, 5u, 15u, 19u, UINT32_MAX}) {
    kind.store(unknown, std::memory_order_relaxed);
    const std::shared_ptr<ChannelClient> client = ConnectTo(server);
    const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
    ASSERT_TRUE(call->Send(kNever).ok());
    const Status status = ErrorOf(*call);
    EXPECT_EQ(status.code(), Code::kInternal);
    EXPECT_NE(status.message().find(std::to_string(unknown)), std::string::npos);
    EXPECT_FALSE(client->is_open());
    EXPECT_EQ(call->Send(kNever).code(), Code::kInternal);
  }
}

// With an index that has jumped, the ring holds what nobody put there.
TEST(ClientChannel, AServerThatScribblesOverTheRingsDoesNoHarm) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor&) {
    ChannelHead& head = channel.head();
    // Its own indices: how far it has filled the one, and emptied the other.
    reinterpret_cast<std::atomic<uint64_t>*>(&head.responses)[0].store(UINT64_MAX / 3,
                                                                       std::memory_order_relaxed);
    reinterpret_cast<std::atomic<uint64_t>*>(&head.requests)[8].store(UINT64_MAX / 5,
                                                                      std::memory_order_relaxed);
    EXPECT_FALSE(head.client.Ring());
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  ASSERT_TRUE(call->Send(kNever).ok());
  EXPECT_EQ(ErrorOf(*call, NowNanos() + kSecond).code(), Code::kInternal);
  EXPECT_EQ(call->Send(kNever).code(), Code::kInternal);
}

TEST(ClientChannel, WakesAllSleepersWhenTheServerDies) {
  for (const Nanos spin : {Nanos{0}, 50 * kMicrosecond}) {
    std::atomic<int> heard{0};
    ScriptedServer server([&heard](ServedChannel& channel, const Descriptor&) {
      if (++heard == 4) channel.Die();
    });
    ChannelClientOptions options = TestOptions();
    options.spin = spin;
    const std::shared_ptr<ChannelClient> client = ConnectTo(server, options);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
        EXPECT_TRUE(call->Send(kNever).ok());
        const Status status = call->Next(kNever).status();  // Would hang.
        EXPECT_EQ(status.code(), Code::kUnavailable);
        EXPECT_NE(status.message().find("connect again"), std::string::npos);
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_FALSE(client->is_open());
    EXPECT_EQ(client->bytes_in_use(), 0u);
  }
}

TEST(ClientChannel, NobodyWaitsToSendToAServerThatIsStopped) {
  std::atomic<bool> may_go_on{false};
  ScriptedServer server([&](ServedChannel& channel, const Descriptor& said) {
    while (!may_go_on.load(std::memory_order_relaxed)) std::this_thread::yield();
    Obey(channel, said);
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  std::vector<std::shared_ptr<ChannelCall>> calls;
  for (uint32_t i = 0; i < kChannelSlots; ++i) {
    calls.push_back(*client->NewCall("m", "", ""));
    ASSERT_TRUE(calls.back()->Send(kNever).ok());
  }
  // Twice what the ring has room for.
  for (const auto& call : calls) call->Cancel();
  may_go_on.store(true, std::memory_order_relaxed);
  for (const auto& call : calls) EXPECT_EQ(ErrorOf(*call).code(), Code::kCancelled);
}

TEST(ClientChannel, ReleasesReachTheServerThoughNobodySends) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor& said) {
    const int count = ClientOutbox::kManyReleases;
    for (int i = 0; i < count; ++i) {
      channel.EchoCopies(said, i + 1 < count ? DescriptorKind::kResponse : DescriptorKind::kLast);
    }
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  ASSERT_TRUE(call->Stream(kNever).ok());
  std::vector<ChannelResponse> responses;
  for (size_t i = 0; i < ClientOutbox::kManyReleases; ++i) responses.push_back(NextOf(*call));
  EXPECT_EQ(server.counts().releases, 0);
  responses.clear();
  EXPECT_TRUE(server.HasReleased(ClientOutbox::kManyReleases));
}

}  // namespace
}  // namespace fastserve
