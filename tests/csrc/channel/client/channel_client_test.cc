#include "channel/client/channel_client.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "channel/client/clients.h"
#include "channel/client/scripted_server.h"
#include "memory/lost_pages.h"

namespace fastserve {
namespace {

void Echo(ServedChannel& channel, const Descriptor& said) { channel.EchoCopies(said); }

Status ConnectError(const std::string& address,
                    const ChannelClientOptions& options = TestOptions()) {
  const Result<std::shared_ptr<ChannelClient>> client = ChannelClient::Connect(address, options);
  EXPECT_FALSE(client.ok());
  return client.status();
}

TEST(ChannelClient, IsAnsweredWithTheBytesThatItSent) {
  for (const bool copies : {false, true}) {
    ScriptedServer server([copies](ServedChannel& channel, const Descriptor& said) {
      EXPECT_EQ(said.kind, DescriptorKind::kInfer);
      copies ? channel.EchoCopies(said) : channel.EchoInputs(said);
    });
    const std::shared_ptr<ChannelClient> client = ConnectTo(server);
    ASSERT_NE(client, nullptr);
    EXPECT_EQ(client->server_pid(), getpid());
    EXPECT_EQ(client->segment_bytes(), kTestSegmentBytes);
    const std::shared_ptr<ChannelCall> call = NewCall(*client, "digits", "some bytes");
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(call->Send(kNever).ok());
      const ChannelResponse response = NextOf(*call);
      EXPECT_EQ(response.message.model, "digits");
      ASSERT_EQ(response.outputs.size(), 1u);
      EXPECT_EQ(TextOf(response.outputs[0].bytes), "some bytes");
      EXPECT_TRUE(IsOver(*call));
    }
  }
}

TEST(ChannelClient, SaysWhyItCannotConnect) {
  const std::string address = NewAddress();
  const Status nobody = ConnectError(address);
  EXPECT_EQ(nobody.code(), Code::kUnavailable);
  EXPECT_NE(nobody.message().find(address), std::string::npos);
  EXPECT_EQ(ConnectError("").code(), Code::kInvalidArgument);
  ChannelClientOptions options = TestOptions();
  for (const size_t bytes :
       {size_t{0}, ChannelLayout::kSegmentBytesMin - 1, ChannelLayout::kSegmentBytesMax + 1}) {
    options.segment_bytes = bytes;
    EXPECT_EQ(ConnectError(address, options).code(), Code::kInvalidArgument);
  }
}

TEST(ChannelClient, DoesNotWaitForEverForAHandShake) {
  const std::string address = NewAddress();
  const Result<OwnedFd> listener = ListenOnChannel(address);
  ASSERT_TRUE(listener.ok());
  ChannelClientOptions options = TestOptions();
  options.connect_timeout = 20 * kMillisecond;
  const Status status = ConnectError(address, options);
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_NE(status.message().find("in time"), std::string::npos) << status.message();
}

TEST(ChannelClient, TrustsNoServerOfSomebodyElse) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  constexpr uid_t kSomebody = 65534;
  const std::string address = NewAddress();
  ASSERT_EQ(seteuid(kSomebody), 0);
  const Result<OwnedFd> listener = ListenOnChannel(address);
  ASSERT_EQ(seteuid(0), 0);
  ASSERT_TRUE(listener.ok());
  ChannelClientOptions options = TestOptions();
  options.connect_timeout = 20 * kMillisecond;
  const Status status = ConnectError(address, options);
  EXPECT_EQ(status.code(), Code::kPermissionDenied);
  EXPECT_NE(status.message().find("server_user = 65534"), std::string::npos) << status.message();
  options.server_user = 1;
  EXPECT_EQ(ConnectError(address, options).code(), Code::kPermissionDenied);
  options.server_user = kSomebody;
  EXPECT_EQ(ConnectError(address, options).code(), Code::kUnavailable);  // It does not answer.
}

