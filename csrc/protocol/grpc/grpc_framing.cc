#include "protocol/grpc/grpc_framing.h"

#include <limits>

#include "base/check.h"

namespace fastserve {
namespace {

constexpr size_t kTimeoutDigitsMax = 8;

int64_t NanosecondsOf(char unit) {
  switch (unit) {
    case 'H':
      return int64_t{3600} * 1'000'000'000;
    case 'M':
      return int64_t{60} * 1'000'000'000;
    case 'S':
      return 1'000'000'000;
    case 'm':
      return 1'000'000;
    case 'u':
      return 1'000;
    case 'n':
      return 1;
    default:
      return 0;
  }
}

}  // namespace

Result<GrpcPrefix> ParseGrpcPrefix(std::string_view bytes) {
  FS_CHECK_OP(bytes.size(), >=, kGrpcPrefixBytes);
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
  if (byte(0) > 1) {
    return Internal("gRPC message: the first byte is ", byte(0),
                    ", expected 0 (as it is) or 1 (compressed)");
  }
  return GrpcPrefix{.is_compressed = byte(0) == 1,
                    .length = byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4)};
}

std::array<char, kGrpcPrefixBytes> FormatGrpcPrefix(GrpcPrefix prefix) {
  return {static_cast<char>(prefix.is_compressed ? 1 : 0), static_cast<char>(prefix.length >> 24),
          static_cast<char>(prefix.length >> 16), static_cast<char>(prefix.length >> 8),
          static_cast<char>(prefix.length)};
}

bool IsGrpcContentType(std::string_view value) {
  constexpr std::string_view kType = "application/grpc";
  if (!value.starts_with(kType)) return false;
  value.remove_prefix(kType.size());
  return value.empty() || value.front() == '+' || value.front() == ';';
}

std::optional<int64_t> ParseGrpcTimeout(std::string_view value) {
  if (value.size() < 2 || value.size() > kTimeoutDigitsMax + 1) return std::nullopt;
  const int64_t unit = NanosecondsOf(value.back());
  if (unit == 0) return std::nullopt;
  int64_t number = 0;
  for (const char digit : value.substr(0, value.size() - 1)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    number = number * 10 + (digit - '0');
  }
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  return number > kMax / unit ? kMax : number * unit;
}

std::string FormatGrpcTimeout(int64_t timeout_ns) {
  constexpr int64_t kMax = 99'999'999;  // Eight digits.
  constexpr std::string_view kUnits = "numSMH";
  for (const char unit : kUnits) {
    const int64_t size = NanosecondsOf(unit);
    if (size == 0) continue;
    const int64_t number = timeout_ns / size + (timeout_ns % size == 0 ? 0 : 1);
    if (number <= kMax || unit == kUnits.back()) return StrCat(number, unit);
  }
  return {};
}

std::string EncodeGrpcMessage(std::string_view message) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(message.size());
  for (const char c : message) {
    if (c >= ' ' && c <= '~' && c != '%') {
      encoded += c;
      continue;
    }
    const auto byte = static_cast<uint8_t>(c);
    encoded += '%';
    encoded += kHex[byte >> 4];
    encoded += kHex[byte & 15];
  }
  return encoded;
}

std::string_view GrpcCodeText(Code code) {
  constexpr std::array<std::string_view, 17> kTexts = {
      "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};
  return kTexts[static_cast<size_t>(code)];
}

Code ParseGrpcCode(std::string_view text) {
  for (int code = 0; code <= static_cast<int>(Code::kUnauthenticated); ++code) {
    if (text == GrpcCodeText(static_cast<Code>(code))) return static_cast<Code>(code);
  }
  return Code::kUnknown;
}

}  // namespace fastserve
