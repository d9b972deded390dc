// InferTensorContents: a tensor's elements as fields of protobuf, one for each kind of element.
//
// Threads: none.
#pragma once

#include <span>
#include <string_view>

#include "base/status.h"
#include "protocol/tensor_allocator.h"
#include "tensor/tensor.h"

namespace fastserve {

// Reads what `contents` (encoded messages, one after another) hold into memory of `allocator`, for
// the type and shape of `tensor`, and sets its bytes.
//
// Errors: INVALID_ARGUMENT naming `name`: contents of another type, too few or too many elements,
// or one that the type cannot hold; RESOURCE_EXHAUSTED without memory.
// Throws protozero::exception for what is no protobuf.
Status ReadTypedContents(std::string_view name, std::span<const std::string_view> contents,
                         TensorAllocator& allocator, Tensor* tensor);

}  // namespace fastserve
