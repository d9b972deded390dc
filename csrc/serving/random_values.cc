#include "serving/random_values.h"

#include <cstdint>
#include <cstring>

namespace fastserve {
namespace {

// 16-bit floats. Only values that both represent exactly are made, so there is no rounding here.

// `value` is 0 or in [2^-14, 2) with at most 10 significant bits.
uint16_t ToHalf(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  if (bits == 0) return 0;
  return static_cast<uint16_t>((((bits >> 23) - 127 + 15) << 10) | ((bits >> 13) & 0x3ff));
}

uint16_t ToBrainFloat(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<uint16_t>(bits >> 16);
}

template <typename T>
void Append(T value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

void AppendRandom(DataType type, std::mt19937_64& random, std::string* bytes) {
  constexpr uint64_t kSteps = 128;  // 7 bits: exact in every float.
  const uint64_t bit = random() & 1;
  const float fraction = static_cast<float>(random() % kSteps) / kSteps;
  switch (type) {
    case DataType::kFp16:
      return Append(ToHalf(fraction), bytes);
    case DataType::kBf16:
      return Append(ToBrainFloat(fraction), bytes);
    case DataType::kFp32:
      return Append(fraction, bytes);
    case DataType::kFp64:
      return Append(static_cast<double>(fraction), bytes);
    case DataType::kBytes: {
      const auto length = static_cast<uint32_t>(1 + random() % 4);
      Append(length, bytes);
      for (uint32_t i = 0; i < length; ++i) *bytes += static_cast<char>('a' + random() % 26);
      return;
    }
    default:
      // Little-endian, so the first byte is the number.
      bytes->append(1, static_cast<char>(bit)).append(ElementBytes(type) - 1, '\0');
  }
}

}  // namespace fastserve
