// SealedSegment: memory that two processes share and whose size can never change.
//
// It has no name, so nothing is left of it when both are gone, however they went. And it is sealed:
// unlike an object in /dev/shm nobody can truncate it, so that no access to it ever faults.
//
//   Result<SealedSegment> segment = SealedSegment::Create(size_t{64} << 20);     // one side
//   ... segment->fd() goes to the other process (SCM_RIGHTS) ...
//   Result<SealedSegment> same = SealedSegment::Adopt(fd, bytes_max);            // the other side
//
// The other side may change the bytes at any moment: whoever decides by one of them copies it
// first.
//
// Invariants:
//   1. While this lives, bytes() are mapped, readable and writable.
//   2. The memory is there until the last process that maps it, or holds a descriptor, has gone.
// Threads: a value that moves; its bytes are anybody's who may see them.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "base/status.h"

namespace fastserve {

class SealedSegment {
 public:
  // `bytes` is rounded up to whole pages; all of them are zero. Errors: RESOURCE_EXHAUSTED when a
  // limit of descriptors or memory is reached; INVALID_ARGUMENT for no bytes.
  static Result<SealedSegment> Create(size_t bytes);

  // Takes over a descriptor that came from elsewhere. Errors: INVALID_ARGUMENT when it is none of a
  // segment that can neither shrink nor grow, or has no bytes or more than `bytes_max`;
  // RESOURCE_EXHAUSTED as above. The descriptor is closed then.
  static Result<SealedSegment> Adopt(int fd, size_t bytes_max);

  SealedSegment(SealedSegment&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), bytes_(std::exchange(other.bytes_, {})) {}
  SealedSegment& operator=(SealedSegment&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~SealedSegment();

  int fd() const { return fd_; }
  std::span<std::byte> bytes() const { return bytes_; }

 private:
  explicit SealedSegment(int fd) : fd_(fd) {}
  Status Map(size_t bytes);

  int fd_;
  std::span<std::byte> bytes_;
};

}  // namespace fastserve
