#include "tensor/data_type.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <iterator>
#include <string_view>

namespace fastserve {
namespace {

struct Expected {
  DataType type;
  std::string_view name;
  size_t bytes;
};

// From the protocol's table, not from the one that is tested.
constexpr Expected kExpected[] = {
    {DataType::kBool, "BOOL", 1},     {DataType::kUint8, "UINT8", 1},
    {DataType::kUint16, "UINT16", 2}, {DataType::kUint32, "UINT32", 4},
    {DataType::kUint64, "UINT64", 8}, {DataType::kInt8, "INT8", 1},
    {DataType::kInt16, "INT16", 2},   {DataType::kInt32, "INT32", 4},
    {DataType::kInt64, "INT64", 8},   {DataType::kFp16, "FP16", 2},
    {DataType::kFp32, "FP32", 4},     {DataType::kFp64, "FP64", 8},
    {DataType::kBf16, "BF16", 2},     {DataType::kBytes, "BYTES", 0},
};

TEST(DataType, HasTheNamesAndSizesOfTheProtocol) {
  static_assert(std::size(kExpected) == kDataTypeCount);
  for (const Expected& expected : kExpected) {
    EXPECT_EQ(DataTypeName(expected.type), expected.name);
    EXPECT_EQ(ParseDataType(expected.name), expected.type);
    EXPECT_EQ(ElementBytes(expected.type), expected.bytes) << expected.name;
  }
}

TEST(DataType, NamesAreExact) {
  for (std::string_view name : {"", "fp32", "FP32 ", " FP32", "FP3", "FP320", "STRING", "float"}) {
    EXPECT_FALSE(ParseDataType(name)) << name;
  }
  EXPECT_FALSE(ParseDataType(std::string_view("FP32\0", 5)));
}

}  // namespace
}  // namespace fastserve
