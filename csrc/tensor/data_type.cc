#include "tensor/data_type.h"

#include <array>

namespace fastserve {
namespace {

constexpr std::array<std::string_view, kDataTypeCount> kNames = {
    "BOOL",  "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16",
    "INT32", "INT64", "FP16",   "FP32",   "FP64",   "BF16", "BYTES",
};

}  // namespace

std::string_view DataTypeName(DataType type) { return kNames[static_cast<size_t>(type)]; }

std::optional<DataType> ParseDataType(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<DataType>(i);
  }
  return std::nullopt;
}

}  // namespace fastserve
