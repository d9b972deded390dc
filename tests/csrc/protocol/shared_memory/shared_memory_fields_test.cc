#include "protocol/shared_memory/shared_memory_fields.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace fastserve {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
constexpr TensorLabel kLabel{"tensor", "inputs", 0, "x"};

std::string ErrorOf(const SharedMemoryFields& fields, std::string_view beside = "") {
  SharedMemoryRange range;
  const Status status = fields.ToRange(kLabel, beside, &range);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_FALSE(range.is_set());
  return status.message();
}

TEST(SharedMemoryFields, KnowsItsThreeKeysAlone) {
  EXPECT_TRUE(SharedMemoryFields::IsKey("shared_memory_region"));
  EXPECT_TRUE(SharedMemoryFields::IsKey("shared_memory_offset"));
  EXPECT_TRUE(SharedMemoryFields::IsKey("shared_memory_byte_size"));
  for (const std::string_view key : {"", "shared_memory", "shared_memory_", "shared_memory_regions",
                                     "Shared_memory_region", "binary_data_size"}) {
    EXPECT_FALSE(SharedMemoryFields::IsKey(key)) << key;
  }
}

TEST(SharedMemoryFields, BecomeARangeWhoseOffsetMayBeLeftOut) {
  SharedMemoryRange range;
  EXPECT_FALSE(SharedMemoryFields().any());
  EXPECT_FALSE(range.is_set());
  const SharedMemoryFields fields{.region = "r", .bytes = 8};
  EXPECT_TRUE(fields.any());
  ASSERT_TRUE(fields.ToRange(kLabel, "", &range).ok());
  EXPECT_TRUE(range.is_set());
  EXPECT_EQ(range.region, "r");
  EXPECT_EQ(range.offset, 0u);
  EXPECT_EQ(range.bytes, 8u);
}

TEST(SharedMemoryFields, NameWhatIsMissing) {
  EXPECT_EQ(ErrorOf({.region = "r"}),
            "tensor 'x': parameter 'shared_memory_byte_size' is missing: expected it beside "
            "'shared_memory_region', or none of them");
  EXPECT_EQ(ErrorOf({.bytes = 8}),
            "tensor 'x': parameter 'shared_memory_region' is missing: expected it beside "
            "'shared_memory_byte_size', or none of them");
  EXPECT_EQ(ErrorOf({.offset = 8}),
            "tensor 'x': parameter 'shared_memory_region' is missing: expected it beside "
            "'shared_memory_offset', or none of them");
  EXPECT_EQ(ErrorOf({.region = "", .bytes = 8}),
            "tensor 'x': parameter 'shared_memory_region': expected the name of a registered "
            "region, received an empty one");
}

TEST(SharedMemoryFields, EndWhereANumberCanTell) {
  SharedMemoryRange range;
  EXPECT_TRUE((SharedMemoryFields{.region = "r", .offset = kMost - 8, .bytes = 8})
                  .ToRange(kLabel, "", &range)
                  .ok());
  EXPECT_TRUE((SharedMemoryFields{.region = "r", .offset = 0, .bytes = kMost})
                  .ToRange(kLabel, "", &range)
                  .ok());
  EXPECT_EQ(ErrorOf({.region = "r", .offset = kMost - 8, .bytes = 9}),
            "tensor 'x': expected shared_memory_offset and shared_memory_byte_size within a "
            "region, received 18446744073709551607 and 9, which are more than 64 bits together");
  EXPECT_NE(ErrorOf({.region = "r", .offset = kMost, .bytes = kMost}), "");
}

TEST(SharedMemoryFields, StandBesideNoOtherPlaceOfTheBytes) {
  EXPECT_EQ(ErrorOf({.region = "r", .bytes = 8}, "data"),
            "tensor 'x': expected no 'data' beside 'shared_memory_region', received both");
}

}  // namespace
}  // namespace fastserve
