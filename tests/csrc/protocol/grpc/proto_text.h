// Protobuf messages for tests, field by field: Bytes(1, "m") + Varint(3, 7) + Bytes(5, inner).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace fastserve::proto {

inline std::string RawVarint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
inline std::string Varint(uint32_t field, uint64_t value) {
  return RawVarint(uint64_t{field} << 3) + RawVarint(value);
}
inline std::string Bytes(uint32_t field, std::string_view bytes) {
  return RawVarint(uint64_t{field} << 3 | 2) + RawVarint(bytes.size()) + std::string(bytes);
}
template <typename Number>
std::string Raw(Number number) {
  std::string out(sizeof(Number), '\0');
  std::memcpy(out.data(), &number, sizeof(Number));
  return out;
}
template <typename Number>
std::string Fixed(uint32_t field, Number number) {
  static_assert(sizeof(Number) == 4 || sizeof(Number) == 8);
  return RawVarint(uint64_t{field} << 3 | (sizeof(Number) == 4 ? 5 : 1)) + Raw(number);
}

inline std::string Floats(std::initializer_list<float> values) {
  std::string out;
  for (const float value : values) out += Raw(value);
  return out;
}
// An InferInputTensor of one dimension; `rest` are further fields.
inline std::string Input(std::string_view name, std::string_view datatype, uint64_t length,
                         std::string_view rest = "") {
  return Bytes(1, name) + Bytes(2, datatype) + Bytes(3, RawVarint(length)) + std::string(rest);
}
// An entry of map<string, InferParameter>, whose value is the fields of an InferParameter.
inline std::string Entry(std::string_view key, std::string_view value) {
  return Bytes(1, key) + Bytes(2, value);
}
// Two floats for the model "m".
inline std::string FloatsRequest(float first = 1, std::string_view id = "") {
  return Bytes(1, "m") + (id.empty() ? "" : Bytes(3, id)) +
         Bytes(5, Bytes(1, "x") + Bytes(2, "FP32") + Bytes(3, "\x01\x02")) +
         Bytes(7, Floats({first, 2}));
}

}  // namespace fastserve::proto
