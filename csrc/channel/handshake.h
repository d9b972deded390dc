// The hand-shake of a channel, over a socket of AF_UNIX and SOCK_SEQPACKET:
//
//   client   connects; sends a Hello
//   server   answers a Welcome, with two descriptors: the segment (a sealed memfd), and the eventfd
//            that it signals when the client watches
//
// After that nothing is sent. The socket stays open: the end of it is how each side learns that the
// other one is gone.
//
// Threads: none; of SendWelcome and the like, one at a time for a socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "channel/owned_fd.h"

namespace fastserve {

struct Hello {
  uint64_t segment_bytes;  // Wanted.
};

struct Welcome {
  uint64_t segment_bytes = 0;
  OwnedFd segment;
  OwnedFd event_fd;
};

// The socket may block. Errors: UNAVAILABLE when the server is gone, or took too long
// (SO_RCVTIMEO); INTERNAL for an answer that is none; and the error that the server answered.
Status SendHello(int socket, const Hello& hello);
Result<Welcome> ReceiveWelcome(int socket);

// The socket does not block. Errors: UNAVAILABLE when nothing came (yet); INVALID_ARGUMENT for what
// is no Hello; FAILED_PRECONDITION for one of another version of the channel.
Result<Hello> ReceiveHello(int socket);
// The descriptors stay the caller's. Errors: UNAVAILABLE when the client is gone.
Status SendWelcome(int socket, uint64_t segment_bytes, int segment_fd, int event_fd);
// Why there will be no channel; best effort.
void SendRefusal(int socket, const Status& status);

}  // namespace fastserve
