#include "tensor/tensor.h"

#include <cstring>

namespace fastserve {
namespace {

// The length prefix of a BYTES element at `bytes`, which has at least 4.
uint32_t ElementLength(std::span<const std::byte> bytes) {
  uint32_t length;
  std::memcpy(&length, bytes.data(), sizeof length);
  return length;
}

Status ValidateBytesElements(std::string_view name, const Tensor& tensor, int64_t elements) {
  std::span<const std::byte> rest = tensor.bytes;
  for (int64_t i = 0; i < elements; ++i) {
    if (rest.size() < sizeof(uint32_t)) {
      return InvalidArgument("tensor '", name, "': BYTES data ends at element ", i, " of ",
                             elements, " (each element is a 4-byte length and its bytes)");
    }
    const uint32_t length = ElementLength(rest);
    rest = rest.subspan(sizeof(uint32_t));
    if (rest.size() < length) {
      return InvalidArgument("tensor '", name, "': BYTES element ", i, " says ", length,
                             " bytes, but only ", rest.size(), " are left");
    }
    rest = rest.subspan(length);
  }
  if (!rest.empty()) {
    return InvalidArgument("tensor '", name, "': ", rest.size(), " bytes are left over after ",
                           elements, " BYTES elements of shape ", tensor.shape.ToString());
  }
  return {};
}

}  // namespace

Status ValidateTensor(std::string_view name, const Tensor& tensor) {
  FS_RETURN_IF_ERROR(
      ValidateTensorSize(name, tensor.type, tensor.shape, uint64_t{tensor.bytes.size()}));
  if (tensor.type != DataType::kBytes) return {};
  return ValidateBytesElements(name, tensor, tensor.shape.Elements().value_or(0));
}

Status ValidateTensorSize(std::string_view name, DataType type, const Shape& shape,
                          uint64_t bytes) {
  const std::optional<int64_t> elements = shape.Elements();
  if (!elements) {
    return InvalidArgument("tensor '", name, "': shape ", shape.ToString(),
                           " has a negative dimension or too many elements");
  }
  if (type == DataType::kBytes) return {};
  uint64_t expected;
  if (__builtin_mul_overflow(static_cast<uint64_t>(*elements), ElementBytes(type), &expected) ||
      expected != bytes) {
    return InvalidArgument("tensor '", name, "': expected ", *elements, " elements of ",
                           DataTypeName(type), " for shape ", shape.ToString(), ", ",
                           ElementBytes(type), " bytes each, but received ", bytes, " bytes");
  }
  return {};
}

std::vector<std::string_view> SplitBytesElements(const Tensor& tensor) {
  std::vector<std::string_view> elements;
  std::span<const std::byte> rest = tensor.bytes;
  while (rest.size() >= sizeof(uint32_t)) {
    const uint32_t length = ElementLength(rest);
    elements.emplace_back(reinterpret_cast<const char*>(rest.data()) + sizeof(uint32_t), length);
    rest = rest.subspan(sizeof(uint32_t) + length);
  }
  return elements;
}

size_t RowsBytes(const Tensor& tensor, int64_t rows) {
  const int64_t row_elements = tensor.shape.Row().Elements().value_or(0);
  const size_t elements = static_cast<size_t>(rows) * static_cast<size_t>(row_elements);
  if (tensor.type != DataType::kBytes) return elements * ElementBytes(tensor.type);
  size_t offset = 0;
  for (size_t i = 0; i < elements; ++i) {
    offset += sizeof(uint32_t) + ElementLength(tensor.bytes.subspan(offset));
  }
  return offset;
}

}  // namespace fastserve
