#include "serving/scheduling/load_meter.h"

#include <gtest/gtest.h>

namespace fastserve {
namespace {

TEST(LoadMeter, IsTheShareOfTheInstancesThatRun) {
  LoadMeter meter(4);
  EXPECT_EQ(meter.Load(0), 0);
  meter.Note(0, 1);
  EXPECT_NEAR(meter.Load(10 * kSecond), 0.25, 1e-3);
  meter.Note(10 * kSecond, 3);
  EXPECT_NEAR(meter.Load(20 * kSecond), 1, 1e-3);
  meter.Note(20 * kSecond, -4);
  EXPECT_NEAR(meter.Load(30 * kSecond), 0, 1e-3);
}

// Runs of 3 ms, one every 10 ms.
TEST(LoadMeter, IsAMeanOverManyShortRuns) {
  LoadMeter meter(1);
  for (Nanos now = 0; now < 5 * kSecond; now += 10 * kMillisecond) {
    meter.Note(now, 1);
    meter.Note(now + 3 * kMillisecond, -1);
  }
  EXPECT_NEAR(meter.Load(5 * kSecond), 0.3, 0.01);
}

TEST(LoadMeter, ForgetsWithinAboutASecond) {
  LoadMeter meter(1);
  meter.Note(0, 1);
  EXPECT_NEAR(meter.Load(kSecond), 0.63, 0.01);
  meter.Note(10 * kSecond, -1);
  EXPECT_NEAR(meter.Load(11 * kSecond), 0.37, 0.01);
  EXPECT_NEAR(meter.Load(13 * kSecond), 0.05, 0.01);
}

TEST(LoadMeter, TakesATimeBeforeTheLastForTheLast) {
  LoadMeter meter(2);
  meter.Note(10 * kSecond, 2);
  meter.Note(9 * kSecond, -1);
  EXPECT_NEAR(meter.Load(8 * kSecond), 0, 1e-9);
  EXPECT_NEAR(meter.Load(20 * kSecond), 0.5, 1e-3);
}

}  // namespace
}  // namespace fastserve
