// GatewayStats: what is counted of connections and requests, whatever they asked for.
//
// Threads: written by the event loop's thread, read from any (base/counter.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/counter.h"

namespace fastserve {

// Why a connection ended: the first reason that there was.
enum class ConnectionEnd : uint8_t {
  kClient,         // The client left, or asked for the end (Connection: close, HTTP/1.0).
  kIdle,           // It had no request for too long.
  kHeadTimeout,    // A head took too long.
  kBodyTimeout,    // A body stalled.
  kProtocolError,  // What was received is no HTTP that is accepted here.
  kLimit,          // Too many connections, or a body that is too large for what is free.
  kDrain,          // The server drains.
  kWriteStalled,   // The client does not read its answer.
  kError,          // The socket, or the memory of the server, failed.
  kKeepalive,      // The client did not answer when it was asked whether it is there.
  kAge,            // It was open for as long as connections may be.
};
inline constexpr std::array<std::string_view, 11> kConnectionEndNames = {
    "client",        "idle",  "head_timeout", "body_timeout", "protocol_error", "limit", "drain",
    "write_stalled", "error", "keepalive",    "age"};

struct GatewayStats {
  static constexpr size_t kStatusMax = 599;

  Counter requests;  // Heads that were complete and well-formed.
  Counter connections_opened;
  Counter connections_closed;
  std::array<Counter, kConnectionEndNames.size()> closes;  // Together connections_closed.
  Counter rejected_per_client;  // Connections of clients that had as many as they may.
  // Requests that were answered with 504 while the model ran: the result went to nobody.
  Counter results_dropped;
  Counter bytes_in;
  Counter bytes_out;
  Counter access_records_dropped;
  Counter trace_records_dropped;
  std::array<Counter, kStatusMax + 1> responses;  // By HTTP status.
  std::array<Counter, 17> grpc_responses;         // By code.
  Counter http2_connections;
  Counter http2_floods;  // Connections that ended because they did what is of no use too often.
};

}  // namespace fastserve
