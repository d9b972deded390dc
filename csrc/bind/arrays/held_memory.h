// BufferRefs over memory that Python owns, or that was made for a value of Python's.
//
// Each holds what keeps the memory alive, and lets go of it with the GIL, whichever thread drops
// the last reference (deferred.h).
//
// Threads: make them with the GIL; copy and drop the references anywhere.
#pragma once

#include <Python.h>

#include <cstddef>
#include <span>

#include "tensor/buffer.h"

namespace fastserve::bind {

// `bytes`, which `object` keeps alive. Takes over the caller's reference to it.
BufferRef HoldObject(PyObject* object, std::span<const std::byte> bytes);

// The bytes of `view`, which is taken over.
BufferRef HoldView(const Py_buffer& view);

// The bytes of `inner`, whose own release may need the GIL (a DLPack tensor made by Python).
BufferRef HoldInner(BufferRef inner);

// Fresh memory, which needs no GIL to go.
BufferRef NewMemory(size_t bytes);

}  // namespace fastserve::bind
