// ChannelStats: what is counted of the clients over shared memory. Python reads it for /metrics.
//
// Threads: all members may be written and read from any thread (base/counter.h).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/counter.h"
#include "base/status.h"

namespace fastserve {

struct ChannelStats {
  static constexpr size_t kCodes = static_cast<size_t>(Code::kUnauthenticated) + 1;

  Counter clients_opened;
  Counter clients_closed;
  Counter clients_refused;
  Counter requests;                  // Inferences and descriptions.
  Counter responses;                 // Of streams each one.
  std::array<Counter, kCodes> ends;  // Of requests, by gRPC's code.
  // Sessions that were ended for what their client wrote, or for want of memory.
  Counter violations;
  std::atomic<size_t> clients{0};        // Now.
  std::atomic<size_t> in_flight{0};      // Requests that are not answered yet.
  std::atomic<size_t> segment_bytes{0};  // Of all clients' segments.
};

}  // namespace fastserve
