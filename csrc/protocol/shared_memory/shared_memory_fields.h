// SharedMemoryFields: the parameters of one tensor that say where in shared memory it is, collected
// in whatever order they come and then made a SharedMemoryRange.
//
//   SharedMemoryFields fields;
//   if (SharedMemoryFields::IsKey(key)) ...   // of each parameter: sets fields.region and so on
//   if (fields.any()) {
//     FS_RETURN_IF_ERROR(fields.ToRange(label, has_data ? "data" : "", &input.memory));
//   }
//
// Both codecs take the rules from here, each reads the values itself.
//
// Source: Triton's extension "shared memory".
// Threads: a value; the region is a view of what it was read from.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "protocol/infer_body.h"

namespace fastserve {

// As requests have them, and answers.
inline constexpr std::string_view kSharedMemoryRegion = "shared_memory_region";
inline constexpr std::string_view kSharedMemoryOffset = "shared_memory_offset";
inline constexpr std::string_view kSharedMemoryByteSize = "shared_memory_byte_size";

struct SharedMemoryFields {
  std::optional<std::string_view> region = {};
  std::optional<uint64_t> offset = {};  // 0 when it is not said.
  std::optional<uint64_t> bytes = {};

  static bool IsKey(std::string_view key) {
    return key == kSharedMemoryRegion || key == kSharedMemoryOffset || key == kSharedMemoryByteSize;
  }
  bool any() const { return region || offset || bytes; }

  // The range, of which at least one field was said. `beside` names what a tensor in shared memory
  // cannot have and this one has, "" when there is nothing.
  //
  // Errors: INVALID_ARGUMENT that names the tensor: what is missing, an empty region, a range that
  // ends beyond 2^64 - 1, and `beside`.
  Status ToRange(const TensorLabel& label, std::string_view beside, SharedMemoryRange* out) const;
};

// An answer says that an output is in shared memory. Errors: INVALID_ARGUMENT, always.
Status UnexpectedSharedMemory(const TensorLabel& label, std::string_view key);

}  // namespace fastserve
