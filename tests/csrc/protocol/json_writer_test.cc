#include "protocol/json_writer.h"

#include <simdjson.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "protocol/kserve_rest_fixture.h"

namespace fastserve {
namespace {

std::string Quoted(std::string_view text) {
  ByteWriter out;
  AppendJsonString(text, &out);
  return std::string(out.view());
}

template <typename T>
std::string Elements(DataType type, const std::vector<T>& values) {
  ByteWriter out;
  const Tensor tensor{type, Shape{static_cast<int64_t>(values.size())},
                      std::as_bytes(std::span(values))};
  ExpectOk(AppendJsonElements("y", tensor, &out));
  return std::string(out.view());
}

template <typename T>
Status ElementsError(DataType type, const std::vector<T>& values) {
  ByteWriter out;
  return AppendJsonElements(
      "y",
      Tensor{type, Shape{static_cast<int64_t>(values.size())}, std::as_bytes(std::span(values))},
      &out);
}

TEST(JsonWriter, EscapesWhatJsonCannotHoldAsItIs) {
  EXPECT_EQ(Quoted(""), R"("")");
  EXPECT_EQ(Quoted("plain é€😀"), R"("plain é€😀")");
  EXPECT_EQ(Quoted("\"\\\n\r\t\x01\x1f\x7f"), "\"\\\"\\\\\\n\\r\\t\\u0001\\u001f\x7f\"");
  EXPECT_EQ(Quoted(std::string_view("a\0b", 3)), R"("a\u0000b")");
}

TEST(JsonWriter, ReplacesWhatIsNotUtf8) {
  const char* const bad[] = {
      "\xff",         "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82",
      "\xf0\x9f\x98", "\x80",     "\xe0\x80\x80", "\xf0\x80\x80\x80"};
  for (const char* text : bad) {
    const std::string quoted = Quoted(StrCat("a", text, "b"));
    EXPECT_TRUE(simdjson::validate_utf8(quoted.data(), quoted.size())) << quoted;
    EXPECT_NE(quoted.find("\xEF\xBF\xBD"), std::string::npos);
    EXPECT_TRUE(quoted.starts_with("\"a") && quoted.ends_with("b\"")) << quoted;
  }
}

TEST(JsonWriter, WritesTheExtremesOfEachIntegerType) {
  EXPECT_EQ(Elements<int8_t>(DataType::kInt8, {-128, 127}), "[-128,127]");
  EXPECT_EQ(Elements<uint8_t>(DataType::kUint8, {0, 255}), "[0,255]");
  EXPECT_EQ(Elements<int16_t>(DataType::kInt16, {INT16_MIN}), "[-32768]");
  EXPECT_EQ(Elements<uint16_t>(DataType::kUint16, {65535}), "[65535]");
  EXPECT_EQ(Elements<int32_t>(DataType::kInt32, {INT32_MIN}), "[-2147483648]");
  EXPECT_EQ(Elements<uint32_t>(DataType::kUint32, {UINT32_MAX}), "[4294967295]");
  EXPECT_EQ(Elements<int64_t>(DataType::kInt64, {INT64_MIN}), "[-9223372036854775808]");
  EXPECT_EQ(Elements<uint64_t>(DataType::kUint64, {UINT64_MAX}), "[18446744073709551615]");
  EXPECT_EQ(Elements<uint8_t>(DataType::kBool, {1, 0, 2}), "[true,false,true]");
  EXPECT_EQ(Elements<int32_t>(DataType::kInt32, {}), "[]");
}

TEST(JsonWriter, ShowsThatANumberIsFloatingPoint) {
  EXPECT_EQ(Elements<float>(DataType::kFp32, {1, -2, 0, -0.0f, 0.5f, 0.1f, 16777215, 16777216}),
            "[1.0,-2.0,0.0,-0.0,0.5,0.1,16777215.0,16777216.0]");
  EXPECT_EQ(Elements<float>(DataType::kFp32, {1e-5f, 1e20f, 3.4028235e38f, 1e-45f}),
            "[1e-05,1e+20,3.4028235e+38,1e-45]");
  EXPECT_EQ(Elements<double>(DataType::kFp64, {1, 0.1, 1e15, 123456789012345680.0, 1e300, 5e-324}),
            "[1.0,0.1,1e+15,123456789012345680.0,1e+300,5e-324]");
}

// The point among the digits, behind and before them.
TEST(JsonWriter, WritesFloatsInFullWhereThatIsShort) {
  EXPECT_EQ(Elements<float>(DataType::kFp32, {0.0001f, -0.00012345679f, 0.012f, 0.99999994f, 1.5f,
                                              -12.25f, 123456.79f, 8388607.5f, 9.999e-5f}),
            "[0.0001,-0.00012345679,0.012,0.99999994,1.5,-12.25,123456.79,8388607.5,9.999e-05]");
}

// Every finite bit pattern must come back; random ones cover all exponents.
TEST(JsonWriter, WritesFloatsThatReadBackAsTheSame) {
  std::mt19937_64 random(11);
  std::vector<float> floats;
  std::vector<double> doubles;
  while (floats.size() < 20000) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::isfinite(value)) floats.push_back(value);
  }
  while (doubles.size() < 20000) {
    const double value = std::bit_cast<double>(random());
    if (std::isfinite(value)) doubles.push_back(value);
  }
  std::normal_distribution<float> normal;
  for (int i = 0; i < 20000; ++i) floats.push_back(normal(random));
  const std::string float_text = Elements(DataType::kFp32, floats);
  const std::string double_text = Elements(DataType::kFp64, doubles);
  const char* at = float_text.c_str();
  for (float value : floats) {
    char* end;
    EXPECT_EQ(std::bit_cast<uint32_t>(std::strtof(at + 1, &end)), std::bit_cast<uint32_t>(value));
    at = end;
  }
  at = double_text.c_str();
  for (double value : doubles) {
    char* end;
    EXPECT_EQ(std::bit_cast<uint64_t>(std::strtod(at + 1, &end)), std::bit_cast<uint64_t>(value));
    at = end;
  }
}

