// ChannelCall: one request over a channel and what comes back; may be sent again once it is over.
//
//   call->AddInput(...); call->Want(...);        // once
//   call->Send(deadline); call->Next(until);     // any number of times
//
// The message and the inputs are blocks of the segment, which stay the call's: to send it again
// with other values, write to the same bytes. A response whose outputs are the very bytes of an
// input (identity answers so) changes with them.
//
// Dropped while it is under way it is cancelled; its blocks are given back when the server has said
// that it is over.
//
// Threads: one at a time, but for Cancel, which may come from any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "channel/message.h"
#include "tensor/buffer.h"

namespace fastserve {

// Views of `text`; the bytes of `message.tensors` are in the segment.
struct ChannelResponse {
  std::vector<std::byte> text;  // A copy: what `message` is a view of.
  ChannelMessage message;
  // Of each tensor. Each has its own reference to what keeps the bytes: an input of the call, or
  // the block that the response came in. They may be kept as long as one likes.
  struct Output {
    std::span<std::byte> bytes;
    BufferRef owner;
  };
  std::vector<Output> outputs;
};

struct ChannelDescription {
  std::vector<std::byte> text;  // A copy: what `message` is a view of.
  ChannelMessage message;
};

// Bytes in the segment, to be written to.
struct ChannelBytes {
  std::span<std::byte> bytes;
  BufferRef owner;  // The call has another reference.
};

class ChannelCall {
 public:
  virtual ~ChannelCall() = default;

  // Errors of these: FAILED_PRECONDITION while it is under way; RESOURCE_EXHAUSTED when the
  // segment's half has no room; INVALID_ARGUMENT for what no message can say; UNAVAILABLE when the
  // channel is closed.
  //
  // Memory for an input, 64-byte aligned. An input of that name that is there already is replaced.
  virtual Result<ChannelBytes> AddInput(std::string_view name, DataType type,
                                        const Shape& shape) = 0;
  // The same for a tensor whose size its shape does not say (BYTES).
  virtual Result<ChannelBytes> AddInput(std::string_view name, DataType type, const Shape& shape,
                                        size_t bytes) = 0;
  // An output that is wanted; all of them unless one is.
  virtual Status Want(std::string_view output) = 0;

  // Hands it over. `deadline` is a point in time of NowNanos; kNever: none. Errors: also
  // RESOURCE_EXHAUSTED when kChannelSlots are under way.
  virtual Status Send(Nanos deadline) = 0;

  // The next response; nothing when there are no more and it ended well. Waits until `until`.
  // Errors: what it ended with; DEADLINE_EXCEEDED when nothing came until then (it goes on);
  // FAILED_PRECONDITION when it was not sent.
  virtual Result<std::optional<ChannelResponse>> Next(Nanos until) = 0;

  // For an event loop: from now on, until it is over, ChannelClient::fd() tells when Next would not
  // wait, and TakeReady gives `tag`. True: it would not wait now.
  virtual bool Watch(uint64_t tag) = 0;

  // It ends with CANCELLED unless it is over. Never waits.
  virtual void Cancel() = 0;

  virtual bool is_under_way() const = 0;
};

}  // namespace fastserve
