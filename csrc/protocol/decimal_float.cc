#include "protocol/decimal_float.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

namespace fastserve {
namespace {

constexpr int kPower10Min = -31;
// 10^k for k from -31 to 45 as 64 bits with the highest one set, rounded up: ceil(10^k / 2^r) with
// r = floor(log2(10^k)) - 63.
constexpr uint64_t kPowers10[] = {
    0x81CEB32C4B43FCF5, 0xA2425FF75E14FC32, 0xCAD2F7F5359A3B3F, 0xFD87B5F28300CA0E,
    0x9E74D1B791E07E49, 0xC612062576589DDB, 0xF79687AED3EEC552, 0x9ABE14CD44753B53,
    0xC16D9A0095928A28, 0xF1C90080BAF72CB2, 0x971DA05074DA7BEF, 0xBCE5086492111AEB,
    0xEC1E4A7DB69561A6, 0x9392EE8E921D5D08, 0xB877AA3236A4B44A, 0xE69594BEC44DE15C,
    0x901D7CF73AB0ACDA, 0xB424DC35095CD810, 0xE12E13424BB40E14, 0x8CBCCC096F5088CC,
    0xAFEBFF0BCB24AAFF, 0xDBE6FECEBDEDD5BF, 0x89705F4136B4A598, 0xABCC77118461CEFD,
    0xD6BF94D5E57A42BD, 0x8637BD05AF6C69B6, 0xA7C5AC471B478424, 0xD1B71758E219652C,
    0x83126E978D4FDF3C, 0xA3D70A3D70A3D70B, 0xCCCCCCCCCCCCCCCD, 0x8000000000000000,
    0xA000000000000000, 0xC800000000000000, 0xFA00000000000000, 0x9C40000000000000,
    0xC350000000000000, 0xF424000000000000, 0x9896800000000000, 0xBEBC200000000000,
    0xEE6B280000000000, 0x9502F90000000000, 0xBA43B74000000000, 0xE8D4A51000000000,
    0x9184E72A00000000, 0xB5E620F480000000, 0xE35FA931A0000000, 0x8E1BC9BF04000000,
    0xB1A2BC2EC5000000, 0xDE0B6B3A76400000, 0x8AC7230489E80000, 0xAD78EBC5AC620000,
    0xD8D726B7177A8000, 0x878678326EAC9000, 0xA968163F0A57B400, 0xD3C21BCECCEDA100,
    0x84595161401484A0, 0xA56FA5B99019A5C8, 0xCECB8F27F4200F3A, 0x813F3978F8940985,
    0xA18F07D736B90BE6, 0xC9F2C9CD04674EDF, 0xFC6F7C4045812297, 0x9DC5ADA82B70B59E,
    0xC5371912364CE306, 0xF684DF56C3E01BC7, 0x9A130B963A6C115D, 0xC097CE7BC90715B4,
    0xF0BDC21ABB48DB21, 0x96769950B50D88F5, 0xBC143FA4E250EB32, 0xEB194F8E1AE525FE,
    0x92EFD1B8D0CF37BF, 0xB7ABC627050305AE, 0xE596B7B0C643C71A, 0x8F7E32CE7BEA5C70,
    0xB35DBF821AE4F38C};

// floor(log2(10^k)) for the k of the table.
constexpr int FloorLog2Power10(int k) { return (k * 1741647) >> 19; }

// The upper part of power * value / 2^64, with one more bit that says whether the rest is nothing:
// enough to compare it with the integers and the halves between them.
uint32_t RoundToOdd(uint64_t power, uint32_t value) {
  const unsigned __int128 product = static_cast<unsigned __int128>(power) * value;
  const uint32_t upper = static_cast<uint32_t>(product >> 64);
  const uint32_t lower = static_cast<uint32_t>(product >> 32);
  return upper | (lower > 1);
}

bool IsDigit(char byte) { return byte >= '0' && byte <= '9'; }

// The number that eight digits say, given as their values, the first one in the lowest byte.
uint64_t EightDigitsNumber(uint64_t digits) {
  digits = digits * 10 + (digits >> 8);  // Pairs, in every second byte.
  constexpr uint64_t kMask = 0x000000FF000000FF;
  return (((digits & kMask) * 0x000F424000000064 + (digits >> 16 & kMask) * 0x0000271000000001) >>
          32) &
         0xFFFFFFFF;
}

// Appends the digits at `at` to `number`, as many as are there before `limit`; where they end. Up
// to 8 bytes behind that are read. Where a number ends is as good as random, so the last few digits
// are no loop but one step of whatever length.
const char* ReadDigits(const char* at, const char* limit, uint64_t* number) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  static constexpr uint64_t kPowers[] = {1,      10,      100,      1000,     10000,
                                         100000, 1000000, 10000000, 100000000};
  while (true) {
    uint64_t text;
    std::memcpy(&text, at, sizeof text);
    const uint64_t digits = text ^ (kOnes * '0');
    // The highest bit of a byte that is no digit; above the first such byte it may be wrong.
    const uint64_t others = (digits | (digits + kOnes * 0x76)) & (kOnes * 0x80);
    if (others == 0 && limit - at > 8) {
      *number = *number * 100'000'000 + EightDigitsNumber(digits);
      at += 8;
      continue;
    }
    const ptrdiff_t found = std::countr_zero(others) / 8;  // 8 if all are digits.
    const ptrdiff_t count = std::min(found, limit - at);
    const ptrdiff_t half = 32 - 4 * count;  // In two steps, because 64 would be too many for one.
    // NOLINTNEXTLINE(clang-analyzer-security.ArrayBound): it does not know that 64 / 8 is 8.
    *number = *number * kPowers[count] + EightDigitsNumber(digits << half << half);
    return at + count;
  }
}

}  // namespace

