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
  ChannelMessage message;
  message.model = "digits";
  message.version = "3";
  message.id = "grüße";
  message.tensors = {{"image", DataType::kFp32, Shape({2, 3}), 4096, 24, 0},
                     {"", DataType::kBytes, Shape({1}), 8192, 11, 0},
                     {"scalar", DataType::kInt64, Shape(), 0, 8, 0}};
  message.wanted = {"label", ""};
  return message;
}

ChannelMessage ExampleDescription() {
  ChannelMessage message;
  message.model = "digits";
  message.tensors = {{"image", DataType::kFp32, Shape({-1, 784}), 0, 0, ChannelTensor::kOptional},
                     {"label", DataType::kInt64, Shape({-1}), 0, 0, ChannelTensor::kOutput}};
  message.max_batch_size = 32;
  return message;
}

std::string ErrorOf(std::span<const std::byte> text, MessageUse use = MessageUse::kTensors) {
  ChannelMessage read;
  const Status status = ReadMessage(text, use, &read);
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

// Where the first tensor's record begins, and what is in it.
constexpr size_t kFirst = 48;
constexpr size_t kType = kFirst + 4;
constexpr size_t kRank = kFirst + 5;
constexpr size_t kOffset = kFirst + 8;
constexpr size_t kBytes = kFirst + 16;
constexpr size_t kDims = kFirst + 24;

TEST(Message, IsReadAsItWasWritten) {
  ChannelMessage read = ExampleDescription();
  for (const ChannelMessage& message : {ChannelMessage{}, Example()}) {
    const std::vector<std::byte> text = Written(message);
    const Status status = ReadMessage(text, MessageUse::kTensors, &read);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(read, message);
  }
  const std::vector<std::byte> text = Written(ExampleDescription());
  ASSERT_TRUE(ReadMessage(text, MessageUse::kDescription, &read).ok());
  EXPECT_EQ(read, ExampleDescription());
  read.Clear();
  EXPECT_EQ(read, ChannelMessage());
}

TEST(Message, MayBeAsLargeAsItsLimits) {
  const std::string long_text(ChannelMessage::kTextBytesMax, 'x');
  ChannelMessage message;
  message.model = message.version = message.id = long_text;
  message.tensors.resize(ChannelMessage::kTensorsMax,
                         {long_text, DataType::kUint8, Shape({0}), UINT64_MAX - 63, 0, 0});
  message.wanted.resize(ChannelMessage::kTensorsMax, long_text);
  EXPECT_EQ(MessageBytes(message), kMessageBytesMax);
  const std::vector<std::byte> text = Written(message);
  ChannelMessage read;
  const Status status = ReadMessage(text, MessageUse::kTensors, &read);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(read, message);
}

TEST(Message, OfEveryOtherLengthIsRefused) {
  const std::vector<std::byte> text = Written(Example());
  for (size_t bytes = 0; bytes < text.size(); ++bytes) {
    // Of its own, so that a sanitizer sees a byte too far.
    const std::vector<std::byte> shorter(text.begin(), text.begin() + static_cast<long>(bytes));
    ErrorOf(shorter);
    ErrorOf(shorter, MessageUse::kDescription);
  }
  std::vector<std::byte> longer = text;
  longer.push_back({});
  EXPECT_NE(ErrorOf(longer).find("1 bytes more"), std::string::npos);
}

TEST(Message, CountsBeyondTheLimitsAreRefused) {
  for (const size_t at : {size_t{0}, size_t{4}}) {  // Tensors; wanted outputs.
    for (const uint32_t count : {4u, 1025u, 0x8000'0000u, UINT32_MAX}) ErrorWith(at, count);
  }
  EXPECT_NE(ErrorWith(0, 1025u).find("at most 1024"), std::string::npos);
  for (const size_t at : {size_t{8}, size_t{12}, size_t{16}, kFirst}) {  // Lengths of texts.
    for (const uint32_t bytes : {4097u, 0x8000'0000u, UINT32_MAX}) ErrorWith(at, bytes);
  }
}

TEST(Message, ATensorThatCannotBeIsRefused) {
  EXPECT_NE(ErrorWith<uint8_t>(kType, 14).find("datatype 14"), std::string::npos);
  ErrorWith<uint8_t>(kType, 255);
  EXPECT_NE(ErrorWith<uint8_t>(kRank, 13).find("13 dimensions"), std::string::npos);
  EXPECT_NE(ErrorWith<uint64_t>(kOffset, 4096 + 32).find("multiple of 64"), std::string::npos);
  ErrorWith<uint64_t>(kOffset, UINT64_MAX - 23);
  ErrorWith<uint64_t>(kBytes, 25);
  ErrorWith<uint64_t>(kBytes, UINT64_MAX);
  EXPECT_NE(ErrorWith<int64_t>(kDims, -1).find("'image'"), std::string::npos);
  ErrorWith<int64_t>(kDims, INT64_MAX);
}

TEST(Message, OfADescriptionShapesMayBeOpen) {
  const std::vector<std::byte> text = Written(ExampleDescription());
  ErrorOf(text, MessageUse::kTensors);
  ChannelMessage read;
  EXPECT_TRUE(ReadMessage(text, MessageUse::kDescription, &read).ok());
}

TEST(Message, OfAnyBytesIsReadOrRefused) {
  std::mt19937 random(1);
  int accepted = 0;
  for (const ChannelMessage& example : {Example(), ExampleDescription()}) {
    const std::vector<std::byte> good = Written(example);
    for (int i = 0; i < 50'000; ++i) {
      std::vector<std::byte> text = good;
      for (uint32_t flips = 1 + random() % 4; flips > 0; --flips) {
        text[random() % text.size()] ^= static_cast<std::byte>(1u << random() % 8);
      }
      ChannelMessage read;
      const bool is_description = ReadMessage(text, MessageUse::kDescription, &read).ok();
      if (!ReadMessage(text, MessageUse::kTensors, &read).ok()) continue;
      EXPECT_TRUE(is_description);
      ++accepted;
      for (const ChannelTensor& tensor : read.tensors) {
        ASSERT_LE(tensor.offset, UINT64_MAX - tensor.bytes);
        ASSERT_TRUE(tensor.shape.Elements());
      }
      ASSERT_EQ(MessageBytes(read), text.size());
    }
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace fastserve
