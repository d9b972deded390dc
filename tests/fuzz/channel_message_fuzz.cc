// Messages of a channel. An input is how it is read, in a byte, and a message.
//
// Oracles: what is read is written again as the same bytes but for those that mean nothing, and
// read alike; texts lie in the message; tensors are what their types and shapes say.
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "channel/channel_layout.h"
#include "channel/message.h"

namespace fastserve {
namespace {

void CheckText(std::string_view text, std::span<const std::byte> message) {
  if (text.empty()) return;
  const auto* const begin = reinterpret_cast<const char*>(message.data());
  FS_CHECK(text.data() >= begin && text.data() + text.size() <= begin + message.size());
}

void CheckTensor(const ChannelTensor& tensor, MessageUse use) {
  FS_CHECK_OP(tensor.shape.rank(), <=, Shape::kMaxRank);
  if (use == MessageUse::kDescription) return;
  FS_CHECK_OP(tensor.offset % ChannelLayout::kAlignment, ==, uint64_t{0});
  FS_CHECK_OP(tensor.bytes, <=, UINT64_MAX - tensor.offset);
  FS_CHECK(ValidateTensorSize(tensor.name, tensor.type, tensor.shape, tensor.bytes).ok());
}

void Fuzz(MessageUse use, std::span<const std::byte> input) {
  // Of its own, so that a byte too far is seen.
  const std::vector<std::byte> text(input.begin(), input.end());
  ChannelMessage message;
  if (!ReadMessage(text, use, &message).ok()) return;
  for (const std::string_view one : {message.model, message.version, message.id}) {
    CheckText(one, text);
  }
  for (const ChannelTensor& tensor : message.tensors) {
    CheckText(tensor.name, text);
    CheckTensor(tensor, use);
  }
  for (const std::string_view name : message.wanted) CheckText(name, text);
  FS_CHECK_OP(text.size(), <=, kMessageBytesMax);
  FS_CHECK_OP(MessageBytes(message), ==, text.size());
  std::vector<std::byte> written(text.size());
  WriteMessage(message, written);
  ChannelMessage again;
  FS_CHECK(ReadMessage(written, use, &again).ok());
  FS_CHECK(again == message);
}

}  // namespace
}  // namespace fastserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto use =
      (data[0] & 1) != 0 ? fastserve::MessageUse::kDescription : fastserve::MessageUse::kTensors;
  fastserve::Fuzz(use, std::as_bytes(std::span(data + 1, size - 1)));
  return 0;
}