ShortestDecimal ShortestFloat(float value) {
  constexpr int kMantissaBits = 23;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t fraction = bits & ((uint32_t{1} << kMantissaBits) - 1);
  const uint32_t biased = bits >> kMantissaBits;
  const bool is_normal = biased != 0;
  // value = mantissa * 2^exponent.
  const uint32_t mantissa = is_normal ? fraction | (uint32_t{1} << kMantissaBits) : fraction;
  const int exponent = static_cast<int>(is_normal ? biased : 1) - 150;
  // What lies between the midpoints to the neighbours reads back as value, the midpoints too when
  // the mantissa is even. Below a power of two the neighbour is nearer.
  const bool is_odd = mantissa % 2 != 0;
  const bool is_lower_nearer = fraction == 0 && biased > 1;

  // 10^k is the largest power of ten below the interval's width: the digits are at most ten.
  const int k = (exponent * 1262611 - (is_lower_nearer ? 524031 : 0)) >> 22;
  const int shift = exponent + FloorLog2Power10(-k) + 1;
  const uint64_t power = kPowers10[-k - kPower10Min];
  // In quarters of 10^k.
  const uint32_t lower = RoundToOdd(power, (4 * mantissa - 2 + is_lower_nearer) << shift) + is_odd;
  const uint32_t exact = RoundToOdd(power, (4 * mantissa) << shift);
  const uint32_t upper = RoundToOdd(power, (4 * mantissa + 2) << shift) - is_odd;

  // One digit fewer, if exactly one such number lies inside; else the one number inside, or the
  // nearer of two, the even one if they are as near. Everything is computed and one taken by
  // masking: which it will be is as good as random, and compilers make jumps of "?".
  const uint32_t digits = exact / 4;
  const uint32_t fewer = digits / 10;
  const uint32_t is_fewer_inside = lower <= 40 * fewer;
  const uint32_t is_fewer_next_inside = 40 * fewer + 40 <= upper;
  const uint32_t takes_fewer = (is_fewer_inside ^ is_fewer_next_inside) & (digits >= 10);
  const uint32_t is_inside = lower <= 4 * digits;
  const uint32_t is_next_inside = 4 * digits + 4 <= upper;
  const uint32_t is_one_inside = is_inside ^ is_next_inside;
  // Of two as near the even one: exact is middle, then, and one more than middle takes it past.
  const uint32_t is_next_nearer = exact + (digits & 1) > 4 * digits + 2;
  const uint32_t takes_next = (is_one_inside & is_next_inside) | (~is_one_inside & is_next_nearer);
  const uint32_t short_one = fewer + is_fewer_next_inside;
  const uint32_t long_one = digits + (takes_next & 1);
  return {long_one ^ ((long_one ^ short_one) & (0 - takes_fewer)),
          k + static_cast<int>(takes_fewer)};
}

bool ReadDecimalFloat(const char* text, float* out) {
  constexpr int kDigitsMax = 19;  // All that 64 bits hold whatever they are.
  const bool is_negative = *text == '-';
  const char* const digits = text + is_negative;
  uint64_t number = 0;
  const char* at = digits + 1;
  if (IsDigit(*digits) && *at == '.') [[likely]] {
    number = static_cast<uint64_t>(*digits - '0');
  } else {
    at = ReadDigits(digits, digits + kDigitsMax, &number);
    if (at == digits || (*digits == '0' && at - digits > 1)) return false;
  }
  int exponent = 0;
  if (*at == '.') {
    const char* const fraction = at + 1;
    at = ReadDigits(fraction, digits + kDigitsMax + 1, &number);
    exponent = static_cast<int>(fraction - at);
    if (exponent == 0) return false;
  }
  switch (*at) {
    case ',':
    case ']':
    case ' ':
    case '\n':
    case '\r':
    case '\t':
      break;
    default:
      return false;
  }
  if (number == 0) return false;
  // number * 10^exponent = high * 2^binary; high is too large by less than 2: the power is by less
  // than 1, and the shift doubles that.
  const int shift = std::countl_zero(number);
  const unsigned __int128 product =
      static_cast<unsigned __int128>(number << shift) * kPowers10[exponent - kPower10Min];
  const int is_small = static_cast<uint64_t>(product >> 64) >> 63 == 0;
  const uint64_t high = static_cast<uint64_t>((product << is_small) >> 64);
  const int binary = 64 - is_small + FloorLog2Power10(exponent) - 63 - shift;
  // 24 bits are kept of 64.
  constexpr uint64_t kHalf = uint64_t{1} << 39;
  const uint64_t rest = high & (2 * kHalf - 1);
  if (rest + 2 >= kHalf && rest <= kHalf + 2) return false;
  const int biased = binary + 40 + 150;
  if (biased < 1 || biased > 253) return false;
  // A mantissa that rounds up to 2^24 carries into the exponent, as it should.
  const uint32_t mantissa = static_cast<uint32_t>(high >> 40) + (rest > kHalf);
  const uint32_t bits = (static_cast<uint32_t>(biased - 1) << 23) + mantissa;
  *out = std::bit_cast<float>(bits | (static_cast<uint32_t>(is_negative) << 31));
  return true;
}

}  // namespace fastserve
