#include "base/counter.h"

#include <gtest/gtest.h>

#include <limits>
#include <thread>
#include <vector>

namespace fastserve {
namespace {

// The bucket that a duration falls into; all buckets if it falls into several or none.
size_t BucketOf(Nanos duration) {
  DurationHistogram histogram;
  histogram.Record(duration);
  size_t found = DurationHistogram::kBuckets;
  for (size_t i = 0; i < DurationHistogram::kBuckets; ++i) {
    if (histogram.bucket(i) == 0) continue;
    EXPECT_EQ(histogram.bucket(i), 1u);
    EXPECT_EQ(found, DurationHistogram::kBuckets);
    found = i;
  }
  return found;
}

TEST(Counter, Adds) {
  Counter counter;
  EXPECT_EQ(counter.value(), 0u);
  counter.Add();
  counter.Add(41);
  EXPECT_EQ(counter.value(), 42u);
}

TEST(Counter, LosesNothingBetweenThreads) {
  Counter counter;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&counter] {
        for (int n = 0; n < 10'000; ++n) counter.Add();
      });
    }
  }
  EXPECT_EQ(counter.value(), 40'000u);
}

// Limits are inclusive, as Prometheus's `le` is: one nanosecond more is the next bucket.
TEST(DurationHistogram, EachLimitIsTheLastOfItsBucket) {
  for (size_t i = 0; i + 1 < DurationHistogram::kBuckets; ++i) {
    const Nanos limit = DurationHistogram::UpperLimit(i);
    EXPECT_EQ(limit, kMicrosecond << i);
    EXPECT_EQ(BucketOf(limit), i);
    EXPECT_EQ(BucketOf(limit + 1), i + 1);
  }
}

TEST(DurationHistogram, TheFirstBucketTakesNothingAndLess) {
  EXPECT_EQ(BucketOf(0), 0u);
  EXPECT_EQ(BucketOf(1), 0u);
  EXPECT_EQ(BucketOf(-1), 0u);
  EXPECT_EQ(BucketOf(std::numeric_limits<Nanos>::min()), 0u);
}

TEST(DurationHistogram, TheLastBucketTakesWhatIsLonger) {
  EXPECT_EQ(DurationHistogram::UpperLimit(24) / kMillisecond, 16'777);
  EXPECT_EQ(BucketOf(17 * kSecond), 25u);
  EXPECT_EQ(BucketOf(3'600 * kSecond), 25u);
  EXPECT_EQ(BucketOf(kNever), 25u);
}

// A clock that stepped back may count, but not subtract.
TEST(DurationHistogram, CountsAndSumsWhatItRecords) {
  DurationHistogram histogram;
  for (const Nanos duration : {Nanos{-5}, 3 * kMicrosecond, kSecond}) histogram.Record(duration);
  EXPECT_EQ(histogram.count(), 3u);
  EXPECT_EQ(histogram.sum_ns(), 1'000'003'000u);
}

TEST(DurationHistogram, CountsAlikeForAWriterThatIsAlone) {
  DurationHistogram histogram;
  for (const Nanos duration : {Nanos{-5}, 3 * kMicrosecond, kSecond}) {
    histogram.Record(duration, /*is_alone=*/true);
  }
  histogram.Record(kMicrosecond);
  EXPECT_EQ(histogram.count(), 4u);
  EXPECT_EQ(histogram.bucket(0), 2u);
  EXPECT_EQ(histogram.sum_ns(), 1'000'004'000u);
}

}  // namespace
}  // namespace fastserve