TEST(JsonWriter, RefusesWhatJsonHasNoNumberForAndSaysWhatToDo) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  ExpectInvalid(ElementsError<float>(DataType::kFp32, {1, 2, nan}),
                "output 'y' element 2 is NaN, which JSON has no number for; ask for binary output");
  ExpectInvalid(ElementsError<double>(DataType::kFp64, {-infinity}), "element 0 is infinite");
  ExpectInvalid(ElementsError<uint16_t>(DataType::kFp16, {0}), "FP16 has no JSON form");
  ExpectInvalid(ElementsError<uint16_t>(DataType::kBf16, {0}), "BF16 has no JSON form");
  ExpectInvalid(ElementsError<char>(DataType::kBytes, {1, 0, 0, 0, 'a', 1, 0, 0, 0, '\xff'}),
                "element 1 is not valid UTF-8");
}

TEST(JsonWriter, WritesStrings) {
  EXPECT_EQ(Elements<char>(DataType::kBytes, {0, 0, 0, 0, 2, 0, 0, 0, '"', 'b'}), R"(["","\"b"])");
}

// Rows of a batch begin wherever the row before ends.
TEST(JsonWriter, ReadsElementsThatAreNotAligned) {
  alignas(8) char bytes[9] = {};
  const double value = 2.5;
  std::memcpy(bytes + 1, &value, sizeof value);
  ByteWriter out;
  ExpectOk(AppendJsonElements(
      "y", Tensor{DataType::kFp64, Shape{1}, std::as_bytes(std::span(bytes + 1, 8))}, &out));
  EXPECT_EQ(out.view(), "[2.5]");
}

TEST(ByteWriter, KeepsItsContentsWhileItGrowsAndGivesThemAway) {
  ByteWriter out;
  std::string expected;
  for (int i = 0; i < 2000; ++i) {
    out.Append(std::to_string(i));
    expected += std::to_string(i);
  }
  EXPECT_EQ(out.view(), expected);
  const char* const where = out.view().data();
  ByteWriter::Storage storage = out.Release();
  EXPECT_EQ(storage.bytes.get(), where);
  EXPECT_EQ(std::string_view(storage.bytes.get(), storage.size), expected);
  EXPECT_EQ(out.size(), 0u);
  out.Append("again");
  EXPECT_EQ(out.view(), "again");
}

TEST(ByteWriter, KeepsItsCapacityWhenCleared) {
  ByteWriter out;
  out.Append(std::string(10000, 'x'));
  const size_t capacity = out.capacity();
  out.Clear();
  EXPECT_EQ(out.size(), 0u);
  EXPECT_EQ(out.capacity(), capacity);
}

}  // namespace
}  // namespace fastserve
