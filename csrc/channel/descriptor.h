// Descriptor: what two processes say to each other over a channel: a request, a response, or that
// one is over; 64 bytes, of which names and tensors are no part.
//
// What it refers to lies in the segment that both have (memory/sealed_segment.h): a message
// (channel/message.h), and the tensors that the message refers to. Whoever takes a descriptor from
// a ring has a copy of his own; of what he reads in the segment he makes one before he checks it.
//
// Threads: a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace fastserve {

enum class DescriptorKind : uint32_t {
  kNone = 0,  // Said by nobody.
  // Client to server.
  kInfer = 1,     // A request with one response: its message is at `offset`, of `bytes`.
  kDescribe = 2,  // What the model takes and gives is asked: the same.
  kCancel = 3,    // Nobody waits for `request` any more.
  kRelease = 4,   // What came at `offset` is read, and whatever lies with it.
  kStream = 5,    // As kInfer, with any number of responses.
  // Server to client.
  kResponse =
      16,      // A response of `request`, its message at `offset`; not the last thing said of it.
  kLast = 17,  // A response, and that it is the last, with OK.
  kEnd = 18,   // The end without one: `code`, and the error's text at `offset`, of `bytes`.
};

// In the byte order of the machine, which both are on. What is said to be in the segment is given
// as an offset from its beginning; where `bytes` is 0 there is nothing.
struct alignas(64) Descriptor {
  DescriptorKind kind;
  uint32_t code;     // gRPC's canonical codes.
  uint64_t request;  // The client's number for it: see kChannelSlots.
  uint64_t offset;
  uint64_t bytes;
  int64_t deadline_ns;  // Of CLOCK_MONOTONIC, which all processes of a machine share; kNever.
  uint64_t spare[3];    // Zeros.
};
static_assert(sizeof(Descriptor) == 64, "two builds must agree on the layout");
static_assert(offsetof(Descriptor, request) == 8 && offsetof(Descriptor, deadline_ns) == 32);
static_assert(std::is_trivially_copyable_v<Descriptor>);

}  // namespace fastserve
