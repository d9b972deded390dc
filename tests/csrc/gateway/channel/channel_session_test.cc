#include "gateway/channel/channel_session.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "gateway/channel/raw_channel.h"

namespace fastserve {
namespace {

using Pair = std::array<float, 2>;

class ChannelSessionTest : public ChannelTest {};

TEST_F(ChannelSessionTest, AnswersWithTheBytesOfTheInputWhereTheEngineDoes) {
  Publish(EchoBackend());
  Listen();
  RawChannel client(address_);
  ASSERT_TRUE(client.status().ok()) << client.status().message();
  for (uint64_t request = 0; request < 5; ++request) {
    client.Ask(request, {7, 8});
    const std::optional<Descriptor> last = client.Pop();
    ASSERT_TRUE(last);
    EXPECT_EQ(last->kind, DescriptorKind::kLast);
    EXPECT_EQ(last->request, request);
    const ChannelMessage response = client.MessageOf(*last);
    EXPECT_EQ(response.model, "m");
    EXPECT_EQ(response.version, "1");
    ASSERT_EQ(response.tensors.size(), 1u);
    EXPECT_EQ(response.tensors[0].name, "y");
    EXPECT_EQ(response.tensors[0].offset, client.PlaceOf(request) + RawChannel::kFloatsAt);
    client.Release(*last);
  }
}

TEST_F(ChannelSessionTest, PutsOutputsIntoItsOwnHalf) {
  Publish(FloatBackend());
  Listen();
  RawChannel client(address_);
  client.Ask(3, {7, 8});
  const std::optional<Descriptor> last = client.Pop();
  ASSERT_TRUE(last);
  ASSERT_EQ(last->kind, DescriptorKind::kLast);
  const ChannelTensor output = client.MessageOf(*last).tensors.at(0);
  EXPECT_TRUE(client.layout().server_heap.Contains(output.offset, output.bytes));
  EXPECT_EQ(client.FloatsAt(output.offset), (Pair{8, 9}));
}

TEST_F(ChannelSessionTest, SaysWhatIsWrong) {
  Publish(EchoBackend());
  Listen();
  RawChannel client(address_);
  ChannelMessage message = client.FloatsMessage(1);
  message.model = "other";
  client.Push(client.Write(message, 1));
  std::optional<Descriptor> end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->kind, DescriptorKind::kEnd);
  EXPECT_EQ(end->code, static_cast<uint32_t>(Code::kNotFound));
  EXPECT_EQ(client.TextOf(*end), "model 'other' is not served");
  client.Release(*end);

  message = client.FloatsMessage(1);
  message.tensors[0].offset = client.layout().server_heap.begin;
  client.Push(client.Write(message, 1));
  end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->code, static_cast<uint32_t>(Code::kInvalidArgument));
  EXPECT_NE(client.TextOf(*end).find("client's half"), std::string::npos) << client.TextOf(*end);
}

TEST_F(ChannelSessionTest, AModelThatIsNotLoadedYetIsNotUnknown) {
  ChannelListenerOptions options;
  options.is_loading = true;
  Listen(options);
  RawChannel client(address_);
  client.Ask(0);
  std::optional<Descriptor> end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->code, static_cast<uint32_t>(Code::kUnavailable));
  client.Release(*end);
  listener_->EndLoading();
  client.Ask(1);
  end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->code, static_cast<uint32_t>(Code::kNotFound));
}

TEST_F(ChannelSessionTest, DescribesAModel) {
  Publish(EchoBackend());
  Listen();
  RawChannel client(address_);
  ChannelMessage message;
  message.model = "m";
  Descriptor asked = client.Write(message, 1);
  asked.kind = DescriptorKind::kDescribe;
  client.Push(asked);
  const std::optional<Descriptor> last = client.Pop();
  ASSERT_TRUE(last);
  ASSERT_EQ(last->kind, DescriptorKind::kLast);
  const ChannelMessage said = client.MessageOf(*last, MessageUse::kDescription);
  EXPECT_EQ(said.max_batch_size, 8);
  ASSERT_EQ(said.tensors.size(), 2u);
  EXPECT_EQ(said.tensors[0].name, "x");
  EXPECT_EQ(said.tensors[0].shape, Shape({-1, 2}));
  EXPECT_EQ(said.tensors[1].flags, ChannelTensor::kOutput);
}

TEST_F(ChannelSessionTest, CancelsAndEndsTheLateWhileTheEngineRuns) {
  const auto gate = std::make_shared<Gate>();
  Publish(GatedBackend(gate));
  Listen();
  RawChannel client(address_);
  client.Ask(0);
  gate->AwaitWaiting(1);
  Descriptor late = client.Write(client.FloatsMessage(1), 1);
  late.deadline_ns = NowNanos() + 20 * kMillisecond;
  client.Push(late);
  std::optional<Descriptor> end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->request, 1u);
  EXPECT_EQ(end->code, static_cast<uint32_t>(Code::kDeadlineExceeded));
  client.Cancel(0);
  end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->request, 0u);
  EXPECT_EQ(end->code, static_cast<uint32_t>(Code::kCancelled));
  EXPECT_EQ(listener_->in_flight(), 0u);
  gate->Open();
  // The slots are free, and what the engine gave to those is nobody's.
  client.Ask(0);
  end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->kind, DescriptorKind::kLast);
}

TEST_F(ChannelSessionTest, AClientThatBreaksTheProtocolIsLetGo) {
  Publish(EchoBackend());
  Listen();
  const auto broken = [&](auto say) {
    RawChannel client(address_);
    ASSERT_TRUE(client.status().ok()) << client.status().message();
    say(client);
    char byte;
    EXPECT_EQ(read(client.socket(), &byte, 1), 0) << "the server kept the connection";
  };
  broken([](RawChannel& client) {
    Descriptor unknown{};
    unknown.kind = static_cast<DescriptorKind>(99);
    client.Push(unknown);
  });
  broken([](RawChannel& client) {
    Descriptor release{};
    release.kind = DescriptorKind::kRelease;
    release.offset = client.layout().server_heap.begin;
    client.Push(release);
  });
  EXPECT_TRUE(Await([&] { return clients() == 0 && segment_bytes() == 0; }));
  EXPECT_EQ(listener_->stats().violations.value(), 2u);
}

}  // namespace
}  // namespace fastserve
