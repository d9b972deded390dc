// ChannelClient: a client's end of one channel: many requests at once, from any threads.
//
//   Result<std::shared_ptr<ChannelClient>> client = ChannelClient::Connect("@fastserve-8000", {});
//   Result<std::shared_ptr<ChannelCall>> call = (*client)->NewCall("digits", "", "");
//   (*call)->AddInput("image", DataType::kFp32, Shape({1, 784}));    // bytes in the segment
//   ... write them ...
//   (*call)->Send(deadline);
//   Result<std::optional<ChannelResponse>> response = (*call)->Next(kNever);
//
// It has one thread of its own, that sleeps until the server is gone. Responses are taken by
// whoever waits for one: the first to wait leads, and takes those of the others as well, who sleep
// until theirs is there or it is their turn to lead. An event loop does not wait: it watches fd().
//
// When the server goes, all that is under way ends with UNAVAILABLE, and so does whatever is begun
// afterwards: a new channel is a new ChannelClient.
//
// Threads: all from any thread. In a child of fork() everything answers FAILED_PRECONDITION.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "channel/channel_call.h"

namespace fastserve {

struct ChannelClientOptions {
  // Half of it for requests, half for responses; the server may have a lower limit.
  size_t segment_bytes = size_t{64} << 20;
  Nanos connect_timeout = 5 * kSecond;
  // How long to look for a response before sleeping, while that pays (AdaptiveSpin); 0: never.
  Nanos spin = 50 * kMicrosecond;
  // Whose server it may be, other than one's own and root's.
  std::optional<uid_t> server_user;
};

class ChannelClient : public std::enable_shared_from_this<ChannelClient> {
 public:
  // Errors: those of ConnectToChannel and ReceiveWelcome; PERMISSION_DENIED for a server of
  // somebody else's; RESOURCE_EXHAUSTED for want of memory, descriptors or threads.
  static Result<std::shared_ptr<ChannelClient>> Connect(const std::string& address,
                                                        const ChannelClientOptions& options);
  ~ChannelClient();
  ChannelClient(const ChannelClient&) = delete;
  ChannelClient& operator=(const ChannelClient&) = delete;

  // A request to a model, to be filled. Errors: INVALID_ARGUMENT for a text that is too long.
  Result<std::shared_ptr<ChannelCall>> NewCall(std::string_view model, std::string_view version,
                                               std::string_view id);

  // What the model takes and gives: its inputs, then its outputs (ChannelTensor::kOutput). Errors:
  // NOT_FOUND; DEADLINE_EXCEEDED; UNAVAILABLE.
  Result<ChannelDescription> Describe(std::string_view model, std::string_view version,
                                      Nanos deadline);

  // For an event loop: readable when something came for a call that was watched
  // (ChannelCall::Watch). Then TakeReady: the calls, by their tags, that have news.
  int fd() const;
  std::vector<uint64_t> TakeReady();

  // Ends what is under way with UNAVAILABLE, and lets the server go. What was received stays good.
  void Close();

  bool is_open() const;
  pid_t server_pid() const;
  size_t segment_bytes() const;
  // Of the client's half.
  size_t bytes_in_use() const;
};

}  // namespace fastserve
