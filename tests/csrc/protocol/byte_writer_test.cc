#include "protocol/byte_writer.h"

#include <cstdint>
#include <string>

#include <gtest/gtest.h>

namespace fastserve {
namespace {

TEST(ByteWriter, KeepsWhatIsAppendedWhileItGrows) {
  ByteWriter out;
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string text = std::to_string(i);
    out.Append(text);
    expected += text;
  }
  EXPECT_EQ(out.view(), expected);
}

TEST(ByteWriter, RoomThatWasTriedForIsThere) {
  ByteWriter out;
  out.Append("head");
  ASSERT_TRUE(out.TryReserve(100'000));
  const size_t capacity = out.capacity();
  EXPECT_NE(out.Reserve(100'000), nullptr);
  EXPECT_EQ(out.capacity(), capacity);
  EXPECT_EQ(out.view(), "head");
}

// A size that a request chose and that no machine has.
TEST(ByteWriter, WithoutMemoryTheContentsStayAndItGoesOn) {
  ByteWriter out;
  out.Append("head");
  EXPECT_FALSE(out.TryReserve(size_t{PTRDIFF_MAX}));
  EXPECT_EQ(out.view(), "head");
  out.Append(" and tail");
  EXPECT_EQ(out.view(), "head and tail");
}

}  // namespace
}  // namespace fastserve
