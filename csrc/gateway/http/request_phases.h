// RequestPhases: where the time of one request went, for its access record and for its client.
//
// Threads: none.
#pragma once

#include <array>
#include <string_view>

#include "base/clock.h"
#include "gateway/exchange.h"

namespace fastserve {

// In the order in which they happen, none overlapping another; kNotReached for what did not happen.
struct RequestPhases {
  static constexpr Nanos kNotReached = -1;

  Nanos receive = kNotReached;  // First byte to last byte.
  Nanos queue = kNotReached;    // Submitted, to taken by an instance.
  Nanos stage = kNotReached;    // To inputs that are where the engine reads them.
  Nanos run = kNotReached;      // The engine alone.
  Nanos finish = kNotReached;   // To this request's share of the outputs.
  Nanos send = kNotReached;     // To now: the way back to the loop, encoding, the socket.
};

// Of an exchange that the scheduler has only what came before that is known.
RequestPhases PhasesOf(const Exchange& exchange, Nanos now);

// The value of a Server-Timing field (W3C Server Timing): "receive;dur=0.012, queue;dur=0.100", in
// milliseconds. A view of `storage`.
using ServerTimingStorage = std::array<char, 256>;
std::string_view FormatServerTiming(const RequestPhases& phases, ServerTimingStorage& storage);

}  // namespace fastserve
