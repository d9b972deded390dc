// ChannelListener: the server's end of the channels of clients on this machine: takes them in, and
// sees them go.
//
//   Result<std::unique_ptr<ChannelListener>> listener =
//       ChannelListener::Start(serving_map, {.address = "@fastserve-8000"});
//   ...
//   (*listener)->BeginDrain();                 // no new clients or requests
//   ... until in_flight() == 0, or as long as one likes ...
//   (*listener)->Stop();
//
// It has one thread, that waits for clients and for their ends, and each client has another one,
// which serves it (ChannelSession).
//
// A client may be in when its user is the server's or root; over a socket with a path, when the
// file system lets it. What it did not release when it goes is released then.
//
// Threads: all from any thread; Stop and the destructor from one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/channel/channel_stats.h"
#include "serving/serving_map.h"

namespace fastserve {

struct ChannelListenerOptions {
  std::string address;  // See channel/channel_socket.h.
  size_t clients_max = 64;
  // Of one client's segment; what a client wants beyond it is cut to it.
  size_t segment_bytes_max = size_t{1} << 30;
  // How long a client's thread looks for its next request before sleeping, while that pays; 0:
  // never.
  Nanos spin = 50 * kMicrosecond;
  // Models are still being loaded: one that is not there is not unknown but UNAVAILABLE, until
  // EndLoading.
  bool is_loading = false;
};

class ChannelListener {
 public:
  // Errors: those of ListenOnChannel; RESOURCE_EXHAUSTED for want of descriptors or threads;
  // INVALID_ARGUMENT for a limit beyond ChannelLayout's.
  static Result<std::unique_ptr<ChannelListener>> Start(std::shared_ptr<ServingMap> serving_map,
                                                        const ChannelListenerOptions& options);
  ~ChannelListener();
  ChannelListener(const ChannelListener&) = delete;
  ChannelListener& operator=(const ChannelListener&) = delete;

  void EndLoading();
  // From now on clients are refused, and requests answered with UNAVAILABLE; what is under way goes
  // on. The address is free for another server.
  void BeginDrain();
  // Requests that are not answered yet.
  size_t in_flight() const;
  // Ends all sessions: what is under way is cancelled and nobody is told. Waits for the sessions'
  // threads, not for engines: what still runs keeps what it needs.
  void Stop();

  const ChannelStats& stats() const;

 private:
  class Impl;
  explicit ChannelListener(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace fastserve
