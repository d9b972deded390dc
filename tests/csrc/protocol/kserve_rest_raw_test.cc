#include "protocol/kserve_rest.h"

#include "protocol/kserve_rest_fixture.h"

namespace fastserve {
namespace {

TensorSpec Spec(DataType type, const Shape& shape) {
  TensorSpec spec;
  spec.name = "x";
  spec.type = type;
  spec.shape = shape;
  return spec;
}

TEST_F(KserveRest, DecodesABodyWithoutJson) {
  const auto decode = [&](std::string_view body, const TensorSpec& spec, bool batching) {
    return DecodeRawBinary(std::as_bytes(std::span(body)), {&spec, 1}, batching, allocator_,
                           &request_);
  };
  const TensorSpec image = Spec(DataType::kInt16, Shape{-1, 2, -1});
  ExpectOk(decode("abcdefgh", image, true));
  EXPECT_EQ(request_.inputs[0].name, "x");
  EXPECT_EQ(request_.inputs[0].tensor.shape, (Shape{1, 2, 2}));
  EXPECT_EQ(request_.inputs[0].tensor.bytes.size(), 8u);
  EXPECT_TRUE(request_.binary_output_default);
  ExpectInvalid(decode("abcdefgh", image, false), "several dimensions of any length");
  ExpectInvalid(decode("abcdefg", image, true), "7 bytes do not divide");
  const TensorSpec fixed = Spec(DataType::kInt16, Shape{2});
  ExpectOk(decode("abcd", fixed, false));
  ExpectInvalid(decode("abcdef", fixed, false), "received 6 bytes");
  ExpectInvalid(decode("", Spec(DataType::kInt8, Shape{0, -1}), false), "do not divide");
  const TensorSpec two[2];
  ExpectInvalid(DecodeRawBinary({}, two, false, allocator_, &request_), "this one has 2");
}

TEST_F(KserveRest, MakesABodyWithoutJsonOneBytesElement) {
  const auto decode = [&](std::string_view body, Shape shape, bool batching) {
    const TensorSpec spec = Spec(DataType::kBytes, shape);
    return DecodeRawBinary(std::as_bytes(std::span(body)), {&spec, 1}, batching, allocator_,
                           &request_);
  };
  ExpectOk(decode("jpeg", Shape{-1, 1}, true));
  EXPECT_EQ(request_.inputs[0].tensor.shape, (Shape{1, 1}));
  EXPECT_EQ(SplitBytesElements(request_.inputs[0].tensor), (std::vector<std::string_view>{"jpeg"}));
  ExpectOk(decode("", Shape{-1}, false));
  EXPECT_EQ(SplitBytesElements(request_.inputs[0].tensor), (std::vector<std::string_view>{""}));
  ExpectInvalid(decode("jpeg", Shape{2}, false), "holds another number");
  allocator_.limit_bytes = 0;
  ExpectError(decode("jpeg", Shape{1}, false), Code::kResourceExhausted, "");
}

}  // namespace
}  // namespace fastserve
