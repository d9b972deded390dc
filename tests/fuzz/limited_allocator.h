// LimitedAllocator: what a codec under fuzzing may have of memory: a megabyte, each piece of
// exactly the size that was asked for.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "base/check.h"
#include "protocol/tensor_allocator.h"

namespace fastserve {

class LimitedAllocator : public TensorAllocator {
 public:
  std::span<std::byte> Allocate(size_t bytes) override {
    FS_CHECK_OP(bytes, >, size_t{0});
    if (bytes > left_) return {};
    left_ -= bytes;
    // Of exactly this size but for the alignment, which AddressSanitizer keeps by itself.
    memory_.emplace_back(static_cast<std::byte*>(::operator new(bytes, std::align_val_t(64))));
    return {memory_.back().get(), bytes};
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { ::operator delete(bytes, std::align_val_t(64)); }
  };
  size_t left_ = 1 << 20;
  std::vector<std::unique_ptr<std::byte, Free>> memory_;
};

}  // namespace fastserve
