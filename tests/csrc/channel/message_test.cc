#include "channel/message.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace fastserve {
namespace {

std::vector<std::byte> Written(const ChannelMessage& message) {
  std::vector<std::byte> text(MessageBytes(message));
  WriteMessage(message, text);
  return text;
}

ChannelMessage Example() {
  return {.model = 7,
          .priority = 3,
          .tensors = {{0, DataType::kFp32, Shape({2, 3}), 4096, 24},
                      {2, DataType::kBytes, Shape({1}), 8192, 11},
                      {1, DataType::kInt64, Shape(), 0, 8}},
          .wanted = {1, 0},
          .id = "grüße"};
}

std::string ErrorOf(std::span<const std::byte> text) {
  ChannelMessage read;
  const Status status = ReadMessage(text, &read);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  return status.message();
}

// Of Example(), with `bytes` in place of what is at `offset`.
template <typename T>
std::string ErrorWith(size_t offset, T bytes) {
  std::vector<std::byte> text = Written(Example());
  std::memcpy(text.data() + offset, &bytes, sizeof bytes);
  return ErrorOf(text);
}

constexpr size_t kFirst = 32;  // Where the first tensor's record begins.

TEST(Message, IsReadAsItWasWritten) {
  for (const ChannelMessage& message : {ChannelMessage{}, Example()}) {
    ChannelMessage read = Example();
    const Status status = ReadMessage(Written(message), &read);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(read, message);
  }
}

TEST(Message, MayBeAsLargeAsItsLimits) {
  ChannelMessage message;
  message.tensors.resize(ChannelMessage::kTensorsMax,
                         {0, DataType::kUint8, Shape({0}), UINT64_MAX, 0});
  message.wanted.resize(ChannelMessage::kTensorsMax, 1);
  message.id.resize(ChannelMessage::kIdBytesMax, 'x');
  EXPECT_EQ(MessageBytes(message), kMessageBytesMax);
  ChannelMessage read;
  ASSERT_TRUE(ReadMessage(Written(message), &read).ok());
  EXPECT_EQ(read, message);
}

TEST(Message, OfEveryOtherLengthIsRefused) {
  const std::vector<std::byte> text = Written(Example());
  for (size_t bytes = 0; bytes < text.size(); ++bytes) ErrorOf(std::span(text).first(bytes));
  std::vector<std::byte> longer = text;
  longer.push_back({});
  EXPECT_NE(ErrorOf(longer).find(std::to_string(longer.size())), std::string::npos);
}

TEST(Message, CountsBeyondTheLimitsAreRefused) {
  for (const size_t at : {size_t{8}, size_t{12}, size_t{16}}) {
    for (const uint32_t count : {1025u, 0x8000'0000u, UINT32_MAX}) ErrorWith(at, count);
  }
}

TEST(Message, ATensorThatCannotBeIsRefused) {
  EXPECT_NE(ErrorWith<uint8_t>(kFirst + 4, 14).find("datatype 14"), std::string::npos);
  ErrorWith<uint8_t>(kFirst + 4, 255);
  EXPECT_NE(ErrorWith<uint8_t>(kFirst + 5, 13).find("13 dimensions"), std::string::npos);
  ErrorWith<uint64_t>(kFirst + 8, UINT64_MAX - 23);
  ErrorWith<uint64_t>(kFirst + 16, 25);
  ErrorWith<uint64_t>(kFirst + 16, UINT64_MAX);
  ErrorWith<int64_t>(kFirst + 24, -1);
  ErrorWith<int64_t>(kFirst + 24, INT64_MAX);
}

TEST(Message, OfAnyBytesIsReadOrRefused) {
  std::mt19937 random(1);
  const std::vector<std::byte> good = Written(Example());
  int accepted = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::vector<std::byte> text = good;
    for (uint32_t flips = 1 + random() % 4; flips > 0; --flips) {
      text[random() % text.size()] = static_cast<std::byte>(random());
    }
    ChannelMessage read;
    if (!ReadMessage(text, &read).ok()) continue;
    ++accepted;
    for (const PlacedTensor& tensor : read.tensors) {
      ASSERT_LE(tensor.offset, UINT64_MAX - tensor.bytes);
      ASSERT_TRUE(tensor.shape.Elements());
    }
    ASSERT_EQ(MessageBytes(read), text.size());
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace fastserve
