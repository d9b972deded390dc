// The messages of a channel: what a request asks for, what a response has, what a model takes and
// gives; but for the bytes of the tensors, which lie elsewhere in the segment.
//
//   ChannelMessage message{.model = "digits", .tensors = {...}};
//   WriteMessage(message, block.first(MessageBytes(message)));     // into the segment
//   ...
//   std::vector<std::byte> copy = ...;              // out of it: nobody else can change that
//   Status status = ReadMessage(copy, MessageUse::kTensors, &message);
//
// A message is checked against itself. Whether a range lies where it should in the segment, and
// whether names and shapes suit a model, is the reader's to check.
//
// Layout: a head of 48 bytes, a record of 120 bytes for each tensor, the length of each wanted
// output's name in 4 bytes, then all text, back to back: model, version, id, names of the tensors,
// of the wanted outputs.
// Threads: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tensor/tensor.h"

namespace fastserve {

// A tensor and where in the segment it is. In a description: what a model takes or gives, without a
// place, and with -1 in the shape for any length.
struct ChannelTensor {
  enum Flag : uint16_t { kOutput = 1, kOptional = 2 };  // In descriptions alone.

  std::string_view name;
  DataType type = DataType::kFp32;
  Shape shape;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint16_t flags = 0;

  friend bool operator==(const ChannelTensor&, const ChannelTensor&) = default;
};

// Its texts are views of whatever it was made of: of a message that was read, the message.
struct ChannelMessage {
  static constexpr size_t kTensorsMax = 1024;
  static constexpr size_t kTextBytesMax = 4096;  // Of one name, version or id.

  std::string_view model;
  std::string_view version;  // Of requests "" for the default; of responses the one that answered.
  std::string_view id;
  std::vector<ChannelTensor> tensors;
  std::vector<std::string_view> wanted;  // Outputs; none: all.
  int64_t max_batch_size = 0;            // In descriptions; 0: no batch dimension.

  // As new, with the capacity.
  void Clear();
  friend bool operator==(const ChannelMessage&, const ChannelMessage&) = default;
};

// No valid message has more.
inline constexpr size_t kMessageBytesMax =
    48 + ChannelMessage::kTensorsMax * (120 + 4 + 2 * ChannelMessage::kTextBytesMax) +
    3 * ChannelMessage::kTextBytesMax;

size_t MessageBytes(const ChannelMessage& message);

// `out` has exactly MessageBytes(message). The message is within its limits.
void WriteMessage(const ChannelMessage& message, std::span<std::byte> out);

enum class MessageUse : uint8_t { kTensors, kDescription };

// `message` is the reader's own, and stays as long as `*out`. Errors: INVALID_ARGUMENT for a
// message that is too short or too long for what it says, beyond a limit, or with a tensor of no
// type, too many dimensions, a negative one (-1 is good in a description), a range that does not
// have the bytes of its type and shape, or that begins at no multiple of ChannelLayout::kAlignment.
// `*out` is then unspecified.
Status ReadMessage(std::span<const std::byte> message, MessageUse use, ChannelMessage* out);

}  // namespace fastserve
