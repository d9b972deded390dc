// What both codecs' tests hold a range of shared memory against.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string_view>

#include "protocol/infer_body.h"

namespace fastserve {

inline void ExpectRange(const SharedMemoryRange& range, std::string_view region, uint64_t offset,
                        uint64_t bytes) {
  EXPECT_TRUE(range.is_set());
  EXPECT_EQ(range.region, region);
  EXPECT_EQ(range.offset, offset);
  EXPECT_EQ(range.bytes, bytes);
}

}  // namespace fastserve
