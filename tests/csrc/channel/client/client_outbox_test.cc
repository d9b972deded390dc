#include "channel/client/client_outbox.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace fastserve {
namespace {

// A ring of its own, and whoever reads it.
class ClientOutboxTest : public testing::Test {
 protected:
  static Descriptor Numbered(uint64_t number) {
    return {DescriptorKind::kInfer, 0, number, 0, 0, kNever, {}};
  }
  // The numbers of requests, and the offsets of releases.
  std::vector<uint64_t> Heard() {
    std::vector<uint64_t> numbers;
    Descriptor said;
    while (consumer_.TryPop(&said)) {
      numbers.push_back(said.kind == DescriptorKind::kRelease ? said.offset : said.request);
    }
    return numbers;
  }
  bool WasRung() {
    const uint32_t now = head_->server.Prepare();
    head_->server.Withdraw();
    return std::exchange(key_, now) != now;
  }

  const std::unique_ptr<ChannelHead> head_ = std::make_unique<ChannelHead>();
  DescriptorRing::Consumer consumer_ = head_->requests.TakeConsumer();
  ClientOutbox outbox_{*head_, head_->requests.TakeProducer(), *EventFd::Create()};
  uint32_t key_ = head_->server.Prepare();
};

TEST_F(ClientOutboxTest, KeepsTheOrderThoughTheRingIsFull) {
  constexpr uint64_t kCount = 3 * kChannelSlots;
  for (uint64_t i = 0; i < kCount; ++i) outbox_.Push(Numbered(i));
  EXPECT_GT(outbox_.flush_due().Drain(), 0u);
  EXPECT_FALSE(outbox_.Flush());
  std::vector<uint64_t> all;
  bool is_done = false;
  for (int i = 0; i < 10 && !is_done; ++i) {
    const std::vector<uint64_t> heard = Heard();
    all.insert(all.end(), heard.begin(), heard.end());
    is_done = outbox_.Flush();
  }
  EXPECT_TRUE(is_done);
  const std::vector<uint64_t> rest = Heard();
  all.insert(all.end(), rest.begin(), rest.end());
  ASSERT_EQ(all.size(), kCount);
  for (uint64_t i = 0; i < kCount; ++i) ASSERT_EQ(all[i], i);
  EXPECT_TRUE(outbox_.Flush());
  EXPECT_EQ(outbox_.flush_due().Drain(), 0u);
}

TEST_F(ClientOutboxTest, AReleaseIsThereAtOnceAndRingsWhenManyAre) {
  WasRung();
  for (uint64_t i = 1; i < ClientOutbox::kManyReleases; ++i) {
    outbox_.Release(i);
    EXPECT_EQ(Heard(), std::vector<uint64_t>{i});
  }
  EXPECT_FALSE(WasRung());
  outbox_.Release(99);
  EXPECT_TRUE(WasRung());
  // Whoever pushes a request rings, so the count begins anew.
  for (uint64_t i = 1; i < ClientOutbox::kManyReleases; ++i) outbox_.Release(i);
  outbox_.Push(Numbered(1));
  outbox_.Release(1);
  EXPECT_FALSE(WasRung());
}

TEST_F(ClientOutboxTest, TellsNobodyAfterItIsClosed) {
  for (uint64_t i = 0; i < kChannelSlots + 5; ++i) outbox_.Push(Numbered(i));
  outbox_.Close();
  EXPECT_EQ(Heard().size(), kChannelSlots);
  outbox_.Release(1);
  outbox_.Push(Numbered(1));
  EXPECT_TRUE(outbox_.Flush());
  EXPECT_TRUE(Heard().empty());
}

TEST_F(ClientOutboxTest, ManyThreadsMayRelease) {
  constexpr int kThreads = 4;
  constexpr uint64_t kEach = 2000;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this] {
      for (uint64_t i = 0; i < kEach; ++i) outbox_.Release(1);
    });
  }
  size_t heard = 0;
  const Nanos deadline = NowNanos() + 20 * kSecond;
  while (heard < kThreads * kEach && NowNanos() < deadline) {
    heard += Heard().size();
    outbox_.Flush();
  }
  EXPECT_EQ(heard, kThreads * kEach);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace fastserve
