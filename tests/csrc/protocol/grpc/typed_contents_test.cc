#include "protocol/grpc/typed_contents.h"

#include "protocol/grpc/kserve_grpc_fixture.h"

namespace fastserve {
namespace {

using proto::Bytes;
using proto::Fixed;
using proto::Floats;
using proto::Input;
using proto::Raw;
using proto::RawVarint;
using proto::Varint;

class TypedContents : public KserveGrpc {
 protected:
  // What an input of `length` elements with these contents holds, or why it is refused.
  std::string Read(std::string_view datatype, uint64_t length, std::string_view contents) {
    const Status status = Decode(Bytes(5, Input("x", datatype, length, Bytes(5, contents))));
    return status.ok() ? ContentOf(0) : status.message();
  }
  static std::string Packed(uint32_t field, std::initializer_list<int64_t> values) {
    std::string packed;
    for (const int64_t value : values) packed += RawVarint(static_cast<uint64_t>(value));
    return Bytes(field, packed);
  }
  template <typename Number>
  static std::string Numbers(std::initializer_list<Number> values) {
    std::string out;
    for (const Number value : values) out += Raw(value);
    return out;
  }
};

TEST_F(TypedContents, EachTypeHasItsField) {
  EXPECT_EQ(Read("BOOL", 3, Packed(1, {1, 0, 2})), std::string("\1\0\1", 3));
  EXPECT_EQ(Read("INT8", 2, Packed(2, {-128, 127})), Numbers<int8_t>({-128, 127}));
  EXPECT_EQ(Read("INT16", 2, Packed(2, {-32768, 1})), Numbers<int16_t>({-32768, 1}));
  EXPECT_EQ(Read("INT32", 2, Packed(2, {-1, 7})), Numbers<int32_t>({-1, 7}));
  EXPECT_EQ(Read("INT64", 2, Packed(3, {-1, INT64_MAX})), Numbers<int64_t>({-1, INT64_MAX}));
  EXPECT_EQ(Read("UINT8", 2, Packed(4, {0, 255})), Numbers<uint8_t>({0, 255}));
  EXPECT_EQ(Read("UINT16", 1, Packed(4, {65535})), Numbers<uint16_t>({65535}));
  EXPECT_EQ(Read("UINT32", 1, Packed(4, {4294967295})), Numbers<uint32_t>({4294967295}));
  EXPECT_EQ(Read("UINT64", 1, Packed(5, {-1})), Numbers<uint64_t>({UINT64_MAX}));
  EXPECT_EQ(Read("FP32", 2, Bytes(6, Floats({1.5, -2}))), Floats({1.5, -2}));
  EXPECT_EQ(Read("FP64", 1, Bytes(7, Raw(0.25))), Raw(0.25));
  EXPECT_EQ(Read("BYTES", 3, Bytes(8, "a") + Bytes(8, "") + Bytes(8, "bc")),
            std::string("\1\0\0\0a\0\0\0\0\2\0\0\0bc", 15));
}

TEST_F(TypedContents, UnpackedAndInPieces) {
  EXPECT_EQ(Read("INT32", 3, Varint(2, 1) + Packed(2, {2}) + Varint(2, 3)),
            Numbers<int32_t>({1, 2, 3}));
  EXPECT_EQ(Read("FP32", 2, Fixed(6, 1.0f) + Bytes(6, Floats({2}))), Floats({1, 2}));
  EXPECT_EQ(Read("FP64", 2, Fixed(7, 1.0) + Fixed(7, 2.0)), Raw(1.0) + Raw(2.0));
  // The field itself may come in pieces: protobuf joins them.
  ASSERT_TRUE(
      Decode(Bytes(5, Input("x", "INT8", 2, Bytes(5, Varint(2, 1)) + Bytes(5, Varint(2, 2)))))
          .ok());
  EXPECT_EQ(ContentOf(0), "\1\2");
  // Of a kind that the field is not, a field is unknown.
  EXPECT_EQ(Read("INT32", 1, Fixed(2, uint32_t{1}) + Varint(2, 5)), Numbers<int32_t>({5}));
  EXPECT_EQ(Read("FP32", 1, Varint(6, 1) + Fixed(6, 2.0f)), Floats({2}));
}

TEST_F(TypedContents, NothingIsNothing) {
  EXPECT_EQ(Read("FP32", 0, ""), "");
  EXPECT_EQ(Read("BYTES", 0, ""), "");
  EXPECT_EQ(allocator_.calls, 0u);
}

TEST_F(TypedContents, WhatDoesNotFitIsNamed) {
  EXPECT_EQ(Read("INT8", 1, Packed(2, {128})),
            "tensor 'x': element 0 is 128, expected one that INT8 can hold");
  EXPECT_EQ(Read("INT16", 2, Packed(2, {1, -32769})),
            "tensor 'x': element 1 is -32769, expected one that INT16 can hold");
  EXPECT_EQ(Read("UINT8", 1, Packed(4, {256})),
            "tensor 'x': element 0 is 256, expected one that UINT8 can hold");
  EXPECT_EQ(Read("UINT16", 1, Packed(4, {65536})),
            "tensor 'x': element 0 is 65536, expected one that UINT16 can hold");
}

TEST_F(TypedContents, TooFewAndTooMany) {
  EXPECT_EQ(Read("INT32", 3, Packed(2, {1, 200})),
            "tensor 'x': shape [3] takes 3 elements, but only 2 are in its contents");
  EXPECT_EQ(Read("INT32", 1, Packed(2, {1, 2})),
            "tensor 'x': shape [1] takes 1 elements, but more than 1 are in its contents");
  EXPECT_EQ(Read("FP32", 1, Bytes(6, Floats({1, 2}))),
            "tensor 'x': shape [1] takes 1 elements, but at least 2 are in its contents");
  EXPECT_EQ(Read("FP32", 0, Bytes(6, Floats({1}))),
            "tensor 'x': shape [0] takes 0 elements, but at least 1 are in its contents");
  EXPECT_EQ(Read("BYTES", 2, Bytes(8, "a")),
            "tensor 'x': shape [2] takes 2 elements, but 1 are in its contents");
  EXPECT_EQ(Read("FP32", 1, Bytes(6, "abc")), "tensor 'x': its contents end within an element");
}

TEST_F(TypedContents, AShapeThatClaimsMuchTakesNoMemory) {
  EXPECT_EQ(Read("FP32", uint64_t{1} << 40, Bytes(6, Floats({1}))),
            "tensor 'x': shape [1099511627776] takes 1099511627776 elements, but fewer are in its "
            "contents");
  EXPECT_EQ(allocator_.calls, 0u);
}

TEST_F(TypedContents, OfAnotherType) {
  EXPECT_EQ(Read("FP32", 1, Packed(2, {1, 2, 3})),
            "tensor 'x': FP32 elements come in fp32_contents, received int_contents");
  EXPECT_EQ(Read("BYTES", 1, Packed(1, {1})),
            "tensor 'x': BYTES elements come in bytes_contents, received bool_contents");
  EXPECT_EQ(Read("FP16", 1, Packed(2, {1})),
            "tensor 'x': FP16 elements come in raw_input_contents alone");
  EXPECT_EQ(Read("BF16", 1, ""), "tensor 'x': BF16 elements come in raw_input_contents alone");
}

TEST_F(TypedContents, WithoutMemory) {
  allocator_.limit_bytes = 0;
  const Status status = Decode(Bytes(5, Input("x", "FP32", 1, Bytes(5, Bytes(6, Floats({1}))))));
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_EQ(Decode(Bytes(5, Input("x", "BYTES", 1, Bytes(5, Bytes(8, "a"))))).code(),
            Code::kResourceExhausted);
}

TEST_F(TypedContents, Broken) {
  EXPECT_TRUE(Read("INT32", 1, Bytes(2, "\x80"))
                  .starts_with("request: the message is no protobuf of ModelInferRequest: "));
}

}  // namespace
}  // namespace fastserve
