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
// Threads: all from any thread. In a child of fork() everything answers FAILED_PRECONDITION, or
// nothing.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/annotations.h"
#include "base/clock.h"
#include "base/status.h"
#include "channel/channel_socket.h"
#include "channel/client/channel_call.h"
#include "channel/client/client_channel.h"
#include "channel/handshake.h"
#include "channel/owned_fd.h"

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

class ChannelClient {
 public:
  // Errors: those of ConnectToChannel and ReceiveWelcome; PERMISSION_DENIED for a server of
  // somebody else's; RESOURCE_EXHAUSTED for want of memory, descriptors or threads.
  static Result<std::shared_ptr<ChannelClient>> Connect(const std::string& address,
                                                        const ChannelClientOptions& options);
  // Closes it. Calls and responses may stay.
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
  // (ChannelCall::Watch). Then TakeReady: the calls, by their tags, that have news, each once for
  // all that came since. Open as long as this.
  int fd() const { return channel_->fd(); }
  std::vector<uint64_t> TakeReady() { return channel_->TakeReady(); }

  // Ends what is under way with UNAVAILABLE, and lets the server go. What was received stays good.
  void Close() FS_EXCLUDES(closing_);

  bool is_open() const { return channel_->is_open(); }
  pid_t server_pid() const { return server_.pid; }
  size_t segment_bytes() const { return channel_->segment().size(); }
  // Of the client's half.
  size_t bytes_in_use() const;

 private:
  ChannelClient(OwnedFd socket, ChannelPeer server, std::shared_ptr<ClientChannel> channel)
      : server_(server), channel_(std::move(channel)), socket_(std::move(socket)) {}
  Status StartWatching();
  static void* Main(void* self);
  void WatchServer();
  bool IsServerThere() const;

  const ChannelPeer server_;
  const std::shared_ptr<ClientChannel> channel_;
  // The thread's, until it is joined.
  OwnedFd socket_;
  std::atomic<bool> is_closing_{false};
  Mutex closing_;
  pthread_t thread_ FS_GUARDED_BY(closing_){};
  bool has_thread_ FS_GUARDED_BY(closing_) = false;
};

}  // namespace fastserve
