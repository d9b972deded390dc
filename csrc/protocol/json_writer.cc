#include "protocol/json_writer.h"

#include <simdjson.h>

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "protocol/decimal_float.h"

namespace fastserve {
namespace {

// Enough for any element and its comma: 24 for the longest double, 20 for an integer.
constexpr size_t kElementBytesMax = 32;
// Elements between two looks at the room that is left.
constexpr size_t kChunkElements = 256;
// Of room behind whatever has a size that a request chose: brackets, and the next tensor's head.
constexpr size_t kSpareBytes = 4096;
// Of a string, which `\u001f` for each byte makes no longer than this without being counted.
constexpr size_t kUncountedBytesMax = 4096;
constexpr size_t kEscapedBytesMax = 6;

constexpr std::array<bool, 256> MakePlainBytes() {
  std::array<bool, 256> plain{};
  for (int byte = 0x20; byte < 0x80; ++byte) plain[byte] = byte != '"' && byte != '\\';
  return plain;
}
// Bytes that stand for themselves in a JSON string.
constexpr std::array<bool, 256> kPlainBytes = MakePlainBytes();

// Length of the UTF-8 sequence that `text` begins with; 0 if it is not one (overlong forms,
// surrogates and what lies above U+10FFFF included).
size_t Utf8SequenceBytes(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto is_tail = [&](size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return is_tail(1) ? 2 : 0;
  if ((lead & 0xF0) == 0xE0) {
    if (!is_tail(1) || !is_tail(2)) return 0;
    if (lead == 0xE0 && byte(1) < 0xA0) return 0;
    if (lead == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    if (!is_tail(1) || !is_tail(2) || !is_tail(3)) return 0;
    if (lead == 0xF0 && byte(1) < 0x90) return 0;
    if (lead == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

void AppendEscaped(char byte, ByteWriter* out) {
  switch (byte) {
    case '"':
      return out->Append("\\\"");
    case '\\':
      return out->Append("\\\\");
    case '\n':
      return out->Append("\\n");
    case '\r':
      return out->Append("\\r");
    case '\t':
      return out->Append("\\t");
    default:
      break;
  }
  constexpr std::string_view kHex = "0123456789abcdef";
  out->Append("\\u00");
  out->Append(kHex[static_cast<uint8_t>(byte) >> 4]);
  out->Append(kHex[static_cast<uint8_t>(byte) & 15]);
}

// Writes `number` (below 10^8) as exactly 8 digits, all at once: halves, quarters and eighths of it
// in their own bytes.
uint64_t EightDigits(uint32_t number) {
  const uint64_t halves = number / 10000 | uint64_t{number % 10000} << 32;
  const uint64_t hundreds = (halves * 5243 >> 19) & 0x7F0000007F;
  const uint64_t quarters = hundreds | (halves - 100 * hundreds) << 16;
  const uint64_t tens = (quarters * 103 >> 10) & 0x000F000F000F000F;
  return tens | (quarters - 10 * tens) << 8;
}

// Writes digits * 10^exponent in full, e.g. 0.00125; it is no integer, at least 1e-4 and below
// 2^24. Up to 16 bytes behind the number are overwritten. No branch: the digits of real
// tensors are random, and each one that is guessed wrongly costs as much as all the arithmetic.
char* FormatFixed(ShortestDecimal decimal, char* at) {
  static constexpr uint32_t kPowers10[] = {1,      10,      100,      1000,      10000,
                                           100000, 1000000, 10000000, 100000000, 1000000000};
  // Neither operand is ever 0, which std::countl_zero would ask about.
  const int log10 = ((32 - __builtin_clz(decimal.digits)) * 1233) >> 12;
  const int count = log10 + static_cast<int>(decimal.digits >= kPowers10[log10]);
  // Nine digits, the count that no float exceeds: zeros behind the last one.
  const uint32_t nine = decimal.digits * kPowers10[9 - count];
  const uint64_t first_eight = EightDigits(nine / 10);
  const uint32_t ninth = nine % 10;
  const int of_eight = 8 - (__builtin_clzll(first_eight) >> 3);
  const int significant = of_eight + ((9 - of_eight) & -static_cast<int>(ninth != 0));
  const uint64_t text = first_eight | 0x3030303030303030;

  const int before_point = count + decimal.exponent;
  const int is_below_one = before_point <= 0;
  const int digits_before = before_point & (is_below_one - 1);
  const int zeros = -before_point & -is_below_one;
  std::memcpy(at, "00000000", 8);
  std::memcpy(at + 8 * ptrdiff_t{is_below_one}, &text, 8);  // Below one: where it does not matter.
  at[digits_before + is_below_one] = '.';
  char* const fraction = at + digits_before + is_below_one + 1 + zeros;
  const uint64_t rest = text >> (4 * digits_before) >> (4 * digits_before);  // May be all 64 bits.
  std::memcpy(fraction, &rest, 8);
  fraction[8 - digits_before] = static_cast<char>('0' + static_cast<int>(ninth));
  return fraction + significant - digits_before;
}

// Writes `value`, which is finite. The library's shortest form costs some 30 ns; integral values
// and the common range have quicker paths (bench/micro/protocol/kserve_rest.cc).
template <typename Float>
char* FormatFloat(Float value, char* at) {
  char* const end = at + kElementBytesMax;
  // Below this every integral value is exact and its digits are its shortest form.
  constexpr Float kExactIntegers = std::is_same_v<Float, float> ? Float(1 << 24) : Float(1e15);
  const Float magnitude = std::abs(value);
  if (magnitude < kExactIntegers) {
    const int64_t integer = static_cast<int64_t>(value);
    if (static_cast<Float>(integer) == value) {
      if (integer == 0 && std::signbit(value)) *at++ = '-';
      at = std::to_chars(at, end, integer).ptr;
      *at++ = '.';
      *at++ = '0';
      return at;
    }
    if (magnitude >= Float(1e-4)) {
      if constexpr (std::is_same_v<Float, float>) {
        *at = '-';
        at += std::signbit(value);
        return FormatFixed(ShortestFloat(magnitude), at);
      }
      return std::to_chars(at, end, value, std::chars_format::fixed).ptr;
    }
  }
  char* const written = std::to_chars(at, end, value).ptr;
  if (std::string_view(at, written).find_first_of(".e") != std::string_view::npos) return written;
  std::memcpy(written, ".0", 2);
  return written + 2;
}

Status NotFinite(std::string_view name, size_t index, double value) {
  return InvalidArgument("output '", name, "' element ", index, " is ",
                         std::isnan(value) ? "NaN" : "infinite",
                         ", which JSON has no number for; ask for binary output (binary_data)");
}

Status NoMemory() { return Unavailable("no memory for the answer, try again later"); }

template <typename T>
Status AppendNumbers(std::string_view name, std::span<const std::byte> bytes, ByteWriter* out) {
  const size_t elements = bytes.size() / sizeof(T);
  for (size_t begin = 0; begin < elements; begin += kChunkElements) {
    const size_t end = std::min(elements, begin + kChunkElements);
    const size_t bytes_max = (end - begin) * kElementBytesMax;
    if (!out->TryReserve(bytes_max + kSpareBytes)) return NoMemory();
    char* const start = out->Reserve(bytes_max);
    char* at = start;
    for (size_t i = begin; i < end; ++i) {
      T value;  // Rows of a batch and engines' memory need not be aligned.
      std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof value);
      if (i > 0) *at++ = ',';
      if constexpr (std::is_floating_point_v<T>) {
        if (!std::isfinite(value)) [[unlikely]]
          return NotFinite(name, i, value);
        at = FormatFloat(value, at);
      } else {
        at = std::to_chars(at, at + kElementBytesMax, value).ptr;
      }
    }
    out->Advance(static_cast<size_t>(at - start));
  }
  return {};
}

Status AppendBools(std::span<const std::byte> bytes, ByteWriter* out) {
  if (!out->TryReserve(bytes.size() * sizeof "false" + kSpareBytes)) return NoMemory();
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) out->Append(',');
    out->Append(bytes[i] != std::byte{0} ? "true" : "false");
  }
  return {};
}

Status AppendStrings(std::string_view name, std::span<const std::byte> bytes, ByteWriter* out) {
  for (size_t i = 0; !bytes.empty(); ++i) {
    uint32_t length;
    std::memcpy(&length, bytes.data(), sizeof length);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof length,
                                length);
    if (!simdjson::validate_utf8(text.data(), text.size())) {
      return InvalidArgument("output '", name, "' element ", i,
                             " is not valid UTF-8, so JSON cannot carry it; ask for binary output "
                             "(binary_data)");
    }
    FS_RETURN_IF_ERROR(ReserveJsonString(text, out));
    if (i > 0) out->Append(',');
    AppendJsonString(text, out);
    bytes = bytes.subspan(sizeof length + length);
  }
  return {};
}

Status AppendElements(std::string_view name, const Tensor& tensor, ByteWriter* out) {
  switch (tensor.type) {
    case DataType::kBool:
      return AppendBools(tensor.bytes, out);
    case DataType::kUint8:
      return AppendNumbers<uint8_t>(name, tensor.bytes, out);
    case DataType::kUint16:
      return AppendNumbers<uint16_t>(name, tensor.bytes, out);
    case DataType::kUint32:
      return AppendNumbers<uint32_t>(name, tensor.bytes, out);
    case DataType::kUint64:
      return AppendNumbers<uint64_t>(name, tensor.bytes, out);
    case DataType::kInt8:
      return AppendNumbers<int8_t>(name, tensor.bytes, out);
    case DataType::kInt16:
      return AppendNumbers<int16_t>(name, tensor.bytes, out);
    case DataType::kInt32:
      return AppendNumbers<int32_t>(name, tensor.bytes, out);
    case DataType::kInt64:
      return AppendNumbers<int64_t>(name, tensor.bytes, out);
    case DataType::kFp32:
      return AppendNumbers<float>(name, tensor.bytes, out);
    case DataType::kFp64:
      return AppendNumbers<double>(name, tensor.bytes, out);
    case DataType::kBytes:
      return AppendStrings(name, tensor.bytes, out);
    case DataType::kFp16:
    case DataType::kBf16:
      break;
  }
  return InvalidArgument("output '", name, "': ", DataTypeName(tensor.type),
                         " has no JSON form; ask for binary output (binary_data)");
}

}  // namespace

void AppendJsonString(std::string_view text, ByteWriter* out) {
  out->Append('"');
  while (!text.empty()) {
    size_t plain = 0;
    while (plain < text.size() && kPlainBytes[static_cast<uint8_t>(text[plain])]) ++plain;
    out->Append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    if (static_cast<uint8_t>(text[0]) < 0x80) {
      AppendEscaped(text[0], out);
      text.remove_prefix(1);
      continue;
    }
    const size_t sequence = Utf8SequenceBytes(text);
    out->Append(sequence > 0 ? text.substr(0, sequence) : std::string_view("\xEF\xBF\xBD"));
    text.remove_prefix(std::max(sequence, size_t{1}));
  }
  out->Append('"');
}

Status ReserveJsonString(std::string_view text, ByteWriter* out) {
  size_t bytes = text.size() * kEscapedBytesMax;
  if (text.size() > kUncountedBytesMax) {
    bytes = 0;
    for (const char byte : text) {
      const auto code = static_cast<uint8_t>(byte);
      bytes += kPlainBytes[code] ? 1 : kEscapedBytesMax / (code < 0x80 ? 1 : 2);
    }
  }
  return out->TryReserve(bytes + kSpareBytes) ? Status() : NoMemory();
}

void AppendJsonInteger(uint64_t value, ByteWriter* out) {
  char* const at = out->Reserve(kElementBytesMax);
  out->Advance(static_cast<size_t>(std::to_chars(at, at + kElementBytesMax, value).ptr - at));
}

Status AppendJsonElements(std::string_view name, const Tensor& tensor, ByteWriter* out) {
  out->Append('[');
  FS_RETURN_IF_ERROR(AppendElements(name, tensor, out));
  out->Append(']');
  return {};
}

}  // namespace fastserve
