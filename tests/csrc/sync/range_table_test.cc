#include "sync/range_table.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "sync/deterministic_schedule.h"

namespace fastserve {
namespace {

constexpr uintptr_t kUnit = RangeTable<1>::kUnitBytes;

TEST(RangeTable, FindsTheRangeThatHasAnAddressAndNoOther) {
  RangeTable<4> table;
  const auto low = table.Enter(10 * kUnit, 2 * kUnit);
  const auto high = table.Enter(12 * kUnit, kUnit);
  ASSERT_TRUE(low && high);
  EXPECT_FALSE(table.Find(10 * kUnit - 1));
  for (const uintptr_t address : {10 * kUnit, 12 * kUnit - 1}) {
    const auto found = table.Find(address);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->place, *low);
    EXPECT_EQ(found->start, 10 * kUnit);
    EXPECT_EQ(found->bytes, 2 * kUnit);
  }
  EXPECT_EQ(table.Find(12 * kUnit)->place, *high);
  EXPECT_FALSE(table.Find(13 * kUnit));
  EXPECT_FALSE(table.Find(0));
  EXPECT_FALSE(table.Find(UINTPTR_MAX));
}

TEST(RangeTable, HoldsRangesUpToItsLimits) {
  using Table = RangeTable<1>;
  Table table;
  const uintptr_t start = Table::kAddressEnd - Table::kBytesMax;
  ASSERT_TRUE(Table::CanHold(start, Table::kBytesMax));
  ASSERT_TRUE(table.Enter(start, Table::kBytesMax));
  EXPECT_EQ(table.Find(Table::kAddressEnd - 1)->bytes, Table::kBytesMax);
  EXPECT_EQ(table.Find(start)->start, start);
  EXPECT_FALSE(table.Find(start - 1));
  EXPECT_FALSE(table.Find(Table::kAddressEnd));

  EXPECT_FALSE(Table::CanHold(start + kUnit, Table::kBytesMax));
  EXPECT_FALSE(Table::CanHold(0, Table::kBytesMax + kUnit));
  EXPECT_FALSE(Table::CanHold(Table::kAddressEnd, kUnit));
  EXPECT_FALSE(Table::CanHold(UINTPTR_MAX - kUnit + 1, kUnit));
  EXPECT_FALSE(Table::CanHold(kUnit, 0));
  EXPECT_FALSE(Table::CanHold(kUnit + 1, kUnit));
  EXPECT_FALSE(Table::CanHold(kUnit, kUnit + 1));
}

TEST(RangeTable, RefusesWhenItIsFullAndTakesAgainAfterOneLeft) {
  RangeTable<2> table;
  const auto first = table.Enter(kUnit, kUnit);
  ASSERT_TRUE(table.Enter(2 * kUnit, kUnit));
  EXPECT_FALSE(table.Enter(3 * kUnit, kUnit));
  EXPECT_EQ(table.size_approx(), 2u);
  table.Leave(*first);
  EXPECT_FALSE(table.Find(kUnit));
  EXPECT_TRUE(table.Enter(3 * kUnit, kUnit));
  EXPECT_TRUE(table.Find(3 * kUnit));
}

TEST(RangeTable, ForgetsTheMarkWhenARangeLeaves) {
  RangeTable<1> table;
  const auto place = table.Enter(kUnit, kUnit);
  EXPECT_FALSE(table.IsMarked(*place));
  EXPECT_TRUE(table.Mark(*place));
  EXPECT_FALSE(table.Mark(*place)) << "only the first";
  EXPECT_TRUE(table.IsMarked(*place));
  table.Leave(*place);
  ASSERT_TRUE(table.Enter(kUnit, kUnit));
  EXPECT_FALSE(table.IsMarked(*place));
}

// Threads that come and go, each with ranges of its own. Whoever is in finds itself.
template <typename Table>
void ComeAndGo(Table& table, uintptr_t thread, int rounds, std::atomic<int>& mistakes) {
  for (int i = 0; i < rounds; ++i) {
    const uintptr_t start = (1 + thread * 8 + static_cast<uintptr_t>(i % 3)) * kUnit;
    const size_t bytes = static_cast<size_t>(1 + i % 2) * kUnit;
    const auto place = table.Enter(start, bytes);
    if (!place) {
      ++mistakes;
      continue;
    }
    const auto found = table.Find(start + bytes - 1);
    const bool is_right =
        found && found->place == *place && found->start == start && found->bytes == bytes;
    if (!is_right || table.IsMarked(*place) || !table.Mark(*place)) ++mistakes;
    table.Leave(*place);
  }
}

TEST(RangeTable, FindsWhatIsInWhileOthersComeAndGo) {
  constexpr int kRounds = 20'000;
  RangeTable<3> table;
  std::atomic<int> mistakes{0};
  std::vector<std::thread> threads;
  for (uintptr_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] { ComeAndGo(table, t, kRounds, mistakes); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(mistakes, 0);
  EXPECT_EQ(table.size_approx(), 0u);
}

TEST(RangeTable, FindsWhatIsInInAnyInterleaving) {
  for (uint64_t seed = 1; seed <= 300 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RangeTable<3, DeterministicAtom> table;
    std::atomic<int> mistakes{0};
    DeterministicSchedule schedule(seed);
    schedule.Run({[&] { ComeAndGo(table, 0, 3, mistakes); },
                  [&] { ComeAndGo(table, 1, 3, mistakes); },
                  [&] { ComeAndGo(table, 2, 3, mistakes); }});
    EXPECT_EQ(mistakes, 0);
    EXPECT_EQ(table.size_approx(), 0u);
  }
}

// Two want the last place: one of them gets it, whatever they do in between.
TEST(RangeTable, GivesItsLastPlaceToOneInAnyInterleaving) {
  for (uint64_t seed = 1; seed <= 300 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RangeTable<1, DeterministicAtom> table;
    std::array<bool, 2> is_in{};
    DeterministicSchedule schedule(seed);
    schedule.Run({[&] { is_in[0] = table.Enter(kUnit, kUnit).has_value(); },
                  [&] { is_in[1] = table.Enter(2 * kUnit, kUnit).has_value(); }});
    EXPECT_NE(is_in[0], is_in[1]);
    EXPECT_EQ(table.Find(kUnit).has_value(), is_in[0]);
    EXPECT_EQ(table.Find(2 * kUnit).has_value(), is_in[1]);
  }
}

}  // namespace
}  // namespace fastserve
