#include "gateway/completion_queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gateway/exchange.h"
#include "gateway/fake_backend.h"

namespace fastserve {
namespace {

std::shared_ptr<CompletionQueue> NewQueue() {
  Result<std::shared_ptr<CompletionQueue>> queue = CompletionQueue::Create();
  EXPECT_TRUE(queue.ok());
  return *std::move(queue);
}

struct Exchanges {
  std::unique_ptr<Exchange> New(const std::shared_ptr<CompletionQueue>& queue) {
    return std::make_unique<Exchange>(queue, admission, pool);
  }
  std::shared_ptr<Admission> admission = std::make_shared<Admission>(Admission::Options{});
  std::shared_ptr<SlabPool> pool = SlabPool::Create({});
};

void End(Exchange& exchange) { exchange.OnEnd(RequestPtr(&exchange.request), Status()); }

bool WasSignalled(const CompletionQueue& queue, int timeout_ms = 0) {
  pollfd poller{.fd = queue.fd(), .events = POLLIN, .revents = 0};
  return poll(&poller, 1, timeout_ms) == 1;
}

TEST(CompletionQueue, SignalsOnceUntilItIsDrained) {
  Exchanges exchanges;
  const auto queue = NewQueue();
  EXPECT_FALSE(WasSignalled(*queue));
  const auto first = exchanges.New(queue);
  const auto second = exchanges.New(queue);
  const auto third = exchanges.New(queue);
  End(*first);
  EXPECT_TRUE(WasSignalled(*queue));
  End(*second);
  ASSERT_EQ(queue->Drain(true), first.get());
  EXPECT_EQ(CompletionQueue::Next(first.get()), second.get());
  EXPECT_EQ(CompletionQueue::Next(second.get()), nullptr);
  EXPECT_FALSE(WasSignalled(*queue));
  EXPECT_EQ(queue->Drain(true), nullptr);
  End(*third);
  EXPECT_TRUE(WasSignalled(*queue));
  EXPECT_EQ(queue->Drain(true), third.get());
}

TEST(CompletionQueue, DoesNotSignalTheThreadThatDrainsAnyway) {
  Exchanges exchanges;
  const auto queue = NewQueue();
  const auto other = NewQueue();
  const auto mine = exchanges.New(queue);
  const auto others = exchanges.New(other);
  const auto nested = exchanges.New(other);
  {
    const CompletionQueue::LoopScope scope(*queue);
    End(*mine);
    End(*others);
    EXPECT_FALSE(WasSignalled(*queue));
    EXPECT_TRUE(WasSignalled(*other)) << "that is another loop's";
    EXPECT_EQ(other->Drain(true), others.get());
    {
      const CompletionQueue::LoopScope inner(*other);
      End(*nested);
    }
    EXPECT_FALSE(WasSignalled(*other));
    EXPECT_EQ(other->Drain(false), nested.get());
    EXPECT_EQ(queue->Drain(false), mine.get());
  }
  const auto later = exchanges.New(queue);
  End(*later);
  EXPECT_TRUE(WasSignalled(*queue)) << "the scope is over";
  EXPECT_EQ(queue->Drain(true), later.get());
}

TEST(CompletionQueue, SignalsFromAnotherThreadWithinTheScope) {
  Exchanges exchanges;
  const auto queue = NewQueue();
  const auto exchange = exchanges.New(queue);
  const CompletionQueue::LoopScope scope(*queue);
  std::thread([&] { End(*exchange); }).join();
  EXPECT_TRUE(WasSignalled(*queue));
  EXPECT_EQ(queue->Drain(true), exchange.get());
}

// What nobody drains ends with its queue, and gives back what it held.
TEST(CompletionQueue, TakesWhatNobodyDrainedWithIt) {
  Exchanges exchanges;
  auto queue = NewQueue();
  const auto model = Serve(EchoBackend(), Named("m"));
  for (int i = 0; i < 3; ++i) {
    auto exchange = exchanges.New(queue);
    exchange->servable = model;
    ASSERT_TRUE(exchange->body.Start(10, std::nullopt).ok());
    End(*exchange.release());
  }
  EXPECT_EQ(exchanges.admission->in_flight_bytes(), 30u);
  queue.reset();
  EXPECT_EQ(exchanges.admission->in_flight_bytes(), 0u);
  EXPECT_EQ(model.use_count(), 1);
}

TEST(CompletionQueue, LosesNothingBetweenThreads) {
  constexpr int kThreads = 3;
  constexpr int kEach = 2000;
  Exchanges exchanges;
  const auto queue = NewQueue();
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&exchanges, queue] {
      for (int k = 0; k < kEach; ++k) {
        auto exchange = exchanges.New(queue);
        exchange->id = "x";
        End(*exchange.release());
      }
    });
  }
  int drained = 0;
  while (drained < kThreads * kEach) {
    ASSERT_TRUE(WasSignalled(*queue, 10'000)) << drained;
    for (Exchange* exchange = queue->Drain(true); exchange != nullptr; ++drained) {
      EXPECT_EQ(exchange->id, "x");
      delete std::exchange(exchange, CompletionQueue::Next(exchange));
    }
  }
  for (std::thread& thread : threads) thread.join();
}

// The loop goes while instances' threads end what they had: the last one takes the queue with it.
TEST(CompletionQueue, MayBeLeftByItsLoopAtAnyTime) {
  Exchanges exchanges;
  for (int round = 0; round < 200; ++round) {
    auto queue = NewQueue();
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      std::vector<Exchange*> mine;
      for (int k = 0; k < 4; ++k) {
        mine.push_back(exchanges.New(queue).release());
        ASSERT_TRUE(mine.back()->body.Start(1, std::nullopt).ok());
      }
      threads.emplace_back([mine = std::move(mine)] {
        for (Exchange* exchange : mine) End(*exchange);
      });
    }
    if (round % 2 == 0) {
      for (Exchange* exchange = queue->Drain(true); exchange != nullptr;) {
        delete std::exchange(exchange, CompletionQueue::Next(exchange));
      }
    }
    queue.reset();
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(exchanges.admission->in_flight_bytes(), 0u);
  }
}

}  // namespace
}  // namespace fastserve
