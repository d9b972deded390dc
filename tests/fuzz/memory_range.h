// What holds of every range of shared memory that a codec accepted.
#pragma once

#include <cstdint>
#include <limits>

#include "base/check.h"
#include "protocol/infer_body.h"

namespace fastserve {

inline void CheckRange(const SharedMemoryRange& range) {
  FS_CHECK(range.is_set());
  FS_CHECK_OP(range.bytes, <=, std::numeric_limits<uint64_t>::max() - range.offset);
}

inline bool AreSame(const SharedMemoryRange& a, const SharedMemoryRange& b) {
  return a.region == b.region && a.offset == b.offset && a.bytes == b.bytes;
}

}  // namespace fastserve
