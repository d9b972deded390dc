// The host's twin of the row kernels: what every device's version must agree with, byte for byte.
#include <cstddef>
#include <cstring>

#include "kernels/rows.h"

namespace {

// A batch of scalars (one label, one score a request) copies a few bytes many times. With the size
// known to the compiler such a copy is two instructions instead of a call.
inline void Copy(std::byte* to, const std::byte* from, size_t bytes) {
  switch (bytes) {
    case 0:  // An empty source may have no address, which memcpy does not allow.
      return;
    case 1:
      std::memcpy(to, from, 1);
      return;
    case 2:
      std::memcpy(to, from, 2);
      return;
    case 4:
      std::memcpy(to, from, 4);
      return;
    case 8:
      std::memcpy(to, from, 8);
      return;
    case 16:
      std::memcpy(to, from, 16);
      return;
    default:
      std::memcpy(to, from, bytes);
  }
}

// Whether all rows together have a size in bytes. Checked before the first byte is written.
template <typename Block>
bool Fits(const Block* blocks, size_t count, size_t row_bytes) {
  size_t rows = 0;
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    if (__builtin_add_overflow(rows, blocks[i].rows, &rows)) return false;
  }
  return !__builtin_mul_overflow(rows, row_bytes, &bytes);
}

}  // namespace

int fs_gather_rows(const FsRowSource* sources, size_t count, void* out, size_t row_bytes, void*) {
  if (!Fits(sources, count, row_bytes)) return FS_ROWS_TOO_LARGE;
  std::byte* to = static_cast<std::byte*>(out);
  for (size_t i = 0; i < count; ++i) {
    const size_t bytes = sources[i].rows * row_bytes;
    Copy(to, static_cast<const std::byte*>(sources[i].data), bytes);
    to += bytes;
  }
  return 0;
}

int fs_scatter_rows(const void* in, const FsRowTarget* targets, size_t count, size_t row_bytes,
                    void*) {
  if (!Fits(targets, count, row_bytes)) return FS_ROWS_TOO_LARGE;
  const std::byte* from = static_cast<const std::byte*>(in);
  for (size_t i = 0; i < count; ++i) {
    const size_t bytes = targets[i].rows * row_bytes;
    Copy(static_cast<std::byte*>(targets[i].data), from, bytes);
    from += bytes;
  }
  return 0;
}
