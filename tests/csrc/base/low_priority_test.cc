#include "base/low_priority.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace fastserve {
namespace {

TEST(LowPriority, IsThatOfTheWorkAlone) {
  const int before = sched_getscheduler(0);
  int during = -1;
  std::thread::id worker;
  RunAtLowPriority([&] {
    during = sched_getscheduler(0);
    worker = std::this_thread::get_id();
  });
  EXPECT_EQ(during, SCHED_IDLE);
  EXPECT_NE(worker, std::this_thread::get_id());
  EXPECT_EQ(sched_getscheduler(0), before);
}

}  // namespace
}  // namespace fastserve
