#include "gateway/channel/channel_outbox.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <string>
#include <vector>

#include "gateway/channel/raw_channel.h"

namespace fastserve {
namespace {

// What a server says, seen through a client.
class ChannelOutboxTest : public ChannelTest {
 protected:
  static constexpr size_t kSegmentBytes = ChannelLayout::kSegmentBytesMin + (size_t{256} << 10);

  // A model whose answer to [[a, b]] is `responses` times `floats` floats, all of them a.
  void PublishStreaming(size_t responses, int64_t floats) {
    const auto run = [responses, floats](std::span<const BatchInput> inputs, int64_t,
                                         OutputSink& outputs) -> Status {
      float value = 0;
      std::memcpy(&value, inputs[0].tensor.bytes.data(), sizeof value);
      const std::vector<float> values(static_cast<size_t>(floats), value);
      for (size_t i = 0; i < responses; ++i) {
        Emit(outputs, 0, DataType::kFp32, {1, floats}, RawBytes(values));
        outputs.EndResponse();
      }
      return {};
    };
    Publish(std::make_shared<FakeBackend>(std::vector{Spec("x", DataType::kFp32, {-1, 2})},
                                          std::vector{Spec("y", DataType::kFp32, {-1, -1})}, run),
            Named("m", 1));
  }
  static void Ask(RawChannel& client, uint64_t request,
                  DescriptorKind kind = DescriptorKind::kInfer) {
    client.Ask(request, {static_cast<float>(request), 0}, kind);
  }
};

TEST_F(ChannelOutboxTest, StreamsResponsesInOrder) {
  PublishStreaming(5, 2);
  Listen();
  RawChannel client(address_);
  Ask(client, 4, DescriptorKind::kStream);
  for (int i = 0; i < 5; ++i) {
    const std::optional<Descriptor> response = client.Pop();
    ASSERT_TRUE(response);
    EXPECT_EQ(response->kind, DescriptorKind::kResponse);
    EXPECT_EQ(client.FloatsAt(client.MessageOf(*response).tensors.at(0).offset)[0], 4);
    client.Release(*response);
  }
  const std::optional<Descriptor> end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->kind, DescriptorKind::kEnd);
  EXPECT_EQ(end->code, 0u);
  EXPECT_EQ(end->bytes, 0u);
}

TEST_F(ChannelOutboxTest, APlainRequestWithManyResponsesIsAnError) {
  PublishStreaming(2, 2);
  Listen();
  RawChannel client(address_);
  Ask(client, 0);
  const std::optional<Descriptor> end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->code, static_cast<uint32_t>(Code::kInvalidArgument));
  EXPECT_NE(client.TextOf(*end).find("2 responses"), std::string::npos);
}

TEST_F(ChannelOutboxTest, WhatFindsNoRoomWaitsForReleases) {
  PublishStreaming(1, 16 << 10);  // 64 KiB and a little: a block of 128 KiB, of which one fits.
  Listen();
  RawChannel client(address_, kSegmentBytes);
  for (uint64_t request = 0; request < 3; ++request) Ask(client, request);
  for (uint64_t request = 0; request < 3; ++request) {
    const std::optional<Descriptor> last = client.Pop();
    ASSERT_TRUE(last);
    ASSERT_EQ(last->kind, DescriptorKind::kLast) << client.TextOf(*last);
    EXPECT_EQ(last->request, request);
    EXPECT_EQ(client.FloatsAt(client.MessageOf(*last).tensors.at(0).offset)[1], request);
    EXPECT_FALSE(client.Pop(20 * kMillisecond)) << "there was room for two";
    client.Release(*last);
  }
}

TEST_F(ChannelOutboxTest, AStreamWaitsInOrderAndItsEndComesLast) {
  PublishStreaming(3, 12 << 10);
  Listen();
  RawChannel client(address_, kSegmentBytes);
  Ask(client, 1, DescriptorKind::kStream);
  for (int i = 0; i < 3; ++i) {
    const std::optional<Descriptor> response = client.Pop();
    ASSERT_TRUE(response);
    ASSERT_EQ(response->kind, DescriptorKind::kResponse);
    client.Release(*response);
  }
  const std::optional<Descriptor> end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->kind, DescriptorKind::kEnd);
  EXPECT_EQ(end->code, 0u);
  EXPECT_TRUE(Await([&] { return listener_->in_flight() == 0; }));
}

