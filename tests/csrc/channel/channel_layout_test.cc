#include "channel/channel_layout.h"

#include <gtest/gtest.h>

namespace fastserve {
namespace {

TEST(ChannelLayout, HasTwoHeapsBehindTheHead) {
  for (const size_t bytes :
       {ChannelLayout::kSegmentBytesMin, ChannelLayout::kSegmentBytesMin + 4096, size_t{64} << 20,
        ChannelLayout::kSegmentBytesMax}) {
    const ChannelLayout layout = ChannelLayout::For(bytes);
    EXPECT_GE(layout.client_heap.begin, sizeof(ChannelHead));
    EXPECT_EQ(layout.server_heap.begin, layout.client_heap.begin + layout.client_heap.bytes);
    EXPECT_LE(layout.server_heap.begin + layout.server_heap.bytes, bytes);
    EXPECT_EQ(layout.client_heap.bytes, layout.server_heap.bytes);
    EXPECT_GE(layout.client_heap.bytes, size_t{64} << 10);
    EXPECT_EQ(layout.client_heap.begin % ChannelLayout::kPageBytes, 0u);
    EXPECT_EQ(layout.server_heap.begin % ChannelLayout::kPageBytes, 0u);
  }
}

TEST(ChannelLayout, APartContainsWhatLiesInItWhole) {
  const ChannelPart part{.begin = 4096, .bytes = 8192};
  EXPECT_TRUE(part.Contains(4096, 8192));
  EXPECT_TRUE(part.Contains(4096, 0));
  EXPECT_TRUE(part.Contains(12288, 0));
  EXPECT_TRUE(part.Contains(12287, 1));
  EXPECT_FALSE(part.Contains(4095, 1));
  EXPECT_FALSE(part.Contains(4095, 0));
  EXPECT_FALSE(part.Contains(12288, 1));
  EXPECT_FALSE(part.Contains(12289, 0));
  EXPECT_FALSE(part.Contains(4096, 8193));
  EXPECT_FALSE(part.Contains(8192, UINT64_MAX));
  EXPECT_FALSE(part.Contains(UINT64_MAX, 1));
  EXPECT_FALSE(part.Contains(UINT64_MAX, UINT64_MAX));
}

}  // namespace
}  // namespace fastserve