TEST(ChannelClient, RefusesMemoryThatIsNotWhatTheServerSays) {
  const std::string address = NewAddress();
  const OwnedFd listener = *ListenOnChannel(address);
  struct Offer {
    size_t bytes;
    uint64_t said_bytes;
  };
  for (const Offer offer : {Offer{kTestSegmentBytes, kTestSegmentBytes + 4096},
                            Offer{ChannelLayout::kSegmentBytesMin / 4096 * 4096 - 4096,
                                  ChannelLayout::kSegmentBytesMin / 4096 * 4096 - 4096}}) {
    const SealedSegment memory = *SealedSegment::Create(offer.bytes);
    const EventFd event_fd = *EventFd::Create();
    std::thread server([&] {
      pollfd watched{.fd = listener.get(), .events = POLLIN, .revents = 0};
      poll(&watched, 1, 20'000);
      const OwnedFd socket(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      watched.fd = socket.get();
      poll(&watched, 1, 20'000);
      EXPECT_TRUE(ReceiveHello(socket.get()).ok());
      EXPECT_TRUE(SendWelcome(socket.get(), offer.said_bytes, memory.fd(), event_fd.fd()).ok());
    });
    EXPECT_EQ(ConnectError(address).code(), Code::kInternal);
    server.join();
  }
}

TEST(ChannelClient, LetsOutputsOutliveIt) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor& said) {
    said.deadline_ns == kNever ? channel.EchoCopies(said) : channel.EchoInputs(said);
  });
  const int mappings = MappingsOf("memfd:fastserve");
  const int descriptors = DescriptorsOf("memfd:fastserve");
  {
    std::vector<ChannelResponse> responses;
    {
      const std::shared_ptr<ChannelClient> client = ConnectTo(server);
      for (const Nanos deadline : {kNever, kNever - 1}) {
        const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "kept");
        ASSERT_TRUE(call->Send(deadline).ok());
        responses.push_back(NextOf(*call));
      }
    }
    for (const ChannelResponse& response : responses) {
      EXPECT_EQ(TextOf(response.outputs.at(0).bytes), "kept");
    }
  }
  EXPECT_TRUE(ScriptedServer::Becomes([&] {
    return MappingsOf("memfd:fastserve") == mappings &&
           DescriptorsOf("memfd:fastserve") == descriptors;
  }));
}

TEST(ChannelClient, CallsMayOutliveItAndAreOver) {
  ScriptedServer server([](ServedChannel&, const Descriptor&) {});
  std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  ASSERT_TRUE(call->Send(kNever).ok());
  client.reset();
  EXPECT_FALSE(call->is_under_way());
  EXPECT_EQ(ErrorOf(*call).code(), Code::kUnavailable);
  EXPECT_EQ(call->Send(kNever).code(), Code::kUnavailable);
  EXPECT_EQ(call->AddInput("y", DataType::kBool, Shape({1})).status().code(), Code::kUnavailable);
}

TEST(ChannelClient, ClosesOnceAndSaysSo) {
  ScriptedServer server(&Echo);
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  ASSERT_TRUE(call->Send(kNever).ok());
  const ChannelResponse response = NextOf(*call);
  EXPECT_TRUE(client->is_open());
  std::thread other([&] { client->Close(); });
  client->Close();
  other.join();
  EXPECT_FALSE(client->is_open());
  EXPECT_EQ(TextOf(response.outputs.at(0).bytes), "x");
  const Status status = call->Send(kNever);
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(status.message(), "the channel was closed");
}

// Nobody waits at the moment in which it goes, as when it drains.
TEST(ChannelClient, WhatTheServerSaidBeforeItWentIsSaid) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor& said) {
    channel.EchoCopies(said);
    channel.Die();
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  ASSERT_TRUE(call->Send(kNever).ok());
  EXPECT_TRUE(ScriptedServer::Becomes([&] { return !client->is_open(); }));
  EXPECT_EQ(TextOf(NextOf(*call).outputs.at(0).bytes), "x");
  EXPECT_TRUE(IsOver(*call));
  EXPECT_EQ(call->Send(kNever).code(), Code::kUnavailable);
}

