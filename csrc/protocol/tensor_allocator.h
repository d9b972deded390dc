// TensorAllocator: where a codec asks for the memory of tensors that it has to build (JSON numbers,
// typed protobuf fields). The codec knows no pool; whoever calls it does.
#pragma once

#include <cstddef>
#include <span>

namespace fastserve {

class TensorAllocator {
 public:
  virtual ~TensorAllocator() = default;
  // `bytes` (at least 1) bytes aligned to 64, which live as long as the request; an empty span when
  // the memory limit is reached. The contents are undefined.
  virtual std::span<std::byte> Allocate(size_t bytes) = 0;
};

}  // namespace fastserve
