// DataType: the element types of KServe v2, with their wire names and sizes.
//
// Source: Open Inference Protocol v2, "Tensor Data Types"; BF16 from Triton's extension.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fastserve {

enum class DataType : uint8_t {
  kBool,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kFp16,
  kFp32,
  kFp64,
  kBf16,
  // Elements of any length. In memory and on the wire: back to back in row-major order, each a
  // little-endian uint32 length and that many bytes.
  kBytes,
};

inline constexpr size_t kDataTypeCount = 14;

// "FP32", "BYTES"...
std::string_view DataTypeName(DataType type);

// The type of that wire name; nothing if there is none. Names are case-sensitive, as in the
// protocol.
std::optional<DataType> ParseDataType(std::string_view name);

// Bytes of one element; 0 for kBytes, whose elements have no fixed size.
constexpr size_t ElementBytes(DataType type) {
  switch (type) {
    case DataType::kBool:
    case DataType::kUint8:
    case DataType::kInt8:
      return 1;
    case DataType::kUint16:
    case DataType::kInt16:
    case DataType::kFp16:
    case DataType::kBf16:
      return 2;
    case DataType::kUint32:
    case DataType::kInt32:
    case DataType::kFp32:
      return 4;
    case DataType::kUint64:
    case DataType::kInt64:
    case DataType::kFp64:
      return 8;
    case DataType::kBytes:
      return 0;
  }
  return 0;
}

}  // namespace fastserve
