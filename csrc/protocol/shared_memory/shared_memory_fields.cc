#include "protocol/shared_memory/shared_memory_fields.h"

namespace fastserve {

Status SharedMemoryFields::ToRange(const TensorLabel& label, std::string_view beside,
                                   SharedMemoryRange* out) const {
  if (!region || !bytes) {
    return InvalidArgument(label, ": parameter '",
                           region ? kSharedMemoryByteSize : kSharedMemoryRegion,
                           "' is missing: expected it beside '",
                           region   ? kSharedMemoryRegion
                           : offset ? kSharedMemoryOffset
                                    : kSharedMemoryByteSize,
                           "', or none of them");
  }
  if (region->empty()) {
    return InvalidArgument(label, ": parameter '", kSharedMemoryRegion,
                           "': expected the name of a registered region, received an empty one");
  }
  const SharedMemoryRange range{.region = *region, .offset = offset.value_or(0), .bytes = *bytes};
  uint64_t end;
  if (__builtin_add_overflow(range.offset, range.bytes, &end)) {
    return InvalidArgument(label, ": expected ", kSharedMemoryOffset, " and ",
                           kSharedMemoryByteSize, " within a region, received ", range.offset,
                           " and ", range.bytes, ", which are more than 64 bits together");
  }
  if (!beside.empty()) {
    return InvalidArgument(label, ": expected no '", beside, "' beside '", kSharedMemoryRegion,
                           "', received both");
  }
  *out = range;
  return {};
}

Status UnexpectedSharedMemory(const TensorLabel& label, std::string_view key) {
  return InvalidArgument(label, ": expected its bytes in the answer, received '", key,
                         "', although no output was asked for in shared memory");
}

}  // namespace fastserve
