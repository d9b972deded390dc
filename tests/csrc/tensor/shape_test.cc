#include "tensor/shape.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace fastserve {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(Shape, ElementsIsTheProductOfTheDimensions) {
  EXPECT_EQ(Shape().Elements(), 1);
  EXPECT_EQ(Shape({5}).Elements(), 5);
  EXPECT_EQ(Shape({2, 3, 4}).Elements(), 24);
  EXPECT_EQ(Shape({kMax}).Elements(), kMax);
  EXPECT_EQ(Shape({2, 0, 4}).Elements(), 0);
}

TEST(Shape, ElementsIsNothingWhenTheProductDoesNotFit) {
  EXPECT_FALSE(Shape({kMax, 2}).Elements());
  EXPECT_FALSE(Shape({int64_t{1} << 32, int64_t{1} << 32}).Elements());
  // A product that wraps to a small number is still one that did not fit.
  EXPECT_FALSE(Shape({int64_t{1} << 32, int64_t{1} << 32, 3}).Elements());
}

// A 0 makes the tensor empty, however long its other dimensions are and on whichever side of it.
TEST(Shape, ElementsIsZeroBesideDimensionsThatOverflow) {
  EXPECT_EQ(Shape({kMax, kMax, 0}).Elements(), 0);
  EXPECT_EQ(Shape({0, kMax, kMax}).Elements(), 0);
}

TEST(Shape, ElementsIsNothingForANegativeDimensionEvenBesideAZero) {
  EXPECT_FALSE(Shape({-1}).Elements());
  EXPECT_FALSE(Shape({0, -1}).Elements());
  EXPECT_FALSE(Shape({-1, 0}).Elements());
  EXPECT_FALSE(Shape({-2, -2}).Elements());
  EXPECT_FALSE(Shape({std::numeric_limits<int64_t>::min()}).Elements());
}

TEST(Shape, MatchesASpecInWhichMinusOneIsAnyLength) {
  const Shape spec{-1, 3};
  EXPECT_TRUE(Shape({7, 3}).Matches(spec));
  EXPECT_TRUE(Shape({0, 3}).Matches(spec));
  EXPECT_FALSE(Shape({7, 4}).Matches(spec));
  EXPECT_FALSE(Shape({3}).Matches(spec));
  EXPECT_FALSE(Shape({7, 3, 1}).Matches(spec));
  EXPECT_TRUE(Shape().Matches(Shape()));
  // It is the specification that may leave open, not the tensor.
  EXPECT_FALSE(Shape({7, -1}).Matches(spec));
}

TEST(Shape, RowIsAllButTheFirstDimension) {
  EXPECT_EQ(Shape({8, 2, 3}).Row(), Shape({2, 3}));
  EXPECT_EQ(Shape({8}).Row(), Shape());
  EXPECT_EQ(Shape().Row(), Shape());
}

TEST(Shape, AppendStopsAtTheLargestRank) {
  Shape shape;
  for (size_t i = 0; i < Shape::kMaxRank; ++i) {
    ASSERT_TRUE(shape.Append(static_cast<int64_t>(i)));
  }
  const Shape full = shape;
  EXPECT_FALSE(shape.Append(99));
  EXPECT_EQ(shape, full);
  EXPECT_EQ(shape.rank(), Shape::kMaxRank);
  EXPECT_EQ(shape[11], 11);
}

TEST(Shape, EqualityLooksAtTheRankAndNotBeyondIt) {
  EXPECT_EQ(Shape({2, 3}), Shape({2, 3}));
  EXPECT_NE(Shape({2, 3}), Shape({3, 2}));
  EXPECT_NE(Shape({2}), Shape({2, 0}));
  EXPECT_NE(Shape(), Shape({0}));
  Shape changed{2, 3};
  changed.Set(0, 9);
  EXPECT_EQ(changed, Shape({9, 3}));
}

TEST(Shape, IsWrittenAsTheProtocolWritesIt) {
  EXPECT_EQ(Shape().ToString(), "[]");
  EXPECT_EQ(Shape({-1}).ToString(), "[-1]");
  EXPECT_EQ(Shape({2, 3}).ToString(), "[2,3]");
}

TEST(ShapeDeathTest, TooManyDimensionsAreAProgrammersError) {
  const std::vector<int64_t> dims(Shape::kMaxRank + 1, 1);
  EXPECT_DEATH((void)Shape(std::span(dims)), "13 and 12");
}

}  // namespace
}  // namespace fastserve
