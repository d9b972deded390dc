// AppendTensorBytes: a tensor's bytes on their way out.
//
// Threads: none.
#pragma once

#include <cstddef>
#include <string_view>

#include "protocol/http2/http2_output.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace fastserve {

// Up to here a tensor is copied: one piece fewer to send.
inline constexpr size_t kCopiedTensorBytesMax = 16 << 10;

inline void AppendTensorBytes(const Tensor& tensor, const BufferRef& owner, Http2Output* output) {
  const std::string_view bytes(reinterpret_cast<const char*>(tensor.bytes.data()),
                               tensor.bytes.size());
  if (bytes.size() > kCopiedTensorBytesMax && owner) return output->Append(bytes, owner);
  output->Append(bytes);
}

}  // namespace fastserve
