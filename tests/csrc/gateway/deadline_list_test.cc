#include "gateway/deadline_list.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <vector>

namespace fastserve {
namespace {

// Seeded joining and leaving, beside a map that says what must be there.
TEST(DeadlineList, KnowsWhoIsInAndWhoIsFirst) {
  const auto queue = *CompletionQueue::Create();
  const auto admission = std::make_shared<Admission>(Admission::Options{});
  const std::shared_ptr<SlabPool> pool = SlabPool::Create({});
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (int i = 0; i < 20; ++i) {
    exchanges.push_back(std::make_unique<Exchange>(queue, admission, pool));
  }
  std::mt19937_64 random(7);
  DeadlineList list;
  std::map<Exchange*, Nanos> expected;
  for (int step = 0; step < 5000; ++step) {
    Exchange* const exchange = exchanges[random() % exchanges.size()].get();
    if (expected.contains(exchange) || random() % 4 == 0) {
      list.Remove(exchange);
      expected.erase(exchange);
    } else {
      const auto deadline = static_cast<Nanos>(random() % 1000);
      list.Add(exchange, deadline);
      expected[exchange] = deadline;
    }
    ASSERT_EQ(list.size(), expected.size());
    Nanos earliest = kNever;
    for (const auto& [each, deadline] : expected) {
      earliest = std::min(earliest, deadline);
      ASSERT_EQ(list.DeadlineOf(*each), deadline);
      ASSERT_EQ(list[each->deadline_index].exchange, each);
    }
    ASSERT_EQ(list.Earliest(), earliest);
  }
  list.Remove(exchanges[0].get());
  EXPECT_EQ(list.DeadlineOf(*exchanges[0]), kNever);
}

}  // namespace
}  // namespace fastserve
