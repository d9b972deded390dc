#include "tensor/shape.h"

#include <algorithm>

namespace fastserve {

std::optional<int64_t> Shape::Elements() const {
  // Zero anywhere makes the product zero, even beside a length that alone would overflow.
  int64_t product = 1;
  bool has_zero = false;
  bool overflows = false;
  for (int64_t dim : dims()) {
    if (dim < 0) return std::nullopt;
    if (dim == 0) {
      has_zero = true;
    } else if (__builtin_mul_overflow(product, dim, &product)) {
      overflows = true;
      product = 1;
    }
  }
  if (has_zero) return 0;
  if (overflows) return std::nullopt;
  return product;
}

bool Shape::Matches(const Shape& spec) const {
  if (rank_ != spec.rank_) return false;
  for (size_t axis = 0; axis < rank_; ++axis) {
    if (spec[axis] >= 0 && spec[axis] != dims_[axis]) return false;
  }
  return true;
}

std::string Shape::ToString() const {
  std::string text = "[";
  for (size_t axis = 0; axis < rank_; ++axis) {
    if (axis > 0) text += ',';
    text += std::to_string(dims_[axis]);
  }
  return text += ']';
}

bool operator==(const Shape& a, const Shape& b) { return std::ranges::equal(a.dims(), b.dims()); }

}  // namespace fastserve
