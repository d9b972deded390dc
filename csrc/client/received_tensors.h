// ReceivedTensors: the tensors of an answer, and who keeps each one's bytes alive.
//
// Threads: none.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "memory/slab_pool.h"
#include "protocol/infer_body.h"
#include "protocol/tensor_allocator.h"
#include "tensor/buffer.h"

namespace fastserve {

class ReceivedTensors final : public TensorAllocator {
 public:
  explicit ReceivedTensors(SlabPool& pool) : pool_(pool) {}

  // What was received, in which most tensors lie.
  void SetMessage(BufferRef message) {
    built_.clear();
    message_ = std::move(message);
  }

  // For those that have to be built out of text.
  std::span<std::byte> Allocate(size_t bytes) override {
    BufferRef slab = pool_.Acquire(bytes);
    if (!slab) return {};
    built_.push_back(slab);
    return slab->bytes().first(bytes);
  }

  // Who keeps these bytes of the answer alive.
  BufferRef OwnerOf(std::span<const std::byte> bytes) const {
    for (const BufferRef& slab : built_) {
      const std::span<std::byte> all = slab->bytes();
      if (bytes.data() >= all.data() && bytes.data() < all.data() + all.size()) return slab;
    }
    return message_;
  }

 private:
  SlabPool& pool_;
  BufferRef message_;
  std::vector<BufferRef> built_;
};

}  // namespace fastserve
