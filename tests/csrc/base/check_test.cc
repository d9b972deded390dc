#include "base/check.h"

#include <gtest/gtest.h>

namespace {

TEST(Check, EvaluatesItsArgumentsOnce) {
  int calls = 0;
  const auto next = [&calls] { return ++calls; };
  FS_CHECK(next() == 1);
  FS_CHECK_OP(next(), ==, 2);
  FS_CHECK_OP(3, ==, next());
  EXPECT_EQ(calls, 3);
}

TEST(CheckDeathTest, PrintsWhatBroke) {
  const int used = 5;
  EXPECT_DEATH(FS_CHECK(used < 4), "check_test.cc:.*FS_CHECK failed: used < 4");
  EXPECT_DEATH(FS_CHECK_OP(used, <=, 4), "used <= 4 \\(5 and 4\\)");
}

}  // namespace
