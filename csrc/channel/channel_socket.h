// Where a channel's server is found: a Unix socket, by a path or by an abstract name.
//
//   "/run/fastserve/shm.sock"     a file: its permissions say who may connect, and until somebody
//                                 changes them, its user alone
//   "@fastserve-8000"             no file, so nothing can stay behind; one's own user, and root,
//                                 alone
//
// Threads: any.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "channel/owned_fd.h"

namespace fastserve {

// Errors of both: INVALID_ARGUMENT for a text that is no address, too long, or has a NUL in it.

// Bound and listening, not blocking; a file that nobody listens on any more makes room. Errors:
// also ALREADY_EXISTS when somebody listens there; PERMISSION_DENIED, NOT_FOUND, RESOURCE_EXHAUSTED
// as the system says.
Result<OwnedFd> ListenOnChannel(const std::string& address);

// Connected; it blocks, and gives up reading after `timeout`. Errors: also UNAVAILABLE when nobody
// listens there; PERMISSION_DENIED.
Result<OwnedFd> ConnectToChannel(const std::string& address, Nanos timeout);

struct ChannelPeer {
  pid_t pid = 0;
  uid_t uid = 0;
};
// Who is at the other end, by the kernel (SO_PEERCRED); nothing if it does not tell.
std::optional<ChannelPeer> PeerOfChannel(int socket);

bool IsAbstract(std::string_view address);

}  // namespace fastserve
