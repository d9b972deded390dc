#include "channel/client/client_segment.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <new>
#include <thread>

#include "channel/client/served_channel.h"
#include "memory/lost_pages.h"

namespace fastserve {
namespace {

// A server's side of it, in the same process.
class ClientSegmentTest : public testing::Test {
 protected:
  void SetUp() override {
    Result<std::shared_ptr<ClientSegment>> segment =
        ClientSegment::Adopt(dup(server_.segment_fd()));
    ASSERT_TRUE(segment.ok()) << segment.status().message();
    segment_ = *std::move(segment);
  }

  // What the server is told, in order.
  std::vector<uint64_t> Released() {
    std::vector<uint64_t> offsets;
    Descriptor said;
    while (server_.Hear(&said)) {
      EXPECT_EQ(said.kind, DescriptorKind::kRelease);
      offsets.push_back(said.offset);
    }
    return offsets;
  }

  ServedChannel server_{*SealedSegment::Create(size_t{1} << 20), *EventFd::Create()};
  std::shared_ptr<ClientSegment> segment_;
};

TEST_F(ClientSegmentTest, BlocksLieInItsHalfAndComeBack) {
  const ChannelPart& heap = segment_->layout().client_heap;
  std::vector<BufferRef> blocks;
  size_t bytes = 1;
  while (BufferRef block = segment_->Allocate(bytes)) {
    EXPECT_GE(block->size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block->data()) % 64, 0u);
    const uint64_t offset = segment_->OffsetOf(block->bytes());
    EXPECT_TRUE(heap.Contains(offset, block->size()));
    EXPECT_EQ(segment_->At(offset, block->size())->data(), block->data());
    blocks.push_back(std::move(block));
    bytes = bytes * 7 % 5000;
  }
  EXPECT_GT(segment_->bytes_in_use(), heap.bytes / 2);
  blocks.clear();
  EXPECT_EQ(segment_->bytes_in_use(), 0u);
  EXPECT_FALSE(segment_->Allocate(heap.bytes + 1));
  EXPECT_FALSE(segment_->Allocate(SIZE_MAX));
  EXPECT_TRUE(segment_->Allocate(0));
}

TEST_F(ClientSegmentTest, OnlyTheHeapsCanBeReferredTo) {
  const ChannelLayout& layout = segment_->layout();
  EXPECT_FALSE(segment_->At(0, 1));
  EXPECT_FALSE(segment_->At(layout.client_heap.begin - 1, 1));
  EXPECT_TRUE(segment_->At(layout.client_heap.begin, layout.client_heap.bytes));
  EXPECT_TRUE(segment_->At(layout.server_heap.begin, layout.server_heap.bytes));
  // Not what lies in both.
  EXPECT_FALSE(segment_->At(layout.server_heap.begin - 1, 2));
  EXPECT_FALSE(segment_->At(layout.server_heap.begin, layout.server_heap.bytes + 1));
  EXPECT_FALSE(segment_->At(UINT64_MAX, 2));
  EXPECT_FALSE(segment_->At(layout.client_heap.begin, UINT64_MAX));
}

TEST_F(ClientSegmentTest, ALoanGoesBackWithItsLastReference) {
  const uint64_t offset = server_.Place(BytesOf("lent"));
  BufferRef loan = segment_->Lend(offset, *segment_->At(offset, 4));
  EXPECT_EQ(TextOf(loan->bytes()), "lent");
  BufferRef other = loan;
  loan = {};
  EXPECT_TRUE(Released().empty());
  std::thread([last = std::move(other)] {}).join();
  EXPECT_EQ(Released(), std::vector<uint64_t>{offset});
}

TEST_F(ClientSegmentTest, LastsAsLongAsItsBlocks) {
  const int mappings = MappingsOf("memfd:fastserve");
  BufferRef block = segment_->Allocate(100);
  BufferRef loan = segment_->Lend(segment_->layout().server_heap.begin,
                                  *segment_->At(segment_->layout().server_heap.begin, 8));
  segment_.reset();
  block->data()[0] = std::byte{1};
  block = {};
  EXPECT_EQ(MappingsOf("memfd:fastserve"), mappings);
  loan = {};
  EXPECT_EQ(MappingsOf("memfd:fastserve"), mappings - 1);
  EXPECT_EQ(Released().size(), 1u);
}

TEST_F(ClientSegmentTest, TheRequestsHaveOneProducer) {
  EXPECT_EQ(ClientSegment::Adopt(dup(server_.segment_fd())).status().code(), Code::kInternal);
}

TEST(ClientSegment, WhatIsNoSegmentOfAChannelIsRefused) {
  const SealedSegment small = *SealedSegment::Create(ChannelLayout::kSegmentBytesMin - 4096);
  for (const int fd : {-1, dup(small.fd()), open("/dev/null", O_RDWR | O_CLOEXEC)}) {
    EXPECT_EQ(ClientSegment::Adopt(fd).status().code(), Code::kInternal);
    EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  }
}

}  // namespace
}  // namespace fastserve
