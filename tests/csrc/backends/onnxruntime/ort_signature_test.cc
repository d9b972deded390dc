#include "backends/onnxruntime/ort_signature.h"

#include <gtest/gtest.h>

#include <set>

namespace fastserve::ort {
namespace {

TEST(OrtSignature, EveryProtocolTypeHasItsOwnEngineTypeAndBack) {
  std::set<int> numbers;
  for (size_t i = 0; i < kDataTypeCount; ++i) {
    const auto type = static_cast<DataType>(i);
    const int number = OrtTypeOf(type);
    EXPECT_TRUE(numbers.insert(number).second) << DataTypeName(type);
    EXPECT_EQ(DataTypeOf(number), type) << DataTypeName(type);
  }
}

TEST(OrtSignature, TypesBeyondTheProtocolHaveANameAlone) {
  EXPECT_EQ(DataTypeOf(0), std::nullopt);
  EXPECT_EQ(DataTypeOf(14), std::nullopt);
  EXPECT_EQ(OrtTypeName(14), "complex64");
  EXPECT_EQ(DataTypeOf(1000), std::nullopt);
  EXPECT_EQ(OrtTypeName(1000), "an unknown type");
  EXPECT_EQ(OrtTypeName(-1), "an unknown type");
}

}  // namespace
}  // namespace fastserve::ort
