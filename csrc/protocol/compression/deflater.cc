#include "protocol/compression/deflater.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace fastserve {
namespace {

constexpr int kGzipBits = 16 + MAX_WBITS;
constexpr int kZlibBits = MAX_WBITS;
constexpr int kMemoryLevel = 8;  // zlib's default.
// The fastest: it runs on the event loop, and other connections wait.
constexpr int kLevel = Z_BEST_SPEED;
constexpr size_t kStepBytes = 64 << 10;

}  // namespace

struct Deflater::Stream {
  z_stream z{};
  bool is_good;

  explicit Stream(int bits)
      : is_good(deflateInit2(&z, kLevel, Z_DEFLATED, bits, kMemoryLevel, Z_DEFAULT_STRATEGY) ==
                Z_OK) {}
  ~Stream() { deflateEnd(&z); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
};

Deflater::Deflater() = default;
Deflater::~Deflater() = default;

Deflater::Stream* Deflater::StreamOf(ContentCoding coding) {
  FS_CHECK(coding != ContentCoding::kIdentity);
  std::unique_ptr<Stream>& stream = streams_[static_cast<size_t>(coding)];
  if (!stream) {
    stream = std::make_unique<Stream>(coding == ContentCoding::kGzip ? kGzipBits : kZlibBits);
    if (!stream->is_good) stream.reset();
  } else {
    deflateReset(&stream->z);
  }
  return stream.get();
}

Status Deflater::Compress(ContentCoding coding, std::span<const std::string_view> parts,
                          ByteWriter* out) {
  Stream* const stream = StreamOf(coding);
  if (stream == nullptr) return Unavailable("no memory to compress, try again later");
  z_stream& z = stream->z;
  size_t part = 0;
  std::string_view rest = parts.empty() ? std::string_view() : parts[0];
  int result = Z_OK;
  while (result != Z_STREAM_END) {
    while (rest.empty() && part + 1 < parts.size()) rest = parts[++part];
    const auto given =
        static_cast<uInt>(std::min<size_t>(rest.size(), std::numeric_limits<uInt>::max()));
    // zlib does not write to its input; its interface is older than const.
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(rest.data()));
    z.avail_in = given;
    z.next_out = reinterpret_cast<Bytef*>(out->Reserve(kStepBytes));
    z.avail_out = kStepBytes;
    const bool is_last = part + 1 >= parts.size() && given == rest.size();
    result = deflate(&z, is_last ? Z_FINISH : Z_NO_FLUSH);
    FS_CHECK(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR);
    out->Advance(kStepBytes - z.avail_out);
    rest.remove_prefix(given - z.avail_in);
  }
  return {};
}

}  // namespace fastserve