TEST(ChannelClient, ANewOneTakesOverWhenTheServerComesBack) {
  const std::string address = NewAddress();
  std::shared_ptr<ChannelClient> first;
  {
    ScriptedServer server(&Echo, address);
    first = ConnectTo(server);
    ASSERT_NE(first, nullptr);
  }
  EXPECT_TRUE(ScriptedServer::Becomes([&] { return !first->is_open(); }));
  ScriptedServer server(&Echo, address);
  const std::shared_ptr<ChannelClient> second = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*second, "m", "x");
  ASSERT_TRUE(call->Send(kNever).ok());
  EXPECT_EQ(TextOf(NextOf(*call).outputs.at(0).bytes), "x");
  EXPECT_EQ((*first->NewCall("m", "", ""))->Send(kNever).code(), Code::kUnavailable);
}

TEST(ChannelClient, DescribesModels) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor& said) {
    if (said.kind == DescriptorKind::kCancel) return;
    EXPECT_EQ(said.kind, DescriptorKind::kDescribe);
    std::vector<std::byte> text;
    const ChannelMessage asked = channel.Read(said, &text);
    if (asked.model == "none") return channel.End(said.request, Code::kNotFound, "no such model");
    if (asked.model == "silent") return;
    if (asked.model == "nothing") return channel.End(said.request, Code::kOk);
    EXPECT_EQ(asked.version, "3");
    ChannelMessage description = Named("digits", "3");
    description.tensors.push_back({"image", DataType::kFp32, Shape({-1, 784}), 0, 0, 0});
    description.tensors.push_back(
        {"label", DataType::kInt64, Shape({-1}), 0, 0, ChannelTensor::kOutput});
    description.max_batch_size = 32;
    channel.Respond(said, description, DescriptorKind::kLast);
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const Result<ChannelDescription> found = client->Describe("digits", "3", kNever);
  ASSERT_TRUE(found.ok()) << found.status().message();
  ASSERT_EQ(found->message.tensors.size(), 2u);
  EXPECT_EQ(found->message.tensors[0].shape, Shape({-1, 784}));
  EXPECT_EQ(found->message.tensors[1].flags, ChannelTensor::kOutput);
  EXPECT_EQ(found->message.max_batch_size, 32);
  const Status none = client->Describe("none", "", kNever).status();
  EXPECT_EQ(none.code(), Code::kNotFound);
  EXPECT_EQ(none.message(), "no such model");
  EXPECT_EQ(client->Describe("silent", "", NowNanos() + kMillisecond).status().code(),
            Code::kDeadlineExceeded);
  EXPECT_TRUE(server.HasCancels(1));
  EXPECT_EQ(client->Describe("nothing", "", kNever).status().code(), Code::kInternal);
  const std::string long_text(ChannelMessage::kTextBytesMax + 1, 'x');
  EXPECT_EQ(client->Describe(long_text, "", kNever).status().code(), Code::kInvalidArgument);
}

TEST(ChannelClient, AnswersNothingInAChildOfFork) {
  ScriptedServer server(&Echo);
  std::shared_ptr<ChannelClient> client = ConnectTo(server);
  std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  ASSERT_TRUE(call->Send(kNever).ok());
  ChannelResponse response = NextOf(*call);
  ASSERT_TRUE(call->Send(kNever).ok());
  const int status = StatusOfChild([&] {
    const auto is_refused = [](const Status& status) {
      return status.code() == Code::kFailedPrecondition;
    };
    const bool all = is_refused(client->NewCall("m", "", "").status()) &&
                     is_refused(client->Describe("m", "", kNever).status()) &&
                     is_refused(call->Send(kNever)) && is_refused(call->Next(kNever).status()) &&
                     is_refused(call->Want("y")) && !call->is_under_way() && call->Watch(1) &&
                     client->TakeReady().empty() && client->bytes_in_use() == 0;
    call->Cancel();
    client->Close();
    call.reset();
    client.reset();
    response.outputs.clear();
    return all ? 0 : 1;
  });
  EXPECT_EQ(status, 0);
  // The parent goes on.
  EXPECT_EQ(TextOf(NextOf(*call).outputs.at(0).bytes), "x");
  EXPECT_EQ(TextOf(response.outputs.at(0).bytes), "x");
}

}  // namespace
}  // namespace fastserve
