// What came over a channel, as Python's values: numpy arrays that are views of the segment.
//
// Each array holds what keeps its bytes; the block goes back with the last of them. BYTES are
// copied first, since whoever shares the memory could change lengths while they are read.
//
// Threads: with the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include "bind/arrays/numpy_arrays.h"
#include "channel/client/channel_response.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace fastserve::bind {

// A writable array over bytes of the segment, which `owner` keeps; of BYTES a copy. Throws.
pybind11::object ArrayOf(const Numpy& numpy, std::string_view name, Tensor tensor, BufferRef owner);

// (model, version, id, {output: array}). Throws.
pybind11::tuple AnswerOf(const Numpy& numpy, ChannelResponse response);

}  // namespace fastserve::bind
