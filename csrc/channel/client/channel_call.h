// ChannelCall: one request over a channel and what comes back; may be sent again once it is over.
//
//   call->AddInput(...); call->Want(...);        // once
//   call->Send(deadline); call->Next(until);     // any number of times
//
// The message and the inputs are blocks of the segment, which stay the call's: to send it again
// with other values, write to the same bytes. A response whose outputs are the very bytes of an
// input (identity answers so) changes with them.
//
// It is over when the server has said so, which Next need not have been asked about. To send it
// again, or to change it, then drops the responses that nobody took.
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
#include "channel/client/call_state.h"
#include "channel/client/channel_response.h"
#include "channel/client/client_channel.h"
#include "channel/message.h"
#include "tensor/buffer.h"

namespace fastserve {

// Bytes in the segment, to be written to.
struct ChannelBytes {
  std::span<std::byte> bytes;
  BufferRef owner;  // The call has another reference.
};

class ChannelCall {
 public:
  ~ChannelCall();
  ChannelCall(const ChannelCall&) = delete;
  ChannelCall& operator=(const ChannelCall&) = delete;

  // Errors of these: FAILED_PRECONDITION while it is under way; RESOURCE_EXHAUSTED when the
  // segment's half has no room; INVALID_ARGUMENT for what no message can say; UNAVAILABLE when the
  // channel is closed.
  //
  // Memory for an input, 64-byte aligned. An input of that name that is there already is replaced.
  Result<ChannelBytes> AddInput(std::string_view name, DataType type, const Shape& shape);
  // The same for a tensor whose size its shape does not say (BYTES).
  Result<ChannelBytes> AddInput(std::string_view name, DataType type, const Shape& shape,
                                size_t bytes);
  // An output that is wanted; all of them unless one is.
  Status Want(std::string_view output);

  // Hands it over, for one response. `deadline` is a point in time of NowNanos; kNever: none.
  // Errors: also RESOURCE_EXHAUSTED when kChannelSlots are under way.
  Status Send(Nanos deadline);
  // The same, for any number of responses.
  Status Stream(Nanos deadline);

  // The next response; nothing when there are no more and it ended well. Waits until `until`.
  // Errors: what it ended with; DEADLINE_EXCEEDED when nothing came until then (it goes on);
  // FAILED_PRECONDITION when it was not sent; INTERNAL for a response that makes no sense.
  Result<std::optional<ChannelResponse>> Next(Nanos until);

  // For an event loop: from now on, until it is over, ChannelClient::fd() tells when Next would not
  // wait, and TakeReady gives `tag`. True: it would not wait now. Then, and when told, take all
  // that is there (Next(0) until it says DEADLINE_EXCEEDED, or it is over).
  bool Watch(uint64_t tag);

  // It ends with CANCELLED unless it is over. Never waits.
  void Cancel();

  bool is_under_way() const;

 private:
  friend class ChannelClient;
  static Result<std::shared_ptr<ChannelCall>> Create(std::shared_ptr<ClientChannel> channel,
                                                     std::string_view model,
                                                     std::string_view version, std::string_view id);
  ChannelCall(std::shared_ptr<ClientChannel> channel, std::string_view model,
              std::string_view version, std::string_view id);
  Status BeginChange();
  Status SendAs(DescriptorKind kind, Nanos deadline);
  Status WriteOut();
  // What the model takes and gives: the call has no inputs.
  Result<ChannelDescription> Describe(Nanos deadline);

  const std::shared_ptr<ClientChannel> channel_;
  const std::shared_ptr<CallState> state_;
  const std::string model_;
  const std::string version_;
  const std::string id_;
  std::vector<std::string> wanted_;
  ChannelMessage message_;   // What was written last, with the capacity.
  bool is_written_ = false;  // The block has what the call says now.
  bool was_sent_ = false;
  Status broken_;  // Why nothing more can be said of it.
};

}  // namespace fastserve
