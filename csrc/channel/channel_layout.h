// What lies where in the segment that a client and a server share.
//
//   ChannelHead       doorbells and rings
//   the client's heap   requests' messages and inputs: the client alone hands out its blocks
//   the server's heap   responses' messages and outputs: the server alone hands out its blocks
//
// Both sides work this out of the segment's size for themselves; neither believes a number that
// stands in it. The books of the heaps are private to whoever hands out.
//
// Threads: pure.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"
#include "channel/descriptor.h"
#include "sync/doorbell.h"
#include "sync/spsc_ring.h"

namespace fastserve {

// Goes up with each change of what two builds must agree on: the layout, the descriptors, the
// messages, or the hand-shake.
inline constexpr uint32_t kChannelVersion = 1;

// So many requests of a client may be under way. The number that it gives to one is a slot (the
// remainder of a division by this), which no other has that is not over, and a count above that.
inline constexpr uint32_t kChannelSlots = 1024;

using DescriptorRing = SpscRing<Descriptor, kChannelSlots>;

// The server makes it, in a segment of zeros, before the client has it.
struct ChannelHead {
  alignas(64) Doorbell server;  // Where the server sleeps,
  alignas(64) Doorbell client;  // and the client.
  alignas(64) DescriptorRing requests;
  alignas(64) DescriptorRing responses;
};
static_assert(offsetof(ChannelHead, client) == 64 && offsetof(ChannelHead, requests) == 128,
              "two builds must agree on the layout");

// A part of the segment.
struct ChannelPart {
  size_t begin = 0;
  size_t bytes = 0;

  // Whether `count` bytes from `offset` of the segment on lie in it; no bytes do if `offset` does.
  bool Contains(uint64_t offset, uint64_t count) const {
    return offset >= begin && offset - begin <= bytes && count <= bytes - (offset - begin);
  }
};

struct ChannelLayout {
  static constexpr size_t kPageBytes = 4096;
  static constexpr size_t kHeadBytes =
      (sizeof(ChannelHead) + kPageBytes - 1) / kPageBytes * kPageBytes;
  // 64 KiB for each side; 64 GiB.
  static constexpr size_t kSegmentBytesMin = kHeadBytes + (size_t{128} << 10);
  static constexpr size_t kSegmentBytesMax = size_t{64} << 30;
  // What tensors' offsets are multiples of.
  static constexpr size_t kAlignment = 64;

  ChannelPart client_heap;
  ChannelPart server_heap;

  // `segment_bytes` is within the limits above; it is divided in equal parts, of whole pages.
  static ChannelLayout For(size_t segment_bytes) {
    const size_t half = (segment_bytes - kHeadBytes) / 2 / kPageBytes * kPageBytes;
    return {.client_heap = {kHeadBytes, half}, .server_heap = {kHeadBytes + half, half}};
  }
};

}  // namespace fastserve
