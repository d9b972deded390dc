#include "serving/random_values.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace fastserve {
namespace {

std::string Many(DataType type, size_t elements) {
  std::mt19937_64 random(7);
  std::string bytes;
  for (size_t i = 0; i < elements; ++i) AppendRandom(type, random, &bytes);
  return bytes;
}

TEST(RandomValues, IntegersAreZeroOrOne) {
  for (const DataType type : {DataType::kBool, DataType::kUint8, DataType::kInt16, DataType::kInt32,
                              DataType::kUint64, DataType::kInt64}) {
    const std::string bytes = Many(type, 100);
    const size_t width = ElementBytes(type);
    ASSERT_EQ(bytes.size(), 100 * width);
    size_t ones = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      ASSERT_TRUE(bytes[i] == 0 || (bytes[i] == 1 && i % width == 0));
      ones += bytes[i] == 1 ? 1 : 0;
    }
    EXPECT_GT(ones, 20U);
    EXPECT_LT(ones, 80U);
  }
}

TEST(RandomValues, FloatsAreFromZeroToBelowOne) {
  const std::string bytes = Many(DataType::kFp32, 100);
  for (size_t i = 0; i < 100; ++i) {
    float value = -1;
    std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
  }
  // The bits of 1 in both kinds of 16: none is as high.
  const auto below = [](const std::string& halves, uint16_t one) {
    for (size_t i = 0; i < halves.size(); i += 2) {
      uint16_t bits = 0;
      std::memcpy(&bits, halves.data() + i, sizeof bits);
      if (bits >= one) return false;
    }
    return true;
  };
  EXPECT_TRUE(below(Many(DataType::kFp16, 100), 0x3c00));
  EXPECT_TRUE(below(Many(DataType::kBf16, 100), 0x3f80));
}

TEST(RandomValues, AreTheSameForTheSameSeed) {
  EXPECT_EQ(Many(DataType::kBytes, 50), Many(DataType::kBytes, 50));
}

}  // namespace
}  // namespace fastserve
