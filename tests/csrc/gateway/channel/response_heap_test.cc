#include "gateway/channel/response_heap.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "gateway/fake_backend.h"

namespace fastserve {
namespace {

constexpr size_t kSegmentBytes = ChannelLayout::kSegmentBytesMin + (size_t{256} << 10);

class ResponseHeapTest : public ::testing::Test {
 protected:
  static constexpr size_t kFirst[] = {0};

  ResponseOutput OutputOf(std::span<const std::byte> bytes) const {
    const auto floats = static_cast<int64_t>(bytes.size() / sizeof(float));
    return {.tensor = {DataType::kFp32, {1, floats}, bytes}, .owner = {}};
  }
  bool Place(std::span<ResponseOutput> outputs, uint64_t lent = 0) {
    return heap_.PlaceResponse({.number = 1,
                                .last = true,
                                .servable = servable_,
                                .id = "an id",
                                .wanted = kFirst,
                                .outputs = outputs,
                                .lent = lent},
                               &descriptor_, &copies_);
  }
  ChannelMessage Message() const {
    ChannelMessage message;
    const Status status = ReadMessage(segment().subspan(descriptor_.offset, descriptor_.bytes),
                                      MessageUse::kTensors, &message);
    EXPECT_TRUE(status.ok()) << status.message();
    return message;
  }
  std::span<std::byte> segment() const { return {memory_.get(), kSegmentBytes}; }

  const std::unique_ptr<std::byte[]> memory_ = std::make_unique<std::byte[]>(kSegmentBytes);
  const ChannelLayout layout_ = ChannelLayout::For(kSegmentBytes);
  ResponseHeap heap_{segment()};
  const ServableHandle servable_ = ServeUnawaited(
      std::make_shared<FakeBackend>(std::vector{Spec("x", DataType::kFp32, {-1, 2})},
                                    std::vector{Spec("y", DataType::kFp32, {-1, 8192})}, Echo),
      Named("m"));
  Descriptor descriptor_{};
  std::vector<ChannelCopy> copies_;
};

TEST_F(ResponseHeapTest, OutputsFollowTheirMessage) {
  const std::vector<std::byte> computed(1000, std::byte{7});
  std::vector outputs = {OutputOf(computed)};
  ASSERT_TRUE(Place(outputs));
  ASSERT_EQ(copies_.size(), 1u);
  Make(copies_);
  const ChannelMessage message = Message();
  EXPECT_EQ(message.model, "m");
  EXPECT_EQ(message.id, "an id");
  const ChannelTensor& placed = message.tensors.at(0);
  EXPECT_EQ(placed.name, "y");
  EXPECT_TRUE(layout_.server_heap.Contains(placed.offset, placed.bytes));
  EXPECT_EQ(segment()[placed.offset + 999], std::byte{7});
  EXPECT_TRUE(heap_.Free(descriptor_.offset));
  EXPECT_EQ(heap_.bytes_in_use(), 0u);
}

TEST_F(ResponseHeapTest, BytesOfARequestStayWhereTheyAre) {
  std::vector outputs = {OutputOf(segment().subspan(layout_.client_heap.begin + 64, 64))};
  ASSERT_TRUE(Place(outputs));
  EXPECT_TRUE(copies_.empty());
  EXPECT_EQ(Message().tensors.at(0).offset, layout_.client_heap.begin + 64);
  // Rows of one that are not aligned are copied.
  outputs = {OutputOf(segment().subspan(layout_.client_heap.begin + 68, 64))};
  ASSERT_TRUE(Place(outputs));
  EXPECT_EQ(copies_.size(), 1u);
}

TEST_F(ResponseHeapTest, WhatIsLentIsTheResponse) {
  std::vector<OutputPlace> places;
  const uint64_t lent = heap_.Lend(*servable_, "an id", kFirst, 1, &places);
  ASSERT_NE(lent, 0u);
  ASSERT_EQ(places.size(), 1u);
  EXPECT_EQ(places[0].bytes.size(), 8192 * sizeof(float));
  std::vector outputs = {OutputOf(places[0].bytes)};
  ASSERT_TRUE(Place(outputs, lent));
  EXPECT_TRUE(copies_.empty());
  EXPECT_EQ(descriptor_.offset, lent);
  EXPECT_LE(descriptor_.offset + descriptor_.bytes, Message().tensors.at(0).offset);
}

TEST_F(ResponseHeapTest, WhatTheEngineMadeElsewhereIsCopiedInSpiteOfTheLoan) {
  std::vector<OutputPlace> places;
  const uint64_t lent = heap_.Lend(*servable_, "an id", kFirst, 1, &places);
  ASSERT_NE(lent, 0u);
  const std::vector<std::byte> computed(64);
  std::vector outputs = {OutputOf(computed)};
  ASSERT_TRUE(Place(outputs, lent));
  EXPECT_NE(descriptor_.offset, lent);
  EXPECT_EQ(copies_.size(), 1u);
  EXPECT_TRUE(heap_.Free(lent));
}

TEST_F(ResponseHeapTest, NothingIsLentForWhatIsSmallOrTooLarge) {
  std::vector<OutputPlace> places;
  EXPECT_EQ(heap_.Lend(*servable_, "", {}, 1, &places), 0u);
  EXPECT_EQ(heap_.Lend(*servable_, "", kFirst, int64_t{1} << 60, &places), 0u);
  EXPECT_EQ(heap_.Lend(*servable_, "", kFirst, 8, &places), 0u);  // No room.
  EXPECT_EQ(heap_.bytes_in_use(), 0u);
}

TEST_F(ResponseHeapTest, WithoutRoomNothingChanges) {
  const std::vector<std::byte> computed(100 << 10);
  std::vector outputs = {OutputOf(computed)};
  ASSERT_TRUE(heap_.CouldHold(computed.size()));
  ASSERT_TRUE(Place(outputs));
  const uint64_t first = descriptor_.offset;
  const size_t in_use = heap_.bytes_in_use();
  EXPECT_FALSE(Place(outputs));
  EXPECT_EQ(heap_.bytes_in_use(), in_use);
  EXPECT_TRUE(heap_.Free(first));
  EXPECT_TRUE(Place(outputs));
  EXPECT_FALSE(heap_.CouldHold(kSegmentBytes / 2));
}

TEST_F(ResponseHeapTest, ATextThatFindsNoRoomIsLeftOut) {
  Descriptor end{};
  heap_.PlaceText("why", &end);
  EXPECT_EQ(end.bytes, 3u);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(&segment()[end.offset]), 3), "why");
  Descriptor none{};
  heap_.PlaceText(std::string(kSegmentBytes, 'x'), &none);
  EXPECT_EQ(none.bytes, 0u);
}

TEST_F(ResponseHeapTest, OnlyABlockInUseIsFreed) {
  Descriptor end{};
  heap_.PlaceText("why", &end);
  for (const uint64_t offset :
       {uint64_t{0}, end.offset + 1, end.offset + 64, uint64_t{layout_.client_heap.begin},
        uint64_t{kSegmentBytes}, UINT64_MAX}) {
    EXPECT_FALSE(heap_.Free(offset)) << offset;
  }
  EXPECT_TRUE(heap_.Free(end.offset));
  EXPECT_FALSE(heap_.Free(end.offset));
}

}  // namespace
}  // namespace fastserve
