#include "channel/client/client_segment.h"

#include <new>
#include <utility>

#include "base/check.h"
#include "base/fork.h"

namespace fastserve {

// Of the client's heap.
struct ClientSegment::Block : Buffer {
  Block(std::span<std::byte> bytes, std::shared_ptr<ClientSegment> segment)
      : Buffer(bytes.data(), bytes.size(), &Block::Release), segment(std::move(segment)) {}

  static void Release(Buffer* buffer) {
    const std::unique_ptr<Block> block(static_cast<Block*>(buffer));
    block->segment->Free(block->segment->OffsetOf(block->bytes()));
  }

  const std::shared_ptr<ClientSegment> segment;
};

// Of the server's heap.
struct ClientSegment::Loan : Buffer {
  Loan(uint64_t offset, std::span<std::byte> bytes, std::shared_ptr<ClientSegment> segment)
      : Buffer(bytes.data(), bytes.size(), &Loan::Release),
        offset(offset),
        segment(std::move(segment)) {}

  static void Release(Buffer* buffer) {
    const std::unique_ptr<Loan> loan(static_cast<Loan*>(buffer));
    loan->segment->Return(loan->offset);
  }

  const uint64_t offset;
  const std::shared_ptr<ClientSegment> segment;
};

ClientSegment::ClientSegment(SealedSegment segment, EventFd many_returned)
    : segment_(std::move(segment)),
      layout_(ChannelLayout::For(segment_.bytes().size())),
      head_(reinterpret_cast<ChannelHead*>(segment_.bytes().data())),
      many_returned_(std::move(many_returned)),
      generation_(ForkGeneration()),
      heap_(layout_.client_heap.bytes) {}

Result<std::shared_ptr<ClientSegment>> ClientSegment::Adopt(int fd) {
  Result<SealedSegment> segment = SealedSegment::Adopt(fd, ChannelLayout::kSegmentBytesMax);
  if (!segment.ok()) {
    if (segment.status().code() == Code::kResourceExhausted) return std::move(segment).status();
    return Internal("the server's memory is of no use: ", segment.status().message());
  }
  if (segment->bytes().size() < ChannelLayout::kSegmentBytesMin) {
    return Internal("the server's memory has ", segment->bytes().size(),
                    " bytes, expected at least ", ChannelLayout::kSegmentBytesMin);
  }
  Result<EventFd> many_returned = EventFd::Create();
  if (!many_returned.ok()) return std::move(many_returned).status();
  return std::shared_ptr<ClientSegment>(
      new ClientSegment(*std::move(segment), *std::move(many_returned)));
}

BufferRef ClientSegment::Allocate(size_t bytes) {
  std::optional<size_t> found;
  size_t size = 0;
  {
    const MutexLock lock(mutex_);
    found = heap_.Allocate(bytes);
    if (!found) return {};
    size = heap_.BytesOf(*found);
  }
  const size_t offset = layout_.client_heap.begin + *found;
  auto* const block =
      new (std::nothrow) Block(segment_.bytes().subspan(offset, size), shared_from_this());
  if (block == nullptr) {
    Free(offset);
    return {};
  }
  return BufferRef::Adopt(block);
}

std::optional<std::span<std::byte>> ClientSegment::At(uint64_t offset, uint64_t bytes) const {
  if (!layout_.client_heap.Contains(offset, bytes) &&
      !layout_.server_heap.Contains(offset, bytes)) {
    return std::nullopt;
  }
  return segment_.bytes().subspan(offset, bytes);
}

BufferRef ClientSegment::Lend(uint64_t offset, std::span<std::byte> bytes) {
  auto* const loan = new (std::nothrow) Loan(offset, bytes, shared_from_this());
  if (loan != nullptr) return BufferRef::Adopt(loan);
  Return(offset);
  return {};
}

void ClientSegment::Return(uint64_t offset) noexcept {
  if (ForkedSince(generation_)) return;
  bool are_many = false;
  try {
    const MutexLock lock(mutex_);
    returned_.push_back(offset);
    are_many = returned_.size() == kManyReturned;
  } catch (const std::bad_alloc&) {
    return;
  }
  has_returned_.store(true, std::memory_order_relaxed);
  if (are_many) many_returned_.Signal();
}

void ClientSegment::TakeReturned(std::vector<uint64_t>* offsets) {
  FS_CHECK(offsets->empty());
  has_returned_.store(false, std::memory_order_relaxed);
  const MutexLock lock(mutex_);
  offsets->swap(returned_);
}

size_t ClientSegment::bytes_in_use() const {
  const MutexLock lock(mutex_);
  return heap_.bytes_in_use();
}

void ClientSegment::Free(uint64_t offset) noexcept {
  if (ForkedSince(generation_)) return;
  const MutexLock lock(mutex_);
  FS_CHECK(heap_.Free(offset - layout_.client_heap.begin));
}

}  // namespace fastserve
