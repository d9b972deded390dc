#include "channel/client/channel_response.h"

#include <gtest/gtest.h>

#include <random>

#include "channel/client/clients.h"
#include "channel/client/scripted_server.h"
#include "memory/lost_pages.h"

namespace fastserve {
namespace {

// A server that answers what a test has written, and a client that reads it.
class ChannelResponseTest : public testing::Test {
 protected:
  void SetUp() override {
    segment_ = *ClientSegment::Adopt(dup(server_.segment_fd()));
    const BufferRef block = segment_->Allocate(100);
    inputs_.push_back({"x", DataType::kUint8, Shape({100}), block->bytes().first(100), block});
  }

  CallState::Arrived Place(const ChannelMessage& message) {
    std::vector<std::byte> text(MessageBytes(message));
    WriteMessage(message, text);
    return {server_.Place(text), text.size()};
  }
  static ChannelMessage WithOutput(uint64_t offset, uint64_t bytes) {
    ChannelMessage message = Named("m");
    message.tensors.push_back(
        {"y", DataType::kUint8, Shape({static_cast<int64_t>(bytes)}), offset, bytes, 0});
    return message;
  }
  Status Read(const CallState::Arrived& arrived) {
    response_ = {};
    return ReadResponse(*segment_, arrived, inputs_, &response_);
  }
  int Released() {
    int count = 0;
    Descriptor said;
    while (server_.Hear(&said)) {
      count += said.kind == DescriptorKind::kRelease && server_.Free(said.offset) ? 1 : 0;
    }
    return count;
  }