TEST_F(ChannelOutboxTest, WhatCanNeverFitIsToldSo) {
  PublishStreaming(1, 64 << 10);
  Listen();
  RawChannel client(address_, kSegmentBytes);
  Ask(client, 0);
  const std::optional<Descriptor> end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->code, static_cast<uint32_t>(Code::kResourceExhausted));
  EXPECT_NE(client.TextOf(*end).find("larger segment"), std::string::npos);
}

TEST_F(ChannelOutboxTest, AClientThatReadsNothingIsBounded) {
  PublishStreaming(1000, 8 << 10);
  Listen();
  RawChannel client(address_, kSegmentBytes);
  Ask(client, 0, DescriptorKind::kStream);
  std::optional<Descriptor> said = client.Pop();
  ASSERT_TRUE(said);
  client.Release(*said);
  // More than the heap has waits for nobody: the stream ends, and says why after what is there.
  EXPECT_TRUE(Await([&] { return listener_->in_flight() == 0; }));
  while ((said = client.Pop()) && said->kind == DescriptorKind::kResponse) client.Release(*said);
  ASSERT_TRUE(said);
  EXPECT_EQ(said->kind, DescriptorKind::kEnd);
  EXPECT_EQ(said->code, static_cast<uint32_t>(Code::kResourceExhausted));
}

TEST_F(ChannelOutboxTest, KeepsMoreResponsesThanTheRingHasPlacesFor) {
  constexpr size_t kResponses = kChannelSlots + 500;
  PublishStreaming(kResponses, 2);
  Listen();
  RawChannel client(address_, size_t{4} << 20);
  Ask(client, 7, DescriptorKind::kStream);
  EXPECT_TRUE(Await([&] { return listener_->stats().responses.value() > kChannelSlots; }));
  for (size_t i = 0; i < kResponses; ++i) {
    const std::optional<Descriptor> response = client.Pop();
    ASSERT_TRUE(response) << "after " << i;
    ASSERT_EQ(response->kind, DescriptorKind::kResponse);
    client.Release(*response);
  }
  const std::optional<Descriptor> end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->kind, DescriptorKind::kEnd);
}

TEST_F(ChannelOutboxTest, ACancelledRequestDropsWhatWaits) {
  PublishStreaming(1, 16 << 10);
  Listen();
  RawChannel client(address_, kSegmentBytes);
  Ask(client, 0);
  const std::optional<Descriptor> first = client.Pop();
  ASSERT_TRUE(first);
  for (uint64_t request = 1; request < 3; ++request) Ask(client, request);
  ASSERT_TRUE(Await([&] { return listener_->in_flight() == 2; }));
  for (uint64_t request = 1; request < 3; ++request) {
    client.Cancel(request);
    const std::optional<Descriptor> end = client.Pop();
    ASSERT_TRUE(end);
    EXPECT_EQ(end->request, request);
    EXPECT_EQ(end->code, static_cast<uint32_t>(Code::kCancelled));
    if (end->bytes > 0) client.Release(*end);
  }
  EXPECT_EQ(listener_->in_flight(), 0u);
  client.Release(*first);
  Ask(client, 4);
  const std::optional<Descriptor> last = client.Pop();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->request, 4u);
  EXPECT_EQ(last->kind, DescriptorKind::kLast);
}

// An engine that computes where it is told to.
class PlacingBackend : public FakeBackend {
 public:
  static constexpr int64_t kFloats = 8 << 10;

  explicit PlacingBackend(Function function)
      : FakeBackend({Spec("x", DataType::kFp32, {-1, 2})},
                    {Spec("y", DataType::kFp32, {-1, kFloats})}, std::move(function)) {}
  bool takes_places() const override { return true; }
};

