// OutputPart: a piece of what is sent.
//
// Threads: a value.
#pragma once

#include <string_view>

#include "tensor/buffer.h"

namespace fastserve {

// Without an owner the bytes are good during the call only.
struct OutputPart {
  std::string_view bytes;
  BufferRef owner;
};

}  // namespace fastserve
