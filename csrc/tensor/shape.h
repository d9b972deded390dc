// Shape: the dimensions of a tensor, stored inline so that a request allocates nothing for them.
//
// Dimensions are int64, row-major order. In a specification (TensorSpec) -1 means "any length"; in
// a tensor every dimension is at least 0. Rank 0 is a scalar and holds one element.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>

#include "base/check.h"

namespace fastserve {

class Shape {
 public:
  // numpy allows 64, ONNX models in the wild stay below 8; a limit keeps a Shape on the stack.
  static constexpr size_t kMaxRank = 12;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  // `dims` has at most kMaxRank entries.
  explicit Shape(std::span<const int64_t> dims) {
    FS_CHECK_OP(dims.size(), <=, kMaxRank);
    for (int64_t dim : dims) dims_[rank_++] = dim;
  }

  size_t rank() const { return rank_; }
  int64_t operator[](size_t axis) const { return dims_[axis]; }
  std::span<const int64_t> dims() const { return {dims_.data(), rank_}; }

  // False, and nothing changes, when the rank is kMaxRank already.
  [[nodiscard]] bool Append(int64_t dim) {
    if (rank_ == kMaxRank) return false;
    dims_[rank_++] = dim;
    return true;
  }
  void Set(size_t axis, int64_t dim) { dims_[axis] = dim; }

  // The shape without its first dimension: what one row of a batch looks like.
  Shape Row() const { return rank_ == 0 ? Shape() : Shape(dims().subspan(1)); }

  // The product of the dimensions (1 for a scalar); nothing when one is negative or the product
  // does not fit in an int64.
  std::optional<int64_t> Elements() const;

  // Whether a tensor of this shape fits `spec`, in which -1 matches any length.
  bool Matches(const Shape& spec) const;

  // "[2,3]"; -1 for dimensions that may have any length.
  std::string ToString() const;

  friend bool operator==(const Shape& a, const Shape& b);

 private:
  std::array<int64_t, kMaxRank> dims_{};
  size_t rank_ = 0;
};

}  // namespace fastserve
