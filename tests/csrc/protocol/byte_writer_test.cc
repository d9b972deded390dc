#include "protocol/byte_writer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <new>
#include <string>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FS_ALLOCATOR_ABORTS  // On sizes that no machine has.
#endif
#endif

namespace fastserve {
namespace {

#ifndef FS_ALLOCATOR_ABORTS
TEST(ByteWriter, KeepsWhatItHasWhenThereIsNoMemoryForMore) {
  ByteWriter out;
  out.Append("abc");
  const size_t capacity = out.capacity();
  EXPECT_THROW(out.Reserve(SIZE_MAX / 4), std::bad_alloc);
  EXPECT_EQ(out.view(), "abc");
  EXPECT_EQ(out.capacity(), capacity);
  out.Append('d');
  EXPECT_EQ(out.view(), "abcd");
}
#endif

TEST(ByteWriter, GrowsAndKeepsItsContents) {
  ByteWriter out;
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string text = std::to_string(i);
    out.Append(text);
    expected += text;
  }
  EXPECT_EQ(out.view(), expected);
  out.Clear();
  EXPECT_EQ(out.view(), "");
  EXPECT_GE(out.capacity(), expected.size());
}

}  // namespace
}  // namespace fastserve
