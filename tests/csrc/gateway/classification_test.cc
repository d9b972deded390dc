#include "gateway/classification.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace fastserve {
namespace {

template <typename T>
std::vector<std::string> ClassesOf(DataType type, Shape shape, std::vector<T> values, uint32_t k,
                                   bool has_batch_dimension = false,
                                   std::vector<std::string> labels = {}) {
  const Tensor tensor{
      .type = type, .shape = shape, .bytes = std::as_bytes(std::span<const T>(values))};
  const Classes classes = Classify(tensor, has_batch_dimension, k, labels);
  const Tensor made{.type = DataType::kBytes,
                    .shape = classes.shape,
                    .bytes = std::as_bytes(std::span(classes.bytes.data(), classes.bytes.size()))};
  EXPECT_TRUE(ValidateTensor("classes", made).ok());
  const auto elements = SplitBytesElements(made);
  return {elements.begin(), elements.end()};
}

using Texts = std::vector<std::string>;

TEST(Classification, TheLargestFirst) {
  EXPECT_EQ(ClassesOf<float>(DataType::kFp32, {4}, {0.25F, 0.5F, 0.125F, 0.5F}, 3),
            (Texts{"0.5:1", "0.5:3", "0.25:0"}))
      << "of equals the first";
  EXPECT_EQ(ClassesOf<int8_t>(DataType::kInt8, {3}, {-5, 0, 7}, 1), (Texts{"7:2"}));
  EXPECT_EQ(ClassesOf<uint64_t>(DataType::kUint64, {2}, {0, UINT64_MAX}, 2),
            (Texts{"18446744073709551615:1", "0:0"}));
  EXPECT_EQ(ClassesOf<double>(DataType::kFp64, {2}, {0.1, 1e-300}, 2),
            (Texts{"0.1:0", "1e-300:1"}));
}

TEST(Classification, WhatIsNoNumberIsLast) {
  const float nan = std::nanf("");
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ClassesOf<float>(DataType::kFp32, {5}, {nan, 1, nan, -infinity, infinity}, 5),
            (Texts{"inf:4", "1:1", "-inf:3", "nan:0", "nan:2"}));
  const std::vector<float> many(1000, nan);
  EXPECT_EQ(ClassesOf<float>(DataType::kFp32, {1000}, many, 2), (Texts{"nan:0", "nan:1"}));
}

TEST(Classification, EachRowOfABatchForItself) {
  EXPECT_EQ(ClassesOf<int32_t>(DataType::kInt32, {2, 3}, {1, 2, 3, 6, 5, 4}, 2, true),
            (Texts{"3:2", "2:1", "6:0", "5:1"}));
  EXPECT_EQ(ClassesOf<int32_t>(DataType::kInt32, {1, 2, 2}, {1, 2, 3, 0}, 1, true), (Texts{"3:2"}))
      << "a row is counted through";
  EXPECT_EQ(ClassesOf<int32_t>(DataType::kInt32, {2, 2}, {1, 2, 3, 0}, 1, false), (Texts{"3:2"}));
}

TEST(Classification, NoMoreThanThereAre) {
  EXPECT_EQ(ClassesOf<int32_t>(DataType::kInt32, {2}, {1, 2}, UINT32_MAX), (Texts{"2:1", "1:0"}));
  EXPECT_EQ(ClassesOf<int32_t>(DataType::kInt32, {}, {7}, 3), (Texts{"7:0"}));
  EXPECT_EQ(ClassesOf<int32_t>(DataType::kInt32, {0}, {}, 3), Texts{});
  EXPECT_EQ(ClassesOf<int32_t>(DataType::kInt32, {0, 4}, {}, 3, true), Texts{});
  EXPECT_EQ(ClassesOf<int32_t>(DataType::kInt32, {3, 0}, {}, 3, true), Texts{});
}

TEST(Classification, LabelsGoByIndex) {
  EXPECT_EQ(ClassesOf<int32_t>(DataType::kInt32, {3}, {1, 3, 2}, 3, false, {"cat", "dog: big"}),
            (Texts{"3:1:dog: big", "2:2", "1:0:cat"}));
}

TEST(Classification, TypesWithoutAnOrderAreRefused) {
  for (size_t i = 0; i < kDataTypeCount; ++i) {
    const auto type = static_cast<DataType>(i);
    const bool is_known = type != DataType::kBool && type != DataType::kFp16 &&
                          type != DataType::kBf16 && type != DataType::kBytes;
    EXPECT_EQ(CheckClassifiable("y", type).ok(), is_known) << DataTypeName(type);
  }
  EXPECT_EQ(
      CheckClassifiable("y", DataType::kBool).message(),
      "output 'y': classification needs integers, FP32 or FP64, and this is BOOL; ask for the "
      "tensor itself");
}

}  // namespace
}  // namespace fastserve
