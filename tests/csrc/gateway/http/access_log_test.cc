#include "gateway/http/access_log.h"

#include <gtest/gtest.h>

namespace fastserve {
namespace {

TEST(AccessLog, DropsAndCountsTheOldestWhenNobodyFetches) {
  Counter dropped;
  AccessLog log(true, dropped);
  for (size_t i = 0; i < AccessLog::kRecordsMax + 3; ++i) {
    AccessRecord record;
    record.bytes_in = i;
    log.Add(std::move(record));
  }
  const auto records = log.Take();
  ASSERT_EQ(records.size(), AccessLog::kRecordsMax);
  EXPECT_EQ(records.front().bytes_in, 3u);
  EXPECT_EQ(dropped.value(), 3u);
  EXPECT_TRUE(log.Take().empty());
}

}  // namespace
}  // namespace fastserve
