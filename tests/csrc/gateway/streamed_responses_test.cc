#include "gateway/streamed_responses.h"

#include <gtest/gtest.h>

#include <thread>

#include "serving/fake_backend.h"

namespace fastserve {
namespace {

std::vector<ResponseOutput> ResponseOf(std::string_view content) {
  const BufferRef owner = HeapBuffer(content);
  return {{.tensor = {.bytes = owner->bytes()}, .owner = owner}};
}

TEST(StreamedResponses, TheLoopIsToldOnceUntilItLooks) {
  StreamedResponses responses;
  std::deque<StreamedResponses::Response> ready;
  auto one = ResponseOf("1");
  auto two = ResponseOf("2");
  EXPECT_TRUE(responses.Add(one));
  EXPECT_FALSE(responses.Add(two));
  EXPECT_FALSE(responses.Take(&ready));
  EXPECT_EQ(ready.size(), 2u);
  auto three = ResponseOf("3");
  EXPECT_TRUE(responses.Add(three));
  EXPECT_FALSE(responses.End());
  EXPECT_TRUE(responses.Take(&ready));
  EXPECT_EQ(ready.size(), 3u) << "behind those that were not sent yet";
}

TEST(StreamedResponses, AnEndAlone) {
  StreamedResponses responses;
  std::deque<StreamedResponses::Response> ready;
  EXPECT_TRUE(responses.End());
  EXPECT_TRUE(responses.Take(&ready));
  EXPECT_TRUE(ready.empty());
  responses.Clear();
  EXPECT_TRUE(responses.End()) << "as new";
}

TEST(StreamedResponses, NothingIsLostBetweenThreads) {
  StreamedResponses responses;
  constexpr int kCount = 10'000;
  std::atomic<int> told = 0;
  std::thread producer([&] {
    for (int i = 0; i < kCount; ++i) {
      auto response = ResponseOf("r");
      if (responses.Add(response)) ++told;
    }
    if (responses.End()) ++told;
  });
  std::deque<StreamedResponses::Response> ready;
  size_t taken = 0;
  for (bool has_ended = false; !has_ended;) {
    if (told.load() == 0) continue;
    --told;
    has_ended = responses.Take(&ready);
    taken += ready.size();
    ready.clear();
  }
  producer.join();
  EXPECT_EQ(taken, static_cast<size_t>(kCount));
  EXPECT_EQ(told.load(), 0);
}

}  // namespace
}  // namespace fastserve
