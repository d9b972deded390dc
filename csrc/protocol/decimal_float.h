// fp32 numbers to decimal digits and back, for the ranges that tensors' values are mostly in.
//
//   ShortestDecimal decimal = ShortestFloat(0.1f);   // {1, -1}: 1 * 10^-1, zeros may follow the 1
//   float value;
//   if (!ReadDecimalFloat(text, &value)) ...         // rare or wrong: ask the general parser
//
// ShortestFloat finds the fewest digits that read back as the same float, and the nearest of those,
// by Schubfach. It was compared with std::to_chars for every float; a test compares some 400,000.
//
// Source: R. Giulietti, "The Schubfach way to render doubles", 2021, in A. Bolz's formulation with
// 32 bits; D. Lemire, "Number parsing at a gigabyte per second", 2021, of which reading is the part
// that suffices for 24 bits.
#pragma once

#include <cstdint>

namespace fastserve {

// digits * 10^exponent; digits may end in zeros.
struct ShortestDecimal {
  uint32_t digits;
  int exponent;
};

// `value` is positive, finite and no integer.
// Not inlined: inside a loop GCC 12 makes jumps of the masks again, which costs a third more.
[[gnu::noinline]] ShortestDecimal ShortestFloat(float value);

// Reads the JSON number without exponent that `text` begins with: `text` is followed by at least 32
// readable bytes. True: *out is the number, rounded once, and white space, a comma or a bracket
// stands behind it. False says nothing: more than 19 digits, an exponent, a value too near to the
// midpoint of two floats or out of the normal range, or no JSON number at all.
bool ReadDecimalFloat(const char* text, float* out);

}  // namespace fastserve
