#include "protocol/compression/inflater.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace fastserve {
namespace {

constexpr int kGzipBits = 16 + MAX_WBITS;
constexpr int kZlibBits = MAX_WBITS;
// Nothing that deflate writes grows by more.
constexpr size_t kRatioMax = 1032;
// A header of ten bytes, a block, and the trailer.
constexpr size_t kGzipBytesMin = 18;

// zlib counts in unsigned int.
uInt Limited(size_t bytes) {
  return static_cast<uInt>(std::min<size_t>(bytes, std::numeric_limits<uInt>::max()));
}

}  // namespace

struct Inflater::Stream {
  z_stream z{};
};

Inflater::Inflater(ContentCoding coding, std::span<const std::byte> input)
    : coding_(coding), input_(input), all_(input), stream_(std::make_unique<Stream>()) {
  FS_CHECK(coding != ContentCoding::kIdentity);
  const int bits = coding == ContentCoding::kGzip ? kGzipBits : kZlibBits;
  if (inflateInit2(&stream_->z, bits) != Z_OK) state_ = State::kFailed;
}

Inflater::~Inflater() { inflateEnd(&stream_->z); }

std::optional<size_t> Inflater::claimed_bytes() const {
  if (coding_ != ContentCoding::kGzip || all_.size() < kGzipBytesMin) return std::nullopt;
  size_t claimed = 0;
  const auto last = all_.last<4>();
  for (size_t i = 4; i > 0; --i) claimed = claimed << 8 | static_cast<uint8_t>(last[i - 1]);
  return claimed <= all_.size() * kRatioMax ? std::optional(claimed) : std::nullopt;
}

Result<size_t> Inflater::Read(std::span<std::byte> room) {
  FS_CHECK(!room.empty());
  if (state_ == State::kFailed) return Unavailable("no memory to decompress, try again later");
  size_t filled = 0;
  while (state_ == State::kReading && filled < room.size()) {
    const uInt free = Limited(room.size() - filled);
    stream_->z.next_out = reinterpret_cast<Bytef*>(room.data() + filled);
    stream_->z.avail_out = free;
    if (Status status = Step(); !status.ok()) return status;
    filled += free - stream_->z.avail_out;
  }
  return filled;
}

Status Inflater::Step() {
  if (stream_->z.avail_in == 0) {
    // zlib does not write to its input; its interface is older than const.
    stream_->z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(input_.data()));
    stream_->z.avail_in = Limited(input_.size());
    input_ = input_.subspan(stream_->z.avail_in);
  }
  switch (inflate(&stream_->z, Z_NO_FLUSH)) {
    case Z_STREAM_END:
      return EndMember();
    case Z_OK:
      return {};
    case Z_BUF_ERROR:  // There is room, so it lacks input.
      if (!input_.empty()) return {};
      return Fail(InvalidArgument("the ", NameOf(coding_), " data ends too soon"));
    case Z_MEM_ERROR:
      return Fail(Unavailable("no memory to decompress, try again later"));
    default:
      return Fail(InvalidArgument("the body is no ", NameOf(coding_), " data",
                                  stream_->z.msg != nullptr ? ": " : "",
                                  stream_->z.msg != nullptr ? stream_->z.msg : ""));
  }
}

Status Inflater::EndMember() {
  if (stream_->z.avail_in == 0 && input_.empty()) {
    state_ = State::kEnded;
    return {};
  }
  if (coding_ != ContentCoding::kGzip || inflateReset(&stream_->z) != Z_OK) {
    return Fail(InvalidArgument("bytes follow the end of the ", NameOf(coding_), " data"));
  }
  return {};
}

Status Inflater::Fail(Status status) {
  state_ = State::kEnded;
  return status;
}

}  // namespace fastserve
