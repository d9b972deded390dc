// TensorArena: memory for the tensors that a codec has to build, as long as one request lives.
//
// Small tensors share a slab; one that does not fit gets a slab of its own.
//
// Threads: none; but references to the owners may be dropped on any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "memory/slab_pool.h"
#include "protocol/tensor_allocator.h"

namespace fastserve {

class TensorArena final : public TensorAllocator {
 public:
  explicit TensorArena(std::shared_ptr<SlabPool> pool) : pool_(std::move(pool)) {}

  std::span<std::byte> Allocate(size_t bytes) override {
    const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (rounded < bytes) return {};
    if (slabs_.empty() || rounded > slabs_.back()->size() - used_) {
      BufferRef slab = pool_->Acquire(rounded);
      if (!slab) return {};
      slabs_.push_back(std::move(slab));
      used_ = 0;
    }
    const std::span<std::byte> memory = slabs_.back()->bytes().subspan(used_, bytes);
    used_ += rounded;
    return memory;
  }

  // The slab that holds these bytes; null when none does.
  BufferRef OwnerOf(std::span<const std::byte> bytes) const {
    for (const BufferRef& slab : slabs_) {
      const std::byte* begin = slab->data();
      if (bytes.data() >= begin && bytes.data() < begin + slab->size()) return slab;
    }
    return {};
  }

  void Clear() { slabs_.clear(); }

 private:
  static constexpr size_t kAlignment = SlabPool::kAlignment;

  const std::shared_ptr<SlabPool> pool_;
  std::vector<BufferRef> slabs_;
  size_t used_ = 0;  // Of the last slab.
};

}  // namespace fastserve
