#include "serving/admission.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace fastserve {
namespace {

TEST(Admission, AdmitsUpToItsLimitAndAgainAfterARelease) {
  Admission admission({.body_bytes_max = 60, .in_flight_bytes_max = 100});
  EXPECT_TRUE(admission.Reserve(60).ok());
  EXPECT_TRUE(admission.Reserve(40).ok());
  EXPECT_EQ(admission.Reserve(1).code(), Code::kUnavailable);
  EXPECT_EQ(admission.in_flight_bytes(), 100u);
  admission.Release(60);
  EXPECT_TRUE(admission.Reserve(60).ok());
  EXPECT_TRUE(admission.Reserve(0).ok());
}

TEST(Admission, RefusesWhatWouldBeTooLargeForAnEmptyServer) {
  Admission admission({.body_bytes_max = 60, .in_flight_bytes_max = 100});
  const Status status = admission.Reserve(61);
  EXPECT_EQ(status.code(), Code::kOutOfRange);
  EXPECT_EQ(status.message(), "the request has 61 bytes, at most 60 are accepted");
  EXPECT_EQ(admission.Reserve(SIZE_MAX).code(), Code::kOutOfRange);
  EXPECT_EQ(admission.in_flight_bytes(), 0u);
}

TEST(Admission, NeverPassesItsLimitFromManyThreads) {
  Admission admission({.body_bytes_max = 100, .in_flight_bytes_max = 150});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 5'000; ++round) {
        if (!admission.Reserve(100).ok()) continue;
        EXPECT_LE(admission.in_flight_bytes(), 150u);
        admission.Release(100);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(admission.in_flight_bytes(), 0u);
}

}  // namespace
}  // namespace fastserve
