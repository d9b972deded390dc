// DebugSnapshot: what is in flight in a gateway and where it stands, for the person who asks why
// nothing moves. Requests pay nothing for it: it is gathered when it is asked for.
//
// Threads: a value.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace fastserve {

// In the order of Connection's states.
inline constexpr std::array<std::string_view, 6> kConnectionStateNames = {
    "idle", "head", "body", "busy", "lingering", "closed"};

struct InFlightRequest {
  std::string model;  // Empty for a control request, as are version and id.
  std::string version;
  std::string id;
  std::string peer;
  std::string_view phase;      // "receive", "model" (it waits or runs) or "control".
  Nanos age = 0;               // Since its first byte.
  Nanos deadline_ns = kNever;  // When it is answered with 504.
  size_t body_bytes = 0;       // Received so far.
};

struct DebugSnapshot {
  std::vector<InFlightRequest> in_flight;  // The oldest ones, oldest first.
  size_t abandoned = 0;  // With the scheduler, but nobody waits for them any more.
  std::array<size_t, kConnectionStateNames.size()> connections_by_state{};
};

}  // namespace fastserve
