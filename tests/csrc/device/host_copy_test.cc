#include "device/host_copy.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace fastserve {
namespace {

std::span<std::byte> BytesOf(std::string& text) {
  return std::as_writable_bytes(std::span(text.data(), text.size()));
}

TEST(HostCopy, GathersRowsInOrderAndScattersThemBack) {
  const std::array<RowSource, 3> sources{{{"aabb", 2}, {"cc", 1}, {"ddee", 2}}};
  std::string batch(10, '.');
  ASSERT_TRUE(GatherRows(sources, 2, BytesOf(batch)).ok());
  EXPECT_EQ(batch, "aabbccddee");

  std::string first(4, '.');
  std::string second(6, '.');
  const std::array<RowTarget, 2> targets{{{first.data(), 2}, {second.data(), 3}}};
  ASSERT_TRUE(ScatterRows(BytesOf(batch), 2, targets).ok());
  EXPECT_EQ(first, "aabb");
  EXPECT_EQ(second, "ccddee");
}

TEST(HostCopy, AcceptsABatchOfNothing) {
  EXPECT_TRUE(GatherRows({}, 4, {}).ok());
  EXPECT_TRUE(ScatterRows({}, 4, {}).ok());
}

// A batch larger than its rows would carry bytes that nobody wrote.
TEST(HostCopyDeathTest, StopsWhenTheSizesDoNotAddUp) {
  const std::array<RowSource, 1> sources{{{"aabb", 2}}};
  std::string too_large(5, '.');
  std::string too_small(3, '.');
  EXPECT_DEATH((void)GatherRows(sources, 2, BytesOf(too_large)), "4 and 5");
  EXPECT_DEATH((void)GatherRows(sources, 2, BytesOf(too_small)), "4 and 3");
  const std::array<RowTarget, 1> targets{{{too_small.data(), 1}}};
  EXPECT_DEATH((void)ScatterRows(BytesOf(too_large), 2, targets), "2 and 5");
}

}  // namespace
}  // namespace fastserve