TEST_F(ChannelOutboxTest, AnEngineComputesStraightIntoTheSegment) {
  std::atomic<const std::byte*> computed{nullptr};
  Publish(std::make_shared<PlacingBackend>([&](auto, int64_t, OutputSink& outputs) -> Status {
            const OutputPlace place = outputs.PlaceFor(0);
            EXPECT_EQ(place.bytes.size(), PlacingBackend::kFloats * sizeof(float));
            if (place.bytes.empty()) return Internal("no place");
            std::ranges::fill(place.bytes, std::byte{1});
            computed.store(place.bytes.data(), std::memory_order_relaxed);
            outputs.Add(0, {DataType::kFp32, {1, PlacingBackend::kFloats}, place.bytes},
                        place.owner);
            outputs.EndResponse();
            return {};
          }),
          Named("m", 1));
  Listen();
  RawChannel client(address_, kSegmentBytes);
  for (uint64_t request = 0; request < 20; ++request) {
    client.Ask(request);
    const std::optional<Descriptor> last = client.Pop();
    ASSERT_TRUE(last);
    ASSERT_EQ(last->kind, DescriptorKind::kLast) << client.TextOf(*last);
    const ChannelTensor output = client.MessageOf(*last).tensors.at(0);
    EXPECT_TRUE(client.layout().server_heap.Contains(output.offset, output.bytes));
    EXPECT_EQ(client.bytes()[output.offset + output.bytes - 1], std::byte{1});
    client.Release(*last);
  }
  EXPECT_NE(computed.load(std::memory_order_relaxed), nullptr);
}

TEST_F(ChannelOutboxTest, WhatWasLentComesBack) {
  std::atomic<int> runs{0};
  Publish(std::make_shared<PlacingBackend>([&](auto, int64_t, OutputSink& outputs) -> Status {
            const int run = runs.fetch_add(1, std::memory_order_relaxed);
            EXPECT_FALSE(outputs.PlaceFor(0).bytes.empty()) << "run " << run;
            if (run % 2 == 0) return Internal("it failed");
            // Elsewhere than where it was told to.
            const std::vector<float> values(PlacingBackend::kFloats, 1);
            Emit(outputs, 0, DataType::kFp32, {1, PlacingBackend::kFloats}, RawBytes(values));
            outputs.EndResponse();
            return {};
          }),
          Named("m", 1));
  Listen();
  RawChannel client(address_, kSegmentBytes);
  for (uint64_t request = 0; request < 40; ++request) {
    client.Ask(request);
    const std::optional<Descriptor> said = client.Pop();
    ASSERT_TRUE(said);
    EXPECT_EQ(said->kind, request % 2 == 0 ? DescriptorKind::kEnd : DescriptorKind::kLast);
    client.Release(*said);
  }
}

// The client releases without a ring, so the session must know that it is to look.
TEST_F(ChannelOutboxTest, WakesTheSessionWhenSomethingBeginsToWait) {
  Result<SealedSegment> segment = SealedSegment::Create(kSegmentBytes);
  Result<EventFd> event_fd = EventFd::Create();
  ASSERT_TRUE(segment.ok() && event_fd.ok());
  auto* const head = new (segment->bytes().data()) ChannelHead;
  auto responses = head->responses.TakeConsumer();
  ChannelStats stats;
  ChannelOutbox outbox(segment->bytes(), *head, *std::move(event_fd), stats);
  const ServableHandle servable = ServeUnawaited(EchoBackend(), Named("m"));
  const std::vector<size_t> wanted = {0};
  const std::vector<std::byte> computed(100 << 10);
  const auto say = [&](uint64_t number) {
    std::vector<ResponseOutput> outputs = {
        {.tensor = {DataType::kFp32, {1, 25 << 10}, computed}, .owner = {}}};
    ASSERT_TRUE(outbox.Open(number));
    outbox.SayResponse({.number = number,
                        .last = true,
                        .servable = servable,
                        .id = "",
                        .wanted = wanted,
                        .outputs = outputs});
  };
  say(0);
  EXPECT_FALSE(outbox.is_waiting());
  const uint32_t key = head->server.Prepare();
  say(1);
  EXPECT_TRUE(outbox.is_waiting());
  head->server.Wait(key, kNever);  // Would hang.
  Descriptor said{};
  ASSERT_TRUE(responses.TryPop(&said));
  EXPECT_FALSE(responses.TryPop(&said));
  EXPECT_TRUE(outbox.Release(said.offset));
  outbox.Flush(NowNanos());
  EXPECT_FALSE(outbox.is_waiting());
  ASSERT_TRUE(responses.TryPop(&said));
  EXPECT_EQ(said.request, 1u);
}

TEST_F(ChannelOutboxTest, SignalsTheDescriptorOfAClientThatWatches) {
  Publish(EchoBackend());
  Listen();
  RawChannel client(address_);
  client.head().client.Watch();
  client.Ask(0);
  pollfd polled{.fd = client.event_fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&polled, 1, 20'000), 1);
  EXPECT_TRUE(client.Pop(0));
}

}  // namespace
}  // namespace fastserve
