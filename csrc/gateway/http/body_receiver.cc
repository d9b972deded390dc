#include "gateway/http/body_receiver.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "protocol/compression/inflater.h"

namespace fastserve {
namespace {

// A chunked body begins with this much room; it doubles.
constexpr size_t kFirstRoomBytes = 16 << 10;

// So that the bytes behind the JSON part begin on a line. JSON that is longer than the body is
// refused by the codec; here it must only do no harm.
size_t StartFor(std::optional<uint64_t> json_bytes) {
  constexpr size_t kLine = SlabPool::kAlignment;
  return json_bytes ? (kLine - *json_bytes % kLine) % kLine : 0;
}

}  // namespace

BodyReceiver::BodyReceiver(std::shared_ptr<Admission> admission, std::shared_ptr<SlabPool> pool)
    : admission_(std::move(admission)), pool_(std::move(pool)) {}

BodyReceiver::BodyReceiver(BodyReceiver&& other) noexcept
    : BodyReceiver(other.admission_, other.pool_) {  // Which the other keeps: it is used again.
  *this = std::move(other);
}

BodyReceiver& BodyReceiver::operator=(BodyReceiver&& other) noexcept {
  std::swap(admission_, other.admission_);
  std::swap(pool_, other.pool_);
  std::swap(slab_, other.slab_);
  std::swap(start_, other.start_);
  std::swap(length_, other.length_);
  std::swap(received_, other.received_);
  std::swap(reserved_, other.reserved_);
  return *this;
}

Status BodyReceiver::Start(uint64_t length, std::optional<uint64_t> json_bytes) {
  Reset();
  if (length == 0) return {};
  FS_RETURN_IF_ERROR(admission_->Reserve(length));
  reserved_ = length;
  start_ = StartFor(json_bytes);
  slab_ = pool_->Acquire(start_ + length);
  if (!slab_) return Unavailable("no memory for a body of ", length, " bytes, try again later");
  length_ = length;
  return {};
}

std::span<std::byte> BodyReceiver::Tail() const {
  if (complete()) return {};
  return slab_->bytes().subspan(start_ + received_, length_ - received_);
}

void BodyReceiver::Received(size_t bytes) {
  FS_CHECK_OP(bytes, <=, length_ - received_);
  received_ += bytes;
}

void BodyReceiver::StartChunked(std::optional<uint64_t> json_bytes) {
  Reset();
  start_ = StartFor(json_bytes);
}

Status BodyReceiver::Append(std::string_view data) {
  if (data.empty()) return {};
  if (data.size() > length_ - received_) {
    FS_RETURN_IF_ERROR(Grow(received_ + data.size()));
  }
  std::memcpy(slab_->data() + start_ + received_, data.data(), data.size());
  received_ += data.size();
  return {};
}

Status BodyReceiver::Decompress(ContentCoding coding, std::optional<uint64_t> json_bytes) {
  if (coding == ContentCoding::kIdentity || received_ == 0) return {};
  BodyReceiver compressed(std::move(*this));
  StartChunked(json_bytes);
  Inflater inflater(coding, compressed.bytes());
  Status status = Inflate(inflater);
  if (!status.ok()) Reset();
  return status;
}

// Straight into the slab. A length that is claimed is room at once; that it is true is seen.
Status BodyReceiver::Inflate(Inflater& inflater) {
  const size_t claimed = inflater.claimed_bytes().value_or(0);
  if (claimed > 0) FS_RETURN_IF_ERROR(Grow(claimed));
  while (true) {
    // Where there is no room left, a byte on the side tells whether that was the end.
    std::byte next{};
    const std::span<std::byte> room = Tail();
    Result<size_t> read = inflater.Read(room.empty() ? std::span(&next, 1) : room);
    if (!read.ok()) return std::move(read).status();
    if (room.empty() && *read == 1) {
      FS_RETURN_IF_ERROR(Grow(received_ + 1));
      Tail()[0] = next;
    }
    received_ += *read;
    if (*read < room.size() || *read == 0) break;
  }
  FinishChunked();
  return {};
}

Status BodyReceiver::Grow(size_t needed) {
  const size_t bytes_max = admission_->options().body_bytes_max;
  if (needed > bytes_max) return admission_->Reserve(needed);  // Says how much is accepted.
  const size_t length = std::min(std::max({needed, 2 * length_, kFirstRoomBytes}), bytes_max);
  FS_RETURN_IF_ERROR(admission_->Reserve(length - reserved_));
  reserved_ = length;
  BufferRef larger = pool_->Acquire(start_ + length);
  if (!larger) return Unavailable("no memory for a body of ", length, " bytes, try again later");
  if (received_ > 0) std::memcpy(larger->data() + start_, slab_->data() + start_, received_);
  slab_ = std::move(larger);
  length_ = length;
  return {};
}

std::span<const std::byte> BodyReceiver::bytes() const {
  if (!slab_) return {};
  return slab_->bytes().subspan(start_, received_);
}

void BodyReceiver::Reset() {
  slab_ = BufferRef();
  if (reserved_ > 0) admission_->Release(reserved_);
  start_ = length_ = received_ = reserved_ = 0;
}

}  // namespace fastserve
