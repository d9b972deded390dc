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
    loan->segment->outbox().Release(loan->offset);
  }

  const uint64_t offset;
  const std::shared_ptr<ClientSegment> segment;
};

ClientSegment::ClientSegment(SealedSegment segment, DescriptorRing::Producer requests,
                             EventFd flush_due)
    : segment_(std::move(segment)),
      layout_(ChannelLayout::For(segment_.bytes().size())),
      head_(reinterpret_cast<ChannelHead*>(segment_.bytes().data())),
      outbox_(*head_, std::move(requests), std::move(flush_due)),
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
  Result<EventFd> flush_due = EventFd::Create();
  if (!flush_due.ok()) return std::move(flush_due).status();
  auto* const head = reinterpret_cast<ChannelHead*>(segment->bytes().data());
  std::optional<DescriptorRing::Producer> requests = head->requests.TryTakeProducer();
  if (!requests) return Internal("the server's memory is in use by another client already");
  return std::shared_ptr<ClientSegment>(
      new ClientSegment(*std::move(segment), *std::move(requests), *std::move(flush_due)));
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
  outbox_.Release(offset);
  return {};
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
