// ServedChannel: a client as its server has it, for tests that play the server.
//
// Threads: none.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "channel/channel_layout.h"
#include "channel/message.h"
#include "memory/buddy_heap.h"
#include "memory/sealed_segment.h"
#include "sync/event_fd.h"

namespace fastserve {

inline std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// A message without tensors.
inline ChannelMessage Named(std::string_view model, std::string_view version = "") {
  ChannelMessage message;
  message.model = model;
  message.version = version;
  return message;
}

// A client as the server has it. For the script alone.
class ServedChannel {
 public:
  ServedChannel(SealedSegment memory, EventFd event_fd)
      : memory_(std::move(memory)),
        layout_(ChannelLayout::For(memory_.bytes().size())),
        head_(new (memory_.bytes().data()) ChannelHead),
        heap_(layout_.server_heap.bytes),
        event_fd_(std::move(event_fd)),
        requests_(head_->requests.TakeConsumer()),
        responses_(head_->responses.TakeProducer()) {}

  ChannelHead& head() { return *head_; }
  const ChannelLayout& layout() const { return layout_; }
  std::span<std::byte> bytes() const { return memory_.bytes(); }
  int segment_fd() const { return memory_.fd(); }
  int event_fd() const { return event_fd_.fd(); }
  size_t bytes_in_use() const { return heap_.bytes_in_use(); }

  bool Hear(Descriptor* said) { return requests_.TryPop(said); }
  void Say(const Descriptor& said) {
    while (!responses_.TryPush(said)) std::this_thread::yield();
    if (head_->client.Ring()) event_fd_.Signal();
  }

  // The message of a request; `text` keeps it.
  ChannelMessage Read(const Descriptor& said, std::vector<std::byte>* text) const {
    EXPECT_TRUE(layout_.client_heap.Contains(said.offset, said.bytes));
    const std::span<std::byte> bytes = memory_.bytes().subspan(said.offset, said.bytes);
    text->assign(bytes.begin(), bytes.end());
    ChannelMessage message;
    const Status status = ReadMessage(*text, MessageUse::kTensors, &message);
    EXPECT_TRUE(status.ok()) << status.message();
    return message;
  }
  std::span<std::byte> BytesOf(const ChannelTensor& tensor) const {
    return memory_.bytes().subspan(tensor.offset, tensor.bytes);
  }

  // A block with these bytes.
  uint64_t Place(std::span<const std::byte> bytes) {
    const std::optional<size_t> found = heap_.Allocate(bytes.size());
    EXPECT_TRUE(found.has_value());
    const size_t offset = layout_.server_heap.begin + found.value_or(0);
    std::memcpy(memory_.bytes().data() + offset, bytes.data(), bytes.size());
    return offset;
  }
  bool Free(uint64_t offset) { return heap_.Free(offset - layout_.server_heap.begin); }

  // A message, which is all that its block has.
  void Respond(const Descriptor& request, const ChannelMessage& message, DescriptorKind kind) {
    std::vector<std::byte> text(MessageBytes(message));
    WriteMessage(message, text);
    Say({kind, 0, request.request, Place(text), text.size(), 0, {}});
  }
  // The inputs as outputs: the very bytes. A cancel comes too late.
  void EchoInputs(const Descriptor& request, DescriptorKind kind = DescriptorKind::kLast) {
    if (request.kind == DescriptorKind::kCancel) return;
    std::vector<std::byte> text;
    Respond(request, Read(request, &text), kind);
  }
  // The inputs as outputs: copies, in the block of the message.
  void EchoCopies(const Descriptor& request, DescriptorKind kind = DescriptorKind::kLast) {
    if (request.kind == DescriptorKind::kCancel) return;
    std::vector<std::byte> text;
    ChannelMessage message = Read(request, &text);
    const auto aligned = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
    const size_t text_bytes = MessageBytes(message);
    size_t bytes = aligned(text_bytes);
    for (const ChannelTensor& tensor : message.tensors) bytes += aligned(tensor.bytes);
    const uint64_t block = Place(std::vector<std::byte>(bytes));
    uint64_t next = block + aligned(text_bytes);
    for (ChannelTensor& tensor : message.tensors) {
      if (tensor.bytes > 0) {
        std::memcpy(memory_.bytes().data() + next, BytesOf(tensor).data(), tensor.bytes);
      }
      tensor.offset = std::exchange(next, next + aligned(tensor.bytes));
    }
    WriteMessage(message, memory_.bytes().subspan(block, text_bytes));
    Say({kind, 0, request.request, block, text_bytes, 0, {}});
  }
  void End(uint64_t request, Code code, std::string_view text = "") {
    const uint64_t offset = text.empty() ? 0 : Place(fastserve::BytesOf(text));
    Say({DescriptorKind::kEnd, static_cast<uint32_t>(code), request, offset, text.size(), 0, {}});
  }
  // The socket is closed after this.
  void Die() { is_dead_ = true; }
  bool is_dead() const { return is_dead_; }

 private:
  SealedSegment memory_;
  const ChannelLayout layout_;
  ChannelHead* const head_;
  BuddyHeap heap_;
  EventFd event_fd_;
  DescriptorRing::Consumer requests_;
  DescriptorRing::Producer responses_;
  bool is_dead_ = false;
};

}  // namespace fastserve
