// Peer: who is at the other end of a connection, as far as the system knows.
//
// Threads: a value.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace fastserve {

struct Peer {
  std::string address;  // "unix" for a socket without addresses; "" when nobody asked.
  int port = -1;        // Of an IP address.
  int64_t uid = -1;     // The user of a program on a Unix socket; -1 when that is not known.

  bool is_client() const { return port >= 0; }  // Of those that are counted.
  std::string Text() const { return is_client() ? StrCat(address, ":", port) : address; }
};

}  // namespace fastserve
