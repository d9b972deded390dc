#include "serving/scheduling/cost_model.h"

#include <gtest/gtest.h>

namespace fastserve {
namespace {

TEST(CostModel, KnowsNothingOfSizesItHasNotSeen) {
  CostModel cost;
  EXPECT_EQ(cost.P90(100), kNever);
  cost.Record(100, 5);
  EXPECT_EQ(cost.P90(100), 5);
  EXPECT_EQ(cost.P90(127), 5);  // The same power of two,
  EXPECT_EQ(cost.P90(128), kNever);
  EXPECT_EQ(cost.P90(0), kNever);
}

TEST(CostModel, ForgivesThreeOutliersInAWindow) {
  CostModel cost;
  for (int i = 0; i < 320; ++i) cost.Record(64, i % 32 < 3 ? kSecond : 10);
  EXPECT_EQ(cost.P90(64), 10);
  for (int i = 0; i < 320; ++i) cost.Record(64, i % 32 < 4 ? kSecond : 10);
  EXPECT_EQ(cost.P90(64), kSecond);
}

TEST(CostModel, FollowsAModelThatBecameSlowWithinOneRefresh) {
  CostModel cost;
  for (int i = 0; i < 100; ++i) cost.Record(64, 10);
  for (int i = 0; i < 12; ++i) cost.Record(64, 1000);
  EXPECT_EQ(cost.P90(64), 1000);
}

}  // namespace
}  // namespace fastserve
