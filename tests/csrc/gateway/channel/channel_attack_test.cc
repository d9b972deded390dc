// Clients that write whatever they like, whenever they like, into what they share with the server.

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gateway/channel/raw_channel.h"

namespace fastserve {
namespace {

class ChannelAttackTest : public ChannelTest {
 protected:
  void SetUp() override {
    ServableOptions options = Named("m");
    options.queue_depth = size_t{4} * kChannelSlots;
    Publish(FloatBackend(), options);
    Listen();
  }
  // A client that behaves has right answers.
  void ExpectServed() {
    RawChannel client(address_);
    ASSERT_TRUE(client.status().ok()) << client.status().message();
    for (uint64_t request = 0; request < 20; ++request) {
      const auto value = static_cast<float>(request);
      client.Ask(request, {value, 1});
      const std::optional<Descriptor> last = client.Pop();
      ASSERT_TRUE(last);
      ASSERT_EQ(last->kind, DescriptorKind::kLast);
      EXPECT_EQ(client.FloatsAt(client.MessageOf(*last).tensors.at(0).offset)[0], value + 1);
      client.Release(*last);
    }
  }
  void ExpectNothingLeft() {
    EXPECT_TRUE(Await([&] {
      return clients() == 0 && segment_bytes() == 0 && listener_->in_flight() == 0;
    })) << clients()
        << " clients, " << segment_bytes() << " bytes, " << listener_->in_flight() << " requests";
  }
};

TEST_F(ChannelAttackTest, DescriptorsOfAnyKindAndRange) {
  std::mt19937_64 random(1);
  constexpr std::array<uint64_t, 8> kNumbers = {
      0, 1, 64, 1 << 20, UINT32_MAX, INT64_MAX, UINT64_MAX - 63, UINT64_MAX};
  const auto any = [&] { return kNumbers[random() % kNumbers.size()]; };
  for (int round = 0; round < 200; ++round) {
    RawChannel client(address_);
    ASSERT_TRUE(client.status().ok()) << client.status().message();
    const ChannelMessage message = client.FloatsMessage(0);
    for (int i = 0; i < 8; ++i) {
      Descriptor descriptor = client.Write(message, random() % 3);
      if (random() % 2 == 0) descriptor.offset = any();
      if (random() % 2 == 0) descriptor.bytes = any();
      if (random() % 4 == 0) descriptor.request = any();
      if (random() % 4 == 0) descriptor.deadline_ns = static_cast<Nanos>(any());
      if (random() % 4 == 0) descriptor.kind = static_cast<DescriptorKind>(random() % 20);
      client.Push(descriptor);
    }
  }
  ExpectServed();
  ExpectNothingLeft();
}

TEST_F(ChannelAttackTest, MessagesWithFlippedBits) {
  std::mt19937_64 random(2);
  RawChannel client(address_);
  for (uint64_t round = 0; round < 2000; ++round) {
    const Descriptor descriptor = client.Write(client.FloatsMessage(round), round);
    std::byte& byte = client.bytes()[descriptor.offset + random() % descriptor.bytes];
    byte ^= std::byte{1} << (random() % 8);
    client.Push(descriptor);
    const std::optional<Descriptor> said = client.Pop();
    ASSERT_TRUE(said) << "round " << round;
    EXPECT_EQ(said->request, round);
    if (said->bytes > 0) client.Release(*said);
  }
  ExpectServed();
}

// While the server reads it.
TEST_F(ChannelAttackTest, BytesThatChangeAllTheTime) {
  RawChannel client(address_);
  std::atomic<bool> is_over{false};
  // By a mapping of its own, as another process of the client's would.
  const Result<SealedSegment> again = SealedSegment::Adopt(dup(client.segment_fd()), SIZE_MAX);
  ASSERT_TRUE(again.ok()) << again.status().message();
  const std::span<std::byte> heap = again->bytes().subspan(client.layout().client_heap.begin, 4096);
  std::thread flipper([&] {
    std::mt19937_64 random(3);
    while (!is_over.load(std::memory_order_relaxed)) {
      auto* const byte = reinterpret_cast<std::atomic<uint8_t>*>(&heap[random() % heap.size()]);
      byte->fetch_xor(static_cast<uint8_t>(1u << (random() % 8)), std::memory_order_relaxed);
    }
  });
  for (uint64_t request = 0; request < 2000; ++request) {
    client.Ask(request % 4 + request * kChannelSlots);
    const std::optional<Descriptor> said = client.Pop();
    if (!said) {
      ADD_FAILURE() << "request " << request << " was lost";
      break;
    }
    if (said->bytes > 0) client.Release(*said);
  }
  is_over.store(true, std::memory_order_relaxed);
  flipper.join();
  ExpectServed();
}

// The rings' indices, the bells, everything.
TEST_F(ChannelAttackTest, ScribblesOverTheWholeSegment) {
  for (uint64_t round = 0; round < 50; ++round) {
    RawChannel client(address_);
    ASSERT_TRUE(client.status().ok()) << client.status().message();
    std::mt19937_64 random(round);
    for (uint64_t request = 0; request < 4; ++request) client.Ask(request);
    for (int i = 0; i < 2000; ++i) {
      // Mostly the head: indices and bells.
      const size_t range = i % 4 == 0 ? client.bytes().size() : sizeof(ChannelHead);
      auto* const word = reinterpret_cast<std::atomic<uint64_t>*>(client.bytes().data() +
                                                                  random() % (range / 8) * 8);
      word->store(i % 2 == 0 ? random() : random() % 2048, std::memory_order_relaxed);
      if (i % 100 == 0) static_cast<void>(client.head().server.Ring());
    }
  }
  ExpectServed();
  ExpectNothingLeft();
}

TEST_F(ChannelAttackTest, TheSameSlotTwice) {
  const auto gate = std::make_shared<Gate>();
  Publish(GatedBackend(gate));
  RawChannel client(address_);
  client.Ask(5);
  gate->AwaitWaiting(1);
  client.Ask(5 + kChannelSlots);
  char byte;
  EXPECT_EQ(read(client.socket(), &byte, 1), 0);
  gate->Open();
  client.Leave();
  ExpectNothingLeft();
}

TEST_F(ChannelAttackTest, AClientThatStopsReadingHarmsNobody) {
  RawChannel client(address_, size_t{4} << 20);
  for (uint64_t request = 0; request < kChannelSlots; ++request) client.Ask(request);
  ExpectServed();
  for (uint64_t request = 0; request < kChannelSlots; ++request) {
    const std::optional<Descriptor> last = client.Pop();
    ASSERT_TRUE(last) << "after " << request;
    EXPECT_EQ(last->request, request);
    client.Release(*last);
  }
  client.Leave();
  ExpectNothingLeft();
}

}  // namespace
}  // namespace fastserve
