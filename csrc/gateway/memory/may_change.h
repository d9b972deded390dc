// Whether an engine may read a tensor's elements where somebody else can change them.
//
// Threads: pure.
#pragma once

#include "tensor/data_type.h"

namespace fastserve {

// Whether nothing but arithmetic depends on the elements. Integers may be indices (whose bounds an
// engine checks once and which it reads again), counts or conditions, and strings have lengths.
constexpr bool MayChangeWhileRead(DataType type) {
  switch (type) {
    case DataType::kFp16:
    case DataType::kBf16:
    case DataType::kFp32:
    case DataType::kFp64:
    case DataType::kUint8:  // Pixels; engines index with 32 bits and more.
    case DataType::kInt8:
      return true;
    default:
      return false;
  }
}

}  // namespace fastserve
