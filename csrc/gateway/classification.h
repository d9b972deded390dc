// Classification: instead of an output the k largest of its values, each as "value:index" or
// "value:index:label".
//
// Source: Triton's classification extension. Values are written so that they read back as they are,
// where Triton writes six decimals.
// Threads: pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tensor/tensor.h"

namespace fastserve {

// Whether an output of that type has values that can be ranked. Errors: INVALID_ARGUMENT that names
// `name`.
Status CheckClassifiable(std::string_view name, DataType type);

struct Classes {
  Shape shape;        // [rows, k] of a batch, else [k].
  std::string bytes;  // A BYTES tensor's.
};

// The classes of each row of a batch, or of the whole `tensor`, which is classifiable: largest
// first, of equals the first one, NaN last. At most as many as a row has values. Labels go by
// index; those behind them have none.
Classes Classify(const Tensor& tensor, bool has_batch_dimension, uint32_t k,
                 std::span<const std::string> labels);

}  // namespace fastserve
