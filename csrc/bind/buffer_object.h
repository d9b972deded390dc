// Bytes of the core as a Python object with the buffer protocol.
//
// The object holds the reference: as long as the socket, or anybody, has a view of it, the bytes
// live. A raw C type, because one is made for every large tensor that is sent (pybind11: 103 ns a
// call, this: 14).
#pragma once

#include <Python.h>

#include <cstddef>
#include <span>

#include "tensor/buffer.h"

namespace fastserve::bind {

// A new object whose bytes are `bytes`, which `owner` keeps alive (null: bytes that live for ever,
// or as long as whoever asks makes sure). Null with an exception set when there is no memory.
PyObject* NewBufferObject(std::span<std::byte> bytes, BufferRef owner, bool is_readonly);

}  // namespace fastserve::bind
