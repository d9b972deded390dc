// GatewayStats: what is counted of connections and requests, whatever they asked for.
//
// Threads: written by the event loop's thread, read from any (base/counter.h).
#pragma once

#include <array>
#include <cstddef>

#include "base/counter.h"

namespace fastserve {

struct GatewayStats {
  static constexpr size_t kStatusMax = 599;

  Counter requests;  // Heads that were complete and well-formed.
  Counter connections_opened;
  Counter connections_closed;
  Counter bytes_in;
  Counter bytes_out;
  Counter access_records_dropped;
  std::array<Counter, kStatusMax + 1> responses;  // By HTTP status.
};

}  // namespace fastserve
