#include "protocol/json_reader.h"

#include <cfloat>
#include <cmath>
#include <random>

#include "protocol/kserve_rest_fixture.h"

namespace fastserve {
namespace {

// JSON data into typed tensors, through whole requests: that is the only way it is reached.
class JsonReader : public KserveRest {};

TEST_F(JsonReader, ReadsTheExtremesOfEachIntegerType) {
  ExpectOk(DecodeData("INT8", "[2]", "[-128,127]"));
  EXPECT_EQ(Values<int8_t>(), (std::vector<int8_t>{-128, 127}));
  ExpectOk(DecodeData("INT16", "[2]", "[-32768,32767]"));
  EXPECT_EQ(Values<int16_t>(), (std::vector<int16_t>{-32768, 32767}));
  ExpectOk(DecodeData("INT32", "[2]", "[-2147483648,2147483647]"));
  EXPECT_EQ(Values<int32_t>(), (std::vector<int32_t>{INT32_MIN, INT32_MAX}));
  ExpectOk(DecodeData("INT64", "[2]", "[-9223372036854775808,9223372036854775807]"));
  EXPECT_EQ(Values<int64_t>(), (std::vector<int64_t>{INT64_MIN, INT64_MAX}));
  ExpectOk(DecodeData("UINT8", "[2]", "[0,255]"));
  EXPECT_EQ(Values<uint8_t>(), (std::vector<uint8_t>{0, 255}));
  ExpectOk(DecodeData("UINT16", "[1]", "[65535]"));
  EXPECT_EQ(Values<uint16_t>(), (std::vector<uint16_t>{65535}));
  ExpectOk(DecodeData("UINT32", "[1]", "[4294967295]"));
  EXPECT_EQ(Values<uint32_t>(), (std::vector<uint32_t>{UINT32_MAX}));
  ExpectOk(DecodeData("UINT64", "[1]", "[18446744073709551615]"));
  EXPECT_EQ(Values<uint64_t>(), (std::vector<uint64_t>{UINT64_MAX}));
}

// One beyond either end of every type.
TEST_F(JsonReader, RefusesIntegersOutOfRangeAndNamesTensorElementAndBothValues) {
  const std::pair<const char*, const char*> cases[] = {{"INT8", "128"},
                                                       {"INT8", "-129"},
                                                       {"INT16", "32768"},
                                                       {"INT16", "-32769"},
                                                       {"INT32", "2147483648"},
                                                       {"INT32", "-2147483649"},
                                                       {"INT64", "9223372036854775808"},
                                                       {"INT64", "-9223372036854775809"},
                                                       {"UINT8", "256"},
                                                       {"UINT8", "-1"},
                                                       {"UINT16", "65536"},
                                                       {"UINT16", "-1"},
                                                       {"UINT32", "4294967296"},
                                                       {"UINT32", "-1"},
                                                       {"UINT64", "18446744073709551616"},
                                                       {"UINT64", "-1"}};
  for (const auto& [type, value] : cases) {
    ExpectInvalid(DecodeData(type, "[2]", StrCat("[1,", value, "]")),
                  StrCat("tensor 'x' element 1: expected ", type,
                         " (an integer in the type's range), received ", value));
  }
}

TEST_F(JsonReader, RefusesElementsOfAnotherKind) {
  ExpectInvalid(DecodeData("INT32", "[1]", "[1.5]"), "received 1.5");
  ExpectInvalid(DecodeData("INT32", "[1]", "[1.0]"), "received 1.0");
  ExpectInvalid(DecodeData("INT32", "[1]", "[1e3]"), "received 1e3");
  ExpectInvalid(DecodeData("INT32", "[1]", R"(["1"])"), "received \"1\"");
  ExpectInvalid(DecodeData("FP32", "[1]", R"(["1"])"), "received \"1\"");
  ExpectInvalid(DecodeData("FP32", "[1]", "[true]"), "received true");
  ExpectInvalid(DecodeData("FP32", "[1]", "[null]"), "received null");
  ExpectInvalid(DecodeData("FP32", "[1]", "[{}]"), "received {");
  ExpectInvalid(DecodeData("BYTES", "[1]", "[1]"), "expected BYTES (a string), received 1");
  ExpectInvalid(DecodeData("BOOL", "[1]", R"(["true"])"), "expected BOOL (true or false)");
  // As Triton, which takes JSON's bools alone.
  ExpectInvalid(DecodeData("BOOL", "[2]", "[true,1]"), "element 1");
}

TEST_F(JsonReader, ShortensALongElementInItsMessage) {
  const Status status = DecodeData("INT8", "[1]", StrCat("[\"", std::string(500, 'a'), "\"]"));
  ExpectInvalid(status, "aaa...");
  EXPECT_LT(status.message().size(), 200u);
}

TEST_F(JsonReader, ReadsBools) {
  ExpectOk(DecodeData("BOOL", "[3]", "[true,false,true]"));
  EXPECT_EQ(Values<uint8_t>(), (std::vector<uint8_t>{1, 0, 1}));
}

TEST_F(JsonReader, TakesIntegersOfAnyLengthForFloatingPoint) {
  ExpectOk(DecodeData("FP64", "[4]", "[7,-0,18446744073709551616,123456789012345678901234567890]"));
  EXPECT_EQ(Values<double>(),
            (std::vector<double>{7, 0, 0x1p64, 123456789012345678901234567890.0}));
  EXPECT_TRUE(std::signbit(Values<double>()[1]));
  ExpectOk(DecodeData("FP32", "[2]", "[3,123456789012345678901234567890]"));
  EXPECT_EQ(Values<float>(), (std::vector<float>{3, 123456789012345678901234567890.0f}));
}

TEST_F(JsonReader, RefusesWhatIsNotAFiniteNumber) {
  for (const char* literal : {"NaN", "nan", "Infinity", "-Infinity", "inf", "1e400", "-1e400"}) {
    ExpectInvalid(DecodeData("FP64", "[1]", StrCat("[", literal, "]")), "tensor 'x' element 0");
  }
  ExpectInvalid(DecodeData("FP32", "[1]", "[1e39]"), "received 1e39");
  ExpectInvalid(DecodeData("FP32", "[1]", "[-3.5e38]"), "received -3.5e38");
}

TEST_F(JsonReader, RefusesNumbersThatJsonDoesNotKnow) {
  for (const char* literal : {"01", "1.", ".5", "+1", "1e", "0x10", "1_0", "--1", "-", "1.5.5"}) {
    EXPECT_FALSE(DecodeData("FP32", "[1]", StrCat("[", literal, "]")).ok()) << literal;
    EXPECT_FALSE(DecodeData("INT32", "[1]", StrCat("[", literal, "]")).ok()) << literal;
  }
}

// 1 + 2^-24 lies midway between two floats; a hair above it must round up, though the double
// nearest to it is the midpoint itself.
TEST_F(JsonReader, RoundsADecimalToFp32Once) {
  ExpectOk(DecodeData("FP32", "[3]",
                      "[1.000000059604644775390625,1.00000005960464477539062500001,"
                      "1.00000005960464477539062499999]"));
  EXPECT_EQ(Values<float>(), (std::vector<float>{1.0f, 0x1.000002p0f, 1.0f}));
  // Midway between the two smallest subnormals, and a hair below it.
  ExpectOk(DecodeData("FP32", "[2]", "[2.1019476964872256063855e-45,2.10194769648722560e-45]"));
  EXPECT_EQ(Values<float>()[1], 0x1p-149f);
  ExpectOk(DecodeData("FP32", "[3]", "[1e-50,0.0,1.401298464324817e-45]"));
  EXPECT_EQ(Values<float>(), (std::vector<float>{0, 0, 0x1p-149f}));
}

TEST_F(JsonReader, ReadsFlatAndNestedDataAlike) {
  const std::vector<int32_t> expected{1, 2, 3, 4, 5, 6};
  for (const char* data : {"[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]", " [ [1 ,2,3 ] , [4,5,6] ] "}) {
    ExpectOk(DecodeData("INT32", "[2,3]", data));
    EXPECT_EQ(Values<int32_t>(), expected) << data;
  }
  ExpectOk(DecodeData("INT32", "[1,2,3]", "[[[1,2,3],[4,5,6]]]"));
  EXPECT_EQ(Values<int32_t>(), expected);
}

// Data that is nested in another way than its shape would be answered wrongly, not refused, by a
// server that flattens it.
TEST_F(JsonReader, RefusesDataNestedUnlikeItsShape) {
  for (const char* data : {"[[1,2],[3,4],[5,6]]", "[[1,2,3],[4,5]]", "[[1,2,3]]", "[[1,2,3],4,5,6]",
                           "[1,[2,3],4,5,6]", "[[[1,2,3]],[[4,5,6]]]", "[1,2,3,4,5]", "[]",
                           "[1,2,3,4,5,6,7]", "[[1,2,3],[4,5,6],[7,8,9]]", "[[1,2,3,4],[5,6]]"}) {
    ExpectInvalid(DecodeData("INT32", "[2,3]", data), "tensor 'x'");
  }
  ExpectInvalid(DecodeData("INT32", "[1]", "[[1]]"), "received [");
  ExpectInvalid(DecodeData("INT32", "[1]", "1"), "expected an array as data, received 1");
  ExpectInvalid(DecodeData("INT32", "[1]", R"("1")"), "expected an array as data");
}

TEST_F(JsonReader, ReadsEmptyTensorsAndScalars) {
  for (const auto& [shape, data] :
       {std::pair{"[0]", "[]"}, {"[0,3]", "[]"}, {"[2,0]", "[]"}, {"[2,0]", "[[],[]]"}}) {
    ExpectOk(DecodeData("FP32", shape, data));
    EXPECT_EQ(request_.inputs[0].tensor.bytes.size(), 0u);
  }
  EXPECT_EQ(allocator_.calls, 0u);
  for (const char* data : {"[5]", "5"}) {
    ExpectOk(DecodeData("INT64", "[]", data));
    EXPECT_EQ(Values<int64_t>(), (std::vector<int64_t>{5}));
    EXPECT_EQ(request_.inputs[0].tensor.shape.rank(), 0u);
  }
  ExpectInvalid(DecodeData("INT64", "[]", "[]"), "fewer than 1");
  ExpectInvalid(DecodeData("FP32", "[0]", "[1]"), "more than 0");
}

TEST_F(JsonReader, ReadsStringsWithTheirEscapes) {
  ExpectOk(DecodeData("BYTES", "[2,3]",
                      R"([["","a\"\\\/\b\n","\u00e9"],["\ud83d\ude00","€","\u0000"]])"));
  EXPECT_EQ(
      SplitBytesElements(request_.inputs[0].tensor),
      (std::vector<std::string_view>{"", "a\"\\/\b\n", "é", "😀", "€", std::string_view("\0", 1)}));
  ExpectOk(ValidateTensor("x", request_.inputs[0].tensor));
  ExpectOk(DecodeData("BYTES", "[]", R"("one")"));
  EXPECT_EQ(SplitBytesElements(request_.inputs[0].tensor), (std::vector<std::string_view>{"one"}));
}

TEST_F(JsonReader, RefusesHalfASurrogatePairAndBadEscapes) {
  for (const char* text :
       {R"(["\ud800"])", R"(["\ude00"])", R"(["\ud83dx"])", R"(["\x41"])", R"(["\u12"])",
        "[\"a\nb\"]", "[\"\xff\"]", "[\"\xc0\x80\"]", "[\"abc]"}) {
    EXPECT_FALSE(DecodeData("BYTES", "[1]", text).ok()) << text;
  }
}

TEST_F(JsonReader, HasNoJsonFormForHalfPrecision) {
  for (const char* type : {"FP16", "BF16"}) {
    ExpectInvalid(DecodeData(type, "[1]", "[1.0]"), "send it as binary data");
  }
}

TEST_F(JsonReader, AllocatesNothingForAShapeThatTheBodyCannotHold) {
  for (const char* type : {"FP32", "BYTES", "BOOL"}) {
    ExpectInvalid(DecodeData(type, "[1000000000000]", "[1,2,3]"), "1000000000000 elements");
  }
  EXPECT_EQ(allocator_.calls, 0u);
}

TEST_F(JsonReader, ReportsWhenTheAllocatorHasNothingLeft) {
  allocator_.limit_bytes = 7;
  ExpectError(DecodeData("FP32", "[2]", "[1,2]"), Code::kResourceExhausted, "8 bytes");
  ExpectError(DecodeData("BYTES", "[1]", R"(["abcd"])"), Code::kResourceExhausted, "8 bytes");
}

TEST_F(JsonReader, KeepsRandomDoublesAndIntegersExactly) {
  std::mt19937_64 random(7);
  std::vector<double> doubles;
  std::vector<int64_t> integers;
  std::string double_text = "[", integer_text = "[";
  while (doubles.size() < 5000) {
    const uint64_t bits = random();
    const double value = std::bit_cast<double>(bits);
    if (!std::isfinite(value)) continue;
    char text[40];
    std::snprintf(text, sizeof text, "%.17g", value);
    double_text += StrCat(doubles.empty() ? "" : ",", text);
    integer_text += StrCat(doubles.empty() ? "" : ",", static_cast<int64_t>(bits));
    doubles.push_back(value);
    integers.push_back(static_cast<int64_t>(bits));
  }
  ExpectOk(DecodeData("FP64", "[5000]", double_text + "]"));
  EXPECT_EQ(Values<double>(), doubles);
  ExpectOk(DecodeData("INT64", "[5000]", integer_text + "]"));
  EXPECT_EQ(Values<int64_t>(), integers);
}

}  // namespace
}  // namespace fastserve
