#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fastserve {
namespace {

using std::string_view_literals::operator""sv;

std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

Tensor Of(DataType type, Shape shape, std::string_view bytes) {
  return {type, shape, BytesOf(bytes)};
}

// The tensor is refused, with a message that names it and holds `part`.
void ExpectInvalid(const Tensor& tensor, std::string_view part) {
  const Status status = ValidateTensor("x", tensor);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find("tensor 'x'"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
}

TEST(Tensor, RowsAreTheFirstDimension) {
  EXPECT_EQ(Of(DataType::kUint8, {3, 2}, "aabbcc").rows(), 3);
  EXPECT_EQ(Of(DataType::kUint8, {}, "a").rows(), 0);
}

TEST(ValidateTensor, TakesExactlyTheBytesThatTypeAndShapeCallFor) {
  EXPECT_TRUE(ValidateTensor("x", Of(DataType::kUint8, {2, 3}, "abcdef")).ok());
  EXPECT_TRUE(ValidateTensor("x", Of(DataType::kInt16, {}, "ab")).ok());
  EXPECT_TRUE(ValidateTensor("x", Of(DataType::kFp64, {0, 7}, "")).ok());
  ExpectInvalid(Of(DataType::kUint8, {2, 3}, "abcde"), "received 5 bytes");
  ExpectInvalid(Of(DataType::kUint8, {2, 3}, "abcdefg"), "received 7 bytes");
  ExpectInvalid(Of(DataType::kInt32, {2}, "abcd"),
                "expected 2 elements of INT32 for shape [2], 4 bytes each");
  ExpectInvalid(Of(DataType::kFp32, {0}, "a"), "received 1 bytes");
}

// 2^61 doubles are 2^64 bytes: a product that wraps to the 0 bytes that came.
TEST(ValidateTensor, RefusesSizesThatOverflow) {
  ExpectInvalid(Of(DataType::kFp64, {int64_t{1} << 61}, ""), "received 0 bytes");
  ExpectInvalid(Of(DataType::kUint8, {int64_t{1} << 32, int64_t{1} << 32}, ""),
                "too many elements");
  ExpectInvalid(Of(DataType::kBytes, {std::numeric_limits<int64_t>::max()}, ""),
                "ends at element 0");
}

TEST(ValidateTensor, RefusesNegativeDimensions) {
  ExpectInvalid(Of(DataType::kUint8, {-1}, "a"), "[-1] has a negative dimension");
  ExpectInvalid(Of(DataType::kBytes, {0, -1}, ""), "negative dimension");
}

TEST(ValidateTensor, KnowsTheSizeOfBytesThatAreNotAtHand) {
  EXPECT_TRUE(ValidateTensorSize("x", DataType::kInt16, {2, 3}, 12).ok());
  EXPECT_TRUE(ValidateTensorSize("x", DataType::kInt16, {0}, 0).ok());
  EXPECT_TRUE(ValidateTensorSize("x", DataType::kBytes, {2}, 1).ok()) << "its elements are unseen";
  EXPECT_EQ(ValidateTensorSize("x", DataType::kInt16, {2, 3}, 11).message(),
            "tensor 'x': expected 6 elements of INT16 for shape [2,3], 2 bytes each, but received "
            "11 bytes");
  EXPECT_FALSE(ValidateTensorSize("x", DataType::kFp64, {int64_t{1} << 61}, 0).ok());
  EXPECT_FALSE(ValidateTensorSize("x", DataType::kBytes, {-1}, 0).ok());
}

constexpr std::string_view kTwoElements = "\2\0\0\0ab\0\0\0\0"sv;

TEST(ValidateTensor, WalksBytesElements) {
  EXPECT_TRUE(ValidateTensor("x", Of(DataType::kBytes, {2}, kTwoElements)).ok());
  EXPECT_TRUE(ValidateTensor("x", Of(DataType::kBytes, {2, 0}, "")).ok());
  EXPECT_TRUE(ValidateTensor("x", Of(DataType::kBytes, {}, "\1\0\0\0a"sv)).ok());
  ExpectInvalid(Of(DataType::kBytes, {1}, kTwoElements), "4 bytes are left over after 1");
  ExpectInvalid(Of(DataType::kBytes, {3}, kTwoElements), "ends at element 2 of 3");
  ExpectInvalid(Of(DataType::kBytes, {0}, "a"), "1 bytes are left over");
}

// Every cut of a valid tensor is invalid, wherever it falls.
TEST(ValidateTensor, RefusesEveryPrefixOfBytesElements) {
  for (size_t size = 0; size < kTwoElements.size(); ++size) {
    EXPECT_FALSE(ValidateTensor("x", Of(DataType::kBytes, {2}, kTwoElements.substr(0, size))).ok())
        << size;
  }
}

TEST(ValidateTensor, RefusesAnElementThatSaysItIsLongerThanTheTensor) {
  ExpectInvalid(Of(DataType::kBytes, {1}, "\3\0\0\0ab"sv), "says 3 bytes, but only 2 are left");
  ExpectInvalid(Of(DataType::kBytes, {1}, "\xff\xff\xff\xff"sv), "says 4294967295 bytes");
}

TEST(SplitBytesElements, GivesViewsOfTheElements) {
  const Tensor tensor = Of(DataType::kBytes, {2}, kTwoElements);
  const std::vector<std::string_view> elements = SplitBytesElements(tensor);
  ASSERT_EQ(elements.size(), 2u);
  EXPECT_EQ(elements[0], "ab");
  EXPECT_EQ(elements[0].data(), kTwoElements.data() + 4);
  EXPECT_EQ(elements[1], "");
  EXPECT_TRUE(SplitBytesElements(Of(DataType::kBytes, {0}, "")).empty());
}

TEST(RowsBytes, IsAProductForElementsOfOneSize) {
  const std::string bytes(24, 'x');
  const Tensor tensor = Of(DataType::kInt16, {4, 3}, bytes);
  EXPECT_EQ(RowsBytes(tensor, 0), 0u);
  EXPECT_EQ(RowsBytes(tensor, 1), 6u);
  EXPECT_EQ(RowsBytes(tensor, 4), 24u);
  EXPECT_EQ(RowsBytes(Of(DataType::kFp32, {2, 0}, ""), 2), 0u);
}

TEST(RowsBytes, WalksBytesElements) {
  const Tensor tensor = Of(DataType::kBytes, {2, 2}, "\1\0\0\0a\0\0\0\0\2\0\0\0bc\0\0\0\0"sv);
  ASSERT_TRUE(ValidateTensor("x", tensor).ok());
  EXPECT_EQ(RowsBytes(tensor, 0), 0u);
  EXPECT_EQ(RowsBytes(tensor, 1), 9u);
  EXPECT_EQ(RowsBytes(tensor, 2), tensor.bytes.size());
}

}  // namespace
}  // namespace fastserve
