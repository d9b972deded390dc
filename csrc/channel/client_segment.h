// ClientSegment: a client's side of the memory that it shares with its server: the blocks that it
// hands out, and those of the server that it was lent.
//
// Blocks are Buffers: the last reference gives them back, on whatever thread, also after the
// channel is closed. The memory stays mapped until the last of them is gone.
//
// Threads: all from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/annotations.h"
#include "base/status.h"
#include "channel/channel_layout.h"
#include "memory/buddy_heap.h"
#include "memory/sealed_segment.h"
#include "tensor/buffer.h"

namespace fastserve {

class ClientSegment : public std::enable_shared_from_this<ClientSegment> {
 public:
  // Takes over the segment that the server sent, whose ends nobody has taken. Errors: those of
  // SealedSegment::Adopt; INTERNAL for a size that is beyond the limits.
  static Result<std::shared_ptr<ClientSegment>> Adopt(int fd);

  ChannelHead& head() const { return *head_; }
  const ChannelLayout& layout() const { return layout_; }

  // A block of the client's heap, of at least so many bytes, aligned to 64. Empty when there is no
  // room.
  BufferRef Allocate(size_t bytes) FS_EXCLUDES(mutex_);
  // Where in the segment bytes that lie in it begin.
  uint64_t OffsetOf(std::span<const std::byte> bytes) const {
    return static_cast<uint64_t>(bytes.data() - segment_.bytes().data());
  }
  // Bytes at an offset; nothing when they do not all lie in one of the heaps.
  std::optional<std::span<std::byte>> At(uint64_t offset, uint64_t bytes) const;

  // What came in a response, at `offset`: when the last reference goes the server may have it back.
  BufferRef Lend(uint64_t offset, std::span<std::byte> bytes);
  // Which of them were given back since the last call, for the server to be told.
  std::vector<uint64_t> TakeReturned() FS_EXCLUDES(mutex_);
  bool has_returned() const { return has_returned_.load(std::memory_order_relaxed); }

  size_t bytes_in_use() const FS_EXCLUDES(mutex_);

 private:
  struct Block;
  struct Loan;
  explicit ClientSegment(SealedSegment segment);
  void Free(uint64_t offset) FS_EXCLUDES(mutex_);
  void Return(uint64_t offset) FS_EXCLUDES(mutex_);

  const SealedSegment segment_;
  const ChannelLayout layout_;
  ChannelHead* const head_;
  mutable Mutex mutex_;
  BuddyHeap heap_ FS_GUARDED_BY(mutex_);
  std::vector<uint64_t> returned_ FS_GUARDED_BY(mutex_);
  std::atomic<bool> has_returned_{false};
};

}  // namespace fastserve
