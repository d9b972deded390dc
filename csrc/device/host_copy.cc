#include "device/host_copy.h"

#include "base/check.h"

namespace fastserve {
namespace {

// The bytes of all rows. An overflow is a programmer's error like a wrong sum: shapes from outside
// have been validated long before a batch is made of them.
template <typename Block>
size_t TotalBytes(std::span<const Block> blocks, size_t row_bytes) {
  size_t bytes = 0;
  for (const Block& block : blocks) {
    size_t block_bytes = 0;
    FS_CHECK(!__builtin_mul_overflow(block.rows, row_bytes, &block_bytes));
    FS_CHECK(!__builtin_add_overflow(bytes, block_bytes, &bytes));
  }
  return bytes;
}

Status FromLauncher(const char* launcher, int error) {
  if (error == 0) return {};
  return Internal(launcher, " failed with device error ", error);
}

}  // namespace

Status GatherRows(std::span<const RowSource> sources, size_t row_bytes, std::span<std::byte> out,
                  Stream stream) {
  FS_CHECK_OP(TotalBytes(sources, row_bytes), ==, out.size());
  return FromLauncher("fs_gather_rows", fs_gather_rows(sources.data(), sources.size(), out.data(),
                                                       row_bytes, stream.native));
}

Status ScatterRows(std::span<const std::byte> in, size_t row_bytes,
                   std::span<const RowTarget> targets, Stream stream) {
  FS_CHECK_OP(TotalBytes(targets, row_bytes), ==, in.size());
  return FromLauncher("fs_scatter_rows", fs_scatter_rows(in.data(), targets.data(), targets.size(),
                                                         row_bytes, stream.native));
}

}  // namespace fastserve