  ServedChannel server_{*SealedSegment::Create(size_t{1} << 20), *EventFd::Create()};
  std::shared_ptr<ClientSegment> segment_;
  std::vector<CallState::Input> inputs_;
  ChannelResponse response_;
};

TEST_F(ChannelResponseTest, OutputsMayLieInBothHeaps) {
  const uint64_t input = segment_->OffsetOf(inputs_[0].bytes);
  const uint64_t block = server_.Place(BytesOf("from the server"));
  ChannelMessage message = WithOutput(input, 100);
  for (const ChannelMessage& more :
       {WithOutput(input + 64, 36), WithOutput(block, 15), WithOutput(0, 0)}) {
    message.tensors.push_back(more.tensors[0]);
  }
  ASSERT_TRUE(Read(Place(message)).ok());
  ASSERT_EQ(response_.outputs.size(), 4u);
  EXPECT_EQ(response_.outputs[0].bytes.data(), inputs_[0].bytes.data());
  EXPECT_EQ(response_.outputs[0].owner.get(), inputs_[0].block.get());
  EXPECT_EQ(response_.outputs[1].bytes.data(), inputs_[0].bytes.data() + 64);
  EXPECT_EQ(TextOf(response_.outputs[2].bytes), "from the server");
  EXPECT_TRUE(response_.outputs[3].bytes.empty());
  EXPECT_EQ(Released(), 0);
  response_.outputs.resize(2);
  EXPECT_EQ(Released(), 1);
}

TEST_F(ChannelResponseTest, WithoutOutputsOfItsOwnTheBlockGoesBackAtOnce) {
  ASSERT_TRUE(Read(Place(Named("m"))).ok());
  EXPECT_EQ(Released(), 1);
  ASSERT_TRUE(Read(Place(WithOutput(segment_->OffsetOf(inputs_[0].bytes), 100))).ok());
  EXPECT_EQ(Released(), 1);
  EXPECT_EQ(response_.message.model, "m");
}

TEST_F(ChannelResponseTest, RangesThatAreNobodysAreErrors) {
  const ChannelLayout& layout = segment_->layout();
  const uint64_t input = segment_->OffsetOf(inputs_[0].bytes);
  const BufferRef other = segment_->Allocate(100);
  for (const ChannelMessage& message :
       {WithOutput(0, 1), WithOutput(layout.client_heap.begin - 64, 65), WithOutput(input, 101),
        WithOutput(segment_->OffsetOf(other->bytes()), 1),
        WithOutput(layout.server_heap.begin - 64, 128),
        WithOutput(layout.server_heap.begin, layout.server_heap.bytes + 1),
        WithOutput(segment_->size(), 1)}) {
    const Status status = Read(Place(message));
    EXPECT_EQ(status.code(), Code::kInternal);
    EXPECT_NE(status.message().find("'y'"), std::string::npos) << status.message();
    response_ = {};
    EXPECT_EQ(Released(), 1);  // The block was the server's all the same.
  }
}

TEST_F(ChannelResponseTest, AMessageThatLiesNowhereIsAnError) {
  const ChannelLayout& layout = segment_->layout();
  for (const CallState::Arrived arrived :
       {CallState::Arrived{0, 48}, CallState::Arrived{layout.client_heap.begin, 48},
        CallState::Arrived{layout.server_heap.begin, layout.server_heap.bytes + 1},
        CallState::Arrived{layout.server_heap.begin, UINT64_MAX},
        CallState::Arrived{UINT64_MAX, UINT64_MAX}}) {
    EXPECT_EQ(Read(arrived).code(), Code::kInternal);
    ChannelDescription description;
    EXPECT_EQ(ReadDescription(*segment_, arrived, &description).code(), Code::kInternal);
  }
  EXPECT_EQ(Released(), 0);
}

TEST_F(ChannelResponseTest, AnyBytesAreReadOrRefused) {
  std::mt19937 random(1);
  ChannelMessage message = WithOutput(segment_->OffsetOf(inputs_[0].bytes), 100);
  message.tensors.push_back(WithOutput(segment_->layout().server_heap.begin, 64).tensors[0]);
  int accepted = 0;
  uint64_t sum = 0;
  for (int i = 0; i < 20'000; ++i) {
    const CallState::Arrived arrived = Place(message);
    const std::span<std::byte> bytes = server_.bytes().subspan(arrived.offset, arrived.bytes);
    for (uint32_t flips = 1 + random() % 4; flips > 0; --flips) {
      bytes[random() % bytes.size()] ^= static_cast<std::byte>(1u << random() % 8);
    }
    const Status status = Read(arrived);
    EXPECT_TRUE(status.ok() || status.code() == Code::kInternal);
    accepted += status.ok() ? 1 : 0;
    for (const ChannelResponse::Output& output : response_.outputs) {
      for (const std::byte byte : output.bytes) sum += static_cast<uint8_t>(byte);
    }
    response_ = {};
    ASSERT_EQ(Released(), 1);
  }
  EXPECT_GT(accepted, 0);
  EXPECT_EQ(sum, 0u);  // Nobody wrote there.
}

// What a client does with all that: the call is broken, the channel is not.
TEST(ChannelResponse, ThatMakesNoSenseEndsTheCall) {
  ScriptedServer server([](ServedChannel& channel, const Descriptor& said) {
    if (said.kind == DescriptorKind::kCancel) return channel.End(said.request, Code::kCancelled);
    const std::string nonsense(100, 'n');
    const uint64_t block = channel.Place(BytesOf(nonsense));
    channel.Say({DescriptorKind::kResponse, 0, said.request, block, nonsense.size(), 0, {}});
  });
  const std::shared_ptr<ChannelClient> client = ConnectTo(server);
  const std::shared_ptr<ChannelCall> call = NewCall(*client, "m", "x");
  for (int i = 1; i <= 2; ++i) {
    ASSERT_TRUE(call->Send(kNever).ok());
    const Status status = ErrorOf(*call);
    EXPECT_EQ(status.code(), Code::kInternal);
    EXPECT_NE(status.message().find("makes no sense"), std::string::npos);
    EXPECT_EQ(ErrorOf(*call).code(), Code::kInternal);
    EXPECT_TRUE(server.HasCancels(i));
    EXPECT_TRUE(server.HasReleased(i));
    EXPECT_TRUE(ScriptedServer::Becomes([&] {
      client->TakeReady();
      return !call->is_under_way();
    }));
  }
}

}  // namespace
}  // namespace fastserve
