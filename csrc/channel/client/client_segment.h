// ClientSegment: a client's side of the memory that it shares with its server: the blocks that it
// hands out, and those of the server that it was lent.
//
//   Result<std::shared_ptr<ClientSegment>> segment = ClientSegment::Adopt(fd);
//   BufferRef block = (*segment)->Allocate(bytes);           // for a request
//   BufferRef loan = (*segment)->Lend(offset, *(*segment)->At(offset, bytes));   // of a response
//
// Blocks are Buffers: the last reference gives them back, on whatever thread, also after the
// channel is closed. The memory stays mapped until the last of them is gone.
//
// Invariants:
//   1. Nothing is called under the mutex: a reference may go wherever a garbage collector runs.
//   2. A loan is returned once.
// Threads: all from any thread. In a child of fork() references go without giving anything back:
// the blocks are the parent's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/annotations.h"
#include "base/status.h"
#include "channel/channel_layout.h"
#include "channel/client/client_outbox.h"
#include "memory/buddy_heap.h"
#include "memory/sealed_segment.h"
#include "sync/event_fd.h"
#include "tensor/buffer.h"

namespace fastserve {

class ClientSegment : public std::enable_shared_from_this<ClientSegment> {
 public:
  // Takes over the segment that the server sent, and the producer's end of its requests. Errors:
  // RESOURCE_EXHAUSTED for want of memory or descriptors; INTERNAL for what can be no segment of a
  // channel, or is another client's.
  static Result<std::shared_ptr<ClientSegment>> Adopt(int fd);

  ChannelHead& head() const { return *head_; }
  const ChannelLayout& layout() const { return layout_; }
  size_t size() const { return segment_.bytes().size(); }

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
  // Empty when there is no memory to note that; then it may have it back at once.
  BufferRef Lend(uint64_t offset, std::span<std::byte> bytes);
  // The server is told by this, also when a loan is over.
  ClientOutbox& outbox() { return outbox_; }

  // Of the client's heap.
  size_t bytes_in_use() const FS_EXCLUDES(mutex_);

 private:
  struct Block;
  struct Loan;
  ClientSegment(SealedSegment segment, DescriptorRing::Producer requests, EventFd flush_due);
  void Free(uint64_t offset) noexcept FS_EXCLUDES(mutex_);

  const SealedSegment segment_;
  const ChannelLayout layout_;
  ChannelHead* const head_;
  ClientOutbox outbox_;
  const uint32_t generation_;
  mutable Mutex mutex_;
  BuddyHeap heap_ FS_GUARDED_BY(mutex_);  // Its offsets begin where the client's heap does.
};

}  // namespace fastserve
