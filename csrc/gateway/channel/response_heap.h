// ResponseHeap: the server's half of a channel's segment: messages and outputs are placed in its
// blocks, which the client then has until it releases them.
//
//   std::vector<ChannelCopy> copies;
//   if (!heap.PlaceResponse(said, &descriptor, &copies)) ...;      // no room now
//   Make(copies);                                                  // the bytes of the outputs
//
// A response is one block: its message, then those of its outputs that do not lie in the segment
// already. An engine that computes into memory of others' choosing is lent such a block before it
// runs (Lend), so that its outputs are where they belong.
//
// Invariant: the books are private; an offset that the client names is looked up in them.
//
// Threads: none; whoever shares it brings a mutex.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "channel/channel_layout.h"
#include "channel/descriptor.h"
#include "channel/message.h"
#include "memory/buddy_heap.h"
#include "serving/inference_request.h"
#include "serving/servable.h"

namespace fastserve {

// A response, in the words of whoever has it.
struct SaidResponse {
  uint64_t number;
  bool last;
  const ServableHandle& servable;
  std::string_view id;
  std::span<const size_t> wanted;  // In Servable::outputs().
  std::span<ResponseOutput> outputs;
  // The block that was lent for it; 0: none.
  uint64_t lent = 0;
};

// Bytes on their way to the segment.
struct ChannelCopy {
  std::span<std::byte> to;
  std::span<const std::byte> from;
};
void Make(std::span<const ChannelCopy> copies);
size_t BytesOf(std::span<const ChannelCopy> copies);

class ResponseHeap {
 public:
  // `segment` is whole, and outlives this.
  explicit ResponseHeap(std::span<std::byte> segment);

  // False without room, and nothing has changed. `copies` are then still to be made. A lent block
  // becomes the response's.
  [[nodiscard]] bool PlaceResponse(const SaidResponse& said, Descriptor* out,
                                   std::vector<ChannelCopy>* copies);
  [[nodiscard]] bool PlaceMessage(const ChannelMessage& message, Descriptor* out);
  // Without room there is no text.
  void PlaceText(std::string_view text, Descriptor* out);

  // Room for a response whose outputs are known beforehand, written to `places` (one for each of
  // the engine's outputs, without owners): the block, or 0 if that is not so, not worth it, or
  // there is no room.
  uint64_t Lend(const Servable& servable, std::string_view id, std::span<const size_t> wanted,
                int64_t rows, std::vector<OutputPlace>* places);

  // False when no block in use begins there.
  [[nodiscard]] bool Free(uint64_t offset);

  // Whether that many bytes of outputs could ever be placed.
  bool CouldHold(size_t bytes) const;
  size_t bytes_in_use() const { return heap_.bytes_in_use(); }
  size_t bytes() const { return layout_.server_heap.bytes; }

 private:
  std::optional<uint64_t> Allocate(size_t bytes);
  bool IsAlias(std::span<const std::byte> bytes) const;
  bool LiesIn(uint64_t block, std::span<const std::byte> bytes) const;
  void BeginMessage(const Servable& servable, std::string_view id);

  const std::span<std::byte> segment_;
  const ChannelLayout layout_;
  BuddyHeap heap_;
  ChannelMessage message_;  // Scratch, for the capacity.
};

}  // namespace fastserve
