#include "protocol/decimal_float.h"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

namespace fastserve {
namespace {

// As the standard library writes it: "1.25e-02".
std::string Reference(float value) {
  char text[40];
  return {text, std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr};
}

std::string Scientific(ShortestDecimal decimal) {
  while (decimal.digits % 10 == 0) decimal = {decimal.digits / 10, decimal.exponent + 1};
  std::string text = std::to_string(decimal.digits);
  const int exponent = decimal.exponent + static_cast<int>(text.size()) - 1;
  if (text.size() > 1) text.insert(1, ".");
  const std::string digits = std::to_string(std::abs(exponent));
  return text + (exponent < 0 ? "e-" : "e+") + (digits.size() == 1 ? "0" : "") + digits;
}

void ExpectShortest(float value) {
  if (!std::isfinite(value) || value <= 0 || value == std::floor(value)) return;
  EXPECT_EQ(Scientific(ShortestFloat(value)), Reference(value));
}

TEST(DecimalFloat, FindsTheDigitsOfKnownFloats) {
  EXPECT_EQ(Scientific(ShortestFloat(0.1f)), "1e-01");
  EXPECT_EQ(Scientific(ShortestFloat(0x1p-149f)), "1e-45");
  EXPECT_EQ(Scientific(ShortestFloat(1.17549435e-38f)), "1.1754944e-38");
  EXPECT_EQ(Scientific(ShortestFloat(8388607.5f)), "8.3886075e+06");
  EXPECT_EQ(Scientific(ShortestFloat(0x1.000002p0f)), "1.0000001e+00");
}

// Every exponent, and around each power of two, where the neighbour below is nearer.
TEST(DecimalFloat, AgreesWithTheStandardLibrary) {
  for (uint32_t exponent = 0; exponent < 151; ++exponent) {
    for (int offset = -300; offset < 300; ++offset) {
      ExpectShortest(std::bit_cast<float>((exponent << 23) + static_cast<uint32_t>(offset)));
    }
  }
  std::mt19937 random(5);
  for (int i = 0; i < 300'000; ++i)
    ExpectShortest(std::bit_cast<float>(static_cast<uint32_t>(random())));
}

bool Read(std::string text, float* out) {
  text.append(32, '7');  // Would continue the number.
  return ReadDecimalFloat(text.c_str(), out);
}

TEST(DecimalFloat, ReadsWhatTheStandardLibraryReads) {
  std::mt19937_64 random(9);
  std::normal_distribution<double> normal;
  int read = 0;
  for (int i = 0; i < 300'000; ++i) {
    char text[64];
    const double scale = std::pow(10.0, static_cast<double>(random() % 12) - 4);
    const double wide = normal(random) * scale;
    // Digits of doubles, of floats, and few ones; every third lies near the midpoint of two floats.
    const float single = static_cast<float>(wide);
    const double value =
        i % 3 > 0
            ? wide
            : (static_cast<double>(single) + static_cast<double>(std::nextafter(single, 1e30f))) /
                  2;
    std::snprintf(text, sizeof text, "%.*f", static_cast<int>(random() % 18), value);
    float out;
    if (!Read(std::string(text) + ",", &out)) continue;
    ++read;
    EXPECT_EQ(std::bit_cast<uint32_t>(out), std::bit_cast<uint32_t>(std::strtof(text, nullptr)))
        << text;
  }
  EXPECT_GT(read, 150'000);
}

TEST(DecimalFloat, TakesWhatTensorsHold) {
  for (const char* text : {"1", "-1", "0.12573021650314331", "-1.5", "16777216.0", "100", "0.001",
                           "9999999999999999999", "0.000000000000000001"}) {
    for (const char* end : {",", "]", " ", "\n", "\t", "\r"}) {
      float out;
      EXPECT_TRUE(Read(std::string(text) + end, &out)) << text;
      EXPECT_EQ(out, std::strtof(text, nullptr)) << text;
    }
  }
}

// All else is left to the general parser, which finds the error.
TEST(DecimalFloat, TakesNothingThatIsNoJsonNumber) {
  for (const char* text : {"",
                           "-",
                           "+1",
                           "01",
                           "-01",
                           "00",
                           ".5",
                           "1.",
                           "1.e1",
                           "-.5",
                           "1e5",
                           "1E5",
                           "1.5.5",
                           "1x",
                           "0x1",
                           "--1",
                           "1_0",
                           "nan",
                           "inf",
                           "true",
                           "\"1\"",
                           "1/",
                           "1:2",
                           "0",
                           "-0.0",
                           "1}",
                           "1a",
                           "10000000000000000000",
                           "1.0000000000000000000",
                           "1.000000059604644775390625"}) {
    float out;
    for (const char* end : {",", "]"}) EXPECT_FALSE(Read(std::string(text) + end, &out)) << text;
  }
  float out;
  EXPECT_FALSE(Read("1", &out));
  EXPECT_FALSE(Read("1.5", &out));
}

}  // namespace
}  // namespace fastserve
