// What comes back over a channel, read out of the segment: responses, and what models take and
// give.
//
// Whatever the server wrote is copied and then checked. Errors are the server's, so INTERNAL.
// Threads: values; the functions from any thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/status.h"
#include "channel/client/call_state.h"
#include "channel/client/client_segment.h"
#include "channel/message.h"
#include "tensor/buffer.h"

namespace fastserve {

// A message, with the copy that it is a view of. It moves only: a copy's views would be of the
// original.
struct OwnedMessage {
  OwnedMessage() = default;
  OwnedMessage(OwnedMessage&&) = default;
  OwnedMessage& operator=(OwnedMessage&&) = default;

  std::vector<std::byte> text;
  ChannelMessage message;
};

// The bytes of `message.tensors` are in the segment.
struct ChannelResponse : OwnedMessage {
  // Of each tensor. Each has its own reference to what keeps the bytes: an input of the call, or
  // the block that the response came in. They may be kept as long as one likes.
  struct Output {
    std::span<std::byte> bytes;
    BufferRef owner;
  };
  std::vector<Output> outputs;
};

struct ChannelDescription : OwnedMessage {};

// `inputs` are those of the call. The block goes back when no output lies in it any more, at the
// latest. Errors: INTERNAL; RESOURCE_EXHAUSTED without memory to note what was lent.
Status ReadResponse(ClientSegment& segment, const CallState::Arrived& arrived,
                    std::span<const CallState::Input> inputs, ChannelResponse* out);
// The block goes back at once.
Status ReadDescription(ClientSegment& segment, const CallState::Arrived& arrived,
                       ChannelDescription* out);

}  // namespace fastserve
