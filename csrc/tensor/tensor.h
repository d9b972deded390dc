// Tensor: a typed view of bytes that somebody else owns; TensorSpec: what a model says of one.
//
// A Tensor never owns. Whoever hands one over hands over (or outlives) the BufferRef behind it.
// Layout: row-major, little-endian, no padding. BYTES tensors hold length-prefixed elements
// (data_type.h), so their size in bytes is not a function of their shape.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/data_type.h"
#include "tensor/shape.h"

namespace fastserve {

struct Tensor {
  DataType type = DataType::kFp32;
  Shape shape;
  std::span<const std::byte> bytes;

  // Rows of a tensor whose first dimension is the batch; 0 for a scalar.
  int64_t rows() const { return shape.rank() == 0 ? 0 : shape[0]; }
};

// Checks that `bytes` holds exactly the elements that type and shape call for, walking BYTES
// elements.
//
// Errors: INVALID_ARGUMENT that names `name`, the expected and the received number of bytes.
Status ValidateTensor(std::string_view name, const Tensor& tensor);

// The part of it that needs no bytes, for a tensor whose bytes are not at hand: that `bytes` is
// their number. BYTES tensors have any.
Status ValidateTensorSize(std::string_view name, DataType type, const Shape& shape, uint64_t bytes);

// Splits a BYTES tensor into its elements. `tensor` has been validated.
std::vector<std::string_view> SplitBytesElements(const Tensor& tensor);

// Bytes taken by the first `rows` rows of a validated tensor; for BYTES this walks the elements.
size_t RowsBytes(const Tensor& tensor, int64_t rows);

// A tensor that a model takes or gives: -1 in the shape means any length. With a batching model the
// first dimension of the shape is the batch (-1).
struct TensorSpec {
  std::string name;
  DataType type = DataType::kFp32;
  Shape shape;
  // The names a model gives to its dynamic dimensions ("batch"), one per axis; empty where unnamed.
  std::vector<std::string> dim_names;
  // An input that a request may leave out.
  bool optional = false;
  // Of an output: the names of its values, by index, as far as they have some.
  std::vector<std::string> labels;
};

}  // namespace fastserve
