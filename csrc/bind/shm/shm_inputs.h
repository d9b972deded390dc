// ShmInputs: a request's inputs as Python gives them: views to be written to, or values to be
// copied into the segment.
//
//   ShmInputs inputs(call, signature);
//   array = inputs.Allocate(numpy, "image", shape);   // np views of the call's block
//   inputs.Assign(numpy, "text", value);              // any value that ReadInput takes
//
// A value of the type, shape and size that the input has already goes to the same bytes, and the
// message need not be written anew. Otherwise it gets a block of its own, and whoever has a view of
// the one before keeps that.
//
// Threads: one at a time, with the GIL; of large values it is given up while they are copied.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "bind/arrays/numpy_arrays.h"
#include "bind/shm/shm_signature.h"
#include "channel/client/channel_call.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace fastserve::bind {

class ShmInputs {
 public:
  ShmInputs(std::shared_ptr<ChannelCall> call, std::shared_ptr<const ShmSignature> signature)
      : call_(std::move(call)),
        signature_(std::move(signature)),
        inputs_(signature_->inputs.size()) {}

  // The array of the input, a copy if it is BYTES; None if it has none yet. Throws.
  pybind11::object Get(const Numpy& numpy, std::string_view name) const;
  // Memory of that shape, not written to. Throws.
  pybind11::object Allocate(const Numpy& numpy, std::string_view name, const Shape& shape);
  // Errors: INVALID_ARGUMENT; those of ChannelCall::AddInput; an exception that is set (raising.h).
  // `is_given_up`: nobody waits for the request, so that it may be under way.
  Status Assign(const Numpy& numpy, std::string_view name, PyObject* value, bool is_given_up);

 private:
  struct Input {
    Tensor tensor;
    BufferRef owner;  // Empty: there is none yet.
  };
  // Where the bytes of `tensor` go.
  Result<std::span<std::byte>> Place(size_t index, const Tensor& tensor, bool is_given_up);

  const std::shared_ptr<ChannelCall> call_;
  const std::shared_ptr<const ShmSignature> signature_;
  std::vector<Input> inputs_;  // As the signature's.
};

}  // namespace fastserve::bind
