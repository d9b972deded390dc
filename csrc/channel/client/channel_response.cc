#include "channel/client/channel_response.h"

namespace fastserve {
namespace {

// Checks the copy, not what the server can still write.
Status Read(std::span<const std::byte> bytes, MessageUse use, OwnedMessage* out) {
  out->text.assign(bytes.begin(), bytes.end());
  const Status read = ReadMessage(out->text, use, &out->message);
  if (read.ok()) return {};
  return Internal("the server's response makes no sense: ", read.message());
}

Status LiesNowhere(const CallState::Arrived& arrived) {
  return Internal("the server's response is said to have ", arrived.bytes, " bytes from offset ",
                  arrived.offset, " on, which are none of its memory, or more than a message has");
}

bool IsPlausible(const ClientSegment& segment, const CallState::Arrived& arrived) {
  return arrived.bytes <= kMessageBytesMax &&
         segment.layout().server_heap.Contains(arrived.offset, arrived.bytes);
}

bool Contains(std::span<const std::byte> outer, std::span<const std::byte> inner) {
  return inner.data() >= outer.data() && inner.data() + inner.size() <= outer.data() + outer.size();
}

// The reference that keeps bytes of the client's heap; empty when they are of no input.
BufferRef OwnerOf(std::span<const std::byte> bytes, std::span<const CallState::Input> inputs) {
  for (const CallState::Input& input : inputs) {
    if (Contains(input.bytes, bytes)) return input.block;
  }
  return {};
}

}  // namespace

Status ReadResponse(ClientSegment& segment, const CallState::Arrived& arrived,
                    std::span<const CallState::Input> inputs, ChannelResponse* out) {
  if (!IsPlausible(segment, arrived)) return LiesNowhere(arrived);
  const std::span<std::byte> bytes = *segment.At(arrived.offset, arrived.bytes);
  const BufferRef loan = segment.Lend(arrived.offset, bytes);
  if (!loan) return Status::OutOfMemory();
  FS_RETURN_IF_ERROR(Read(bytes, MessageUse::kTensors, out));
  out->outputs.clear();
  out->outputs.reserve(out->message.tensors.size());
  for (const ChannelTensor& tensor : out->message.tensors) {
    if (tensor.bytes == 0) {  // It may be said to be anywhere.
      out->outputs.push_back({.bytes = bytes.first(0), .owner = loan});
      continue;
    }
    const auto found = segment.At(tensor.offset, tensor.bytes);
    const bool is_lent = segment.layout().server_heap.Contains(tensor.offset, tensor.bytes);
    BufferRef owner = is_lent ? loan : found ? OwnerOf(*found, inputs) : BufferRef();
    if (!owner) {
      return Internal("the server's output '", tensor.name, "' is said to have ", tensor.bytes,
                      " bytes from offset ", tensor.offset,
                      " on, which are neither its memory nor an input of the request");
    }
    out->outputs.push_back({.bytes = *found, .owner = std::move(owner)});
  }
  return {};
}

Status ReadDescription(ClientSegment& segment, const CallState::Arrived& arrived,
                       ChannelDescription* out) {
  if (!IsPlausible(segment, arrived)) return LiesNowhere(arrived);
  const BufferRef loan = segment.Lend(arrived.offset, *segment.At(arrived.offset, arrived.bytes));
  if (!loan) return Status::OutOfMemory();
  return Read(loan->bytes(), MessageUse::kDescription, out);
}

}  // namespace fastserve
