#include "serving/scheduling/cost_model.h"

#include <gtest/gtest.h>

namespace fastserve {
namespace {

TEST(CostModel, KnowsNothingOfSizesItHasNotSeen) {
  CostModel cost;
  EXPECT_EQ(cost.P90(100), kNever);
  cost.Record(100, 5, 1);
  EXPECT_EQ(cost.P90(100), 5);
  EXPECT_EQ(cost.P90(127), 5);  // The same power of two,
  EXPECT_EQ(cost.P90(128), kNever);
  EXPECT_EQ(cost.P90(0), kNever);
}

TEST(CostModel, ForgivesThreeOutliersInAWindow) {
  CostModel cost;
  for (int i = 0; i < 320; ++i) cost.Record(64, i % 32 < 3 ? kSecond : 10, 1);
  EXPECT_EQ(cost.P90(64), 10);
  for (int i = 0; i < 320; ++i) cost.Record(64, i % 32 < 4 ? kSecond : 10, 1);
  EXPECT_EQ(cost.P90(64), kSecond);
}

TEST(CostModel, FollowsAModelThatBecameSlowWithinOneRefresh) {
  CostModel cost;
  for (int i = 0; i < 100; ++i) cost.Record(64, 10, 1);
  for (int i = 0; i < 12; ++i) cost.Record(64, 1000, 1);
  EXPECT_EQ(cost.P90(64), 1000);
}

TEST(CostModel, TellsTheMedianOfASizeOrOfTheNextSmallerOneThatWasSeen) {
  CostModel cost;
  EXPECT_EQ(cost.TypicalOf(SIZE_MAX).run, 0);
  for (int i = 0; i < 9; ++i) cost.Record(64, 10 + i, 1000 + i);
  EXPECT_EQ(cost.TypicalOf(64).run, 14);
  EXPECT_EQ(cost.TypicalOf(64).learned_ns, 1008);
  EXPECT_EQ(cost.TypicalOf(63).run, 0);
  cost.Record(SIZE_MAX, 99, 2000);
  EXPECT_EQ(cost.TypicalOf(SIZE_MAX / 4).run, 14);
  EXPECT_EQ(cost.TypicalOf(SIZE_MAX).run, 99);
}

TEST(CostModel, ForgivesASlowFirstRunWhenItHasSeenAnother) {
  CostModel cost;
  cost.Record(64, kSecond, 1);
  EXPECT_EQ(cost.TypicalOf(64).run, kSecond);
  cost.Record(64, 10, 2);
  EXPECT_EQ(cost.TypicalOf(64).run, 10);
}

}  // namespace
}  // namespace fastserve
