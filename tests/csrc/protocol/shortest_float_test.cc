#include "protocol/shortest_float.h"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
#include <cmath>
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

TEST(ShortestFloat, FindsTheDigitsOfKnownFloats) {
  EXPECT_EQ(Scientific(ShortestFloat(0.1f)), "1e-01");
  EXPECT_EQ(Scientific(ShortestFloat(0x1p-149f)), "1e-45");
  EXPECT_EQ(Scientific(ShortestFloat(1.17549435e-38f)), "1.1754944e-38");
  EXPECT_EQ(Scientific(ShortestFloat(8388607.5f)), "8.3886075e+06");
  EXPECT_EQ(Scientific(ShortestFloat(0x1.000002p0f)), "1.0000001e+00");
}

// Every exponent, and around each power of two, where the neighbour below is nearer.
TEST(ShortestFloat, AgreesWithTheStandardLibrary) {
  for (uint32_t exponent = 0; exponent < 151; ++exponent) {
    for (int offset = -300; offset < 300; ++offset) {
      ExpectShortest(std::bit_cast<float>((exponent << 23) + static_cast<uint32_t>(offset)));
    }
  }
  std::mt19937 random(5);
  for (int i = 0; i < 300'000; ++i)
    ExpectShortest(std::bit_cast<float>(static_cast<uint32_t>(random())));
}

}  // namespace
}  // namespace fastserve
