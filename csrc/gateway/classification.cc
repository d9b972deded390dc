#include "gateway/classification.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <vector>

#include "base/check.h"

namespace fastserve {
namespace {

// Tensors of an engine may lie anywhere.
template <typename T>
T At(std::span<const std::byte> bytes, size_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
bool IsLarger(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(b)) return !std::isnan(a);
  }
  return a > b;
}

void AppendElement(std::string_view text, std::string* bytes) {
  const auto length = static_cast<uint32_t>(text.size());
  for (int shift = 0; shift < 32; shift += 8) bytes->push_back(static_cast<char>(length >> shift));
  bytes->append(text);
}

template <typename T>
void AppendClass(T value, size_t index, std::span<const std::string> labels, std::string* bytes) {
  std::array<char, 64> digits;
  char* const end = digits.data() + digits.size();
  char* at = std::to_chars(digits.data(), end, value).ptr;
  *at++ = ':';
  at = std::to_chars(at, end, index).ptr;
  std::string text(digits.data(), at);
  if (index < labels.size()) text.append(":").append(labels[index]);
  AppendElement(text, bytes);
}

template <typename T>
void AppendRow(std::span<const std::byte> row, size_t k, std::span<const std::string> labels,
               std::string* bytes) {
  std::vector<size_t> order(row.size() / sizeof(T));
  std::iota(order.begin(), order.end(), size_t{0});
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(k);
  std::partial_sort(order.begin(), middle, order.end(), [row](size_t a, size_t b) {
    const T left = At<T>(row, a), right = At<T>(row, b);
    return IsLarger(left, right) || (!IsLarger(right, left) && a < b);
  });
  for (size_t i = 0; i < k; ++i) AppendClass(At<T>(row, order[i]), order[i], labels, bytes);
}

using RowFunction = void (*)(std::span<const std::byte>, size_t, std::span<const std::string>,
                             std::string*);

// Null for types whose values have no order, or none that this machine knows.
RowFunction RowFunctionOf(DataType type) {
  switch (type) {
    case DataType::kUint8:
      return AppendRow<uint8_t>;
    case DataType::kUint16:
      return AppendRow<uint16_t>;
    case DataType::kUint32:
      return AppendRow<uint32_t>;
    case DataType::kUint64:
      return AppendRow<uint64_t>;
    case DataType::kInt8:
      return AppendRow<int8_t>;
    case DataType::kInt16:
      return AppendRow<int16_t>;
    case DataType::kInt32:
      return AppendRow<int32_t>;
    case DataType::kInt64:
      return AppendRow<int64_t>;
    case DataType::kFp32:
      return AppendRow<float>;
    case DataType::kFp64:
      return AppendRow<double>;
    case DataType::kBool:
    case DataType::kFp16:
    case DataType::kBf16:
    case DataType::kBytes:
      return nullptr;
  }
  return nullptr;
}

}  // namespace

Status CheckClassifiable(std::string_view name, DataType type) {
  if (RowFunctionOf(type) != nullptr) return {};
  return InvalidArgument("output '", name, "': classification needs integers, FP32 or FP64, and ",
                         "this is ", DataTypeName(type), "; ask for the tensor itself");
}

Classes Classify(const Tensor& tensor, bool has_batch_dimension, uint32_t k,
                 std::span<const std::string> labels) {
  const RowFunction append_row = RowFunctionOf(tensor.type);
  FS_CHECK(append_row != nullptr);
  const Shape row = has_batch_dimension ? tensor.shape.Row() : tensor.shape;
  const auto values = static_cast<size_t>(row.Elements().value_or(0));
  const size_t chosen = std::min<size_t>(k, values);
  const size_t row_bytes = values * ElementBytes(tensor.type);
  Classes classes;
  if (has_batch_dimension) classes.shape = Shape({tensor.rows()});
  FS_CHECK(classes.shape.Append(static_cast<int64_t>(chosen)));
  for (size_t at = 0; row_bytes > 0 && at < tensor.bytes.size(); at += row_bytes) {
    append_row(tensor.bytes.subspan(at, row_bytes), chosen, labels, &classes.bytes);
  }
  return classes;
}

}  // namespace fastserve
