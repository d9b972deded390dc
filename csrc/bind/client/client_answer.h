// What came over a client's connection, as Python's values; what is to be sent, as its buffers.
//
// Threads: with the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <functional>
#include <span>

#include "protocol/http2/http2_output.h"
#include "protocol/infer_body.h"
#include "tensor/buffer.h"

namespace fastserve::bind {

using OwnerOf = std::function<BufferRef(std::span<const std::byte>)>;

// (model, version, id, {output: array}, {parameter: value}). Arrays are views of what was received
// where that is aligned, and writable.
pybind11::tuple AnswerOf(const InferBody& answer, const OwnerOf& owner_of);

// Takes what is to be sent: a list of objects with the buffer protocol, which keep their memory.
pybind11::list TakeParts(Http2Output* output);

}  // namespace fastserve::bind
