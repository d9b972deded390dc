// Batch assembly: rows of many requests into one batch, and back.
//
// The only door to kernels/. Today there is the host alone; with a device the same calls go to its
// launchers, chosen by the Stream, and nothing above this floor changes.
#pragma once

#include <cstddef>
#include <span>

#include "base/status.h"
#include "kernels/rows.h"

namespace fastserve {

// Consecutive rows of one tensor: {address, number of rows}.
using RowSource = FsRowSource;
using RowTarget = FsRowTarget;

// Where work is queued. The host's stream has no queue: its calls return when the work is done. A
// device's stream carries the device's own handle, and its calls return early; then the memory must
// stay until an event recorded after the call has come.
struct Stream {
  void* native = nullptr;
};
inline constexpr Stream kHostStream{};

// Copies the rows of each source, in order, back to back into `out`.
//
// Shapes:  rows of `row_bytes` bytes; out.size() is exactly that of all rows (checked: a batch with
//          bytes that nobody wrote would show one client another's data). Elements of varying
//          length are rows of one byte.
// Errors:  INTERNAL when the device refuses. Never on the host.
// Threads: any; `out` must be private to the caller and overlap no source.
Status GatherRows(std::span<const RowSource> sources, size_t row_bytes, std::span<std::byte> out,
                  Stream stream = kHostStream);

// The other way: hands the rows of `in` out to the targets, in order. The same rules hold.
Status ScatterRows(std::span<const std::byte> in, size_t row_bytes,
                   std::span<const RowTarget> targets, Stream stream = kHostStream);

}  // namespace fastserve
