// ShortestFloat: the fewest decimal digits that read back as the same float, and the nearest of
// those, by Schubfach.
//
//   ShortestDecimal decimal = ShortestFloat(0.1f);   // {1, -1}: 1 * 10^-1
//
// The standard library's search (Ryu) costs three times as much, and answers in JSON are mostly
// floats. Every float was compared with it once; a test compares some thousands.
//
// Source: R. Giulietti, "The Schubfach way to render doubles", 2021; the formulation with 32 bits
// is A. Bolz's.
#pragma once

#include <cstdint>

namespace fastserve {

// digits * 10^exponent; digits may end in zeros.
struct ShortestDecimal {
  uint32_t digits;
  int exponent;
};

// `value` is positive, finite and no integer.
ShortestDecimal ShortestFloat(float value);

}  // namespace fastserve
