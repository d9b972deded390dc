// Deflater: bytes compressed. Keeps what zlib needs for that (some 270 KB for each coding that was
// asked for) from one body to the next.
//
// Threads: none; belongs to one thread.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "protocol/byte_writer.h"
#include "protocol/compression/content_coding.h"

namespace fastserve {

class Deflater {
 public:
  Deflater();
  ~Deflater();

  // Appends the parts, one behind the other, to `out`. Not for kIdentity. Errors: UNAVAILABLE
  // without memory for zlib; for `out` it is std::bad_alloc. Then what `out` has is of no use.
  Status Compress(ContentCoding coding, std::span<const std::string_view> parts, ByteWriter* out);

 private:
  struct Stream;

  Stream* StreamOf(ContentCoding coding);

  std::array<std::unique_ptr<Stream>, 3> streams_;  // By coding; when first asked for.
};

}  // namespace fastserve
