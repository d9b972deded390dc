// AccessLog: what is remembered of each request, or of those that are traced, until the control
// plane fetches it.
//
// Bounded: when nobody fetches in time, the oldest records go and are counted.
//
// Threads: confined to the event loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/counter.h"
#include "base/status.h"

namespace fastserve {

struct AccessRecord {
  int64_t time_ns = 0;  // Of CLOCK_REALTIME, when the answer was handed to the socket.
  std::string peer;
  std::string method;
  std::string path;
  int status = 0;
  std::optional<Code> grpc_code;  // How an RPC ended; nothing for other requests.
  std::string model;              // Empty for a control request, as are version and id.
  std::string version;
  std::string id;
  uint64_t bytes_in = 0;  // Head and body.
  uint64_t bytes_out = 0;
  int64_t batch_rows = 0;  // 0 when it never ran.
  // The phases in order, none overlapping another; 0 for one that did not happen.
  Nanos receive = 0;  // First byte to last byte.
  Nanos queue = 0;
  Nanos stage = 0;
  Nanos run = 0;
  Nanos finish = 0;
  Nanos send = 0;   // To handed to the socket.
  Nanos total = 0;  // First byte to handed to the socket: no less than all phases together.
};

class Exchange;

// Of an answer of `bytes_out` bytes that was handed to the socket just now; `exchange` may be null.
AccessRecord RecordOf(const Exchange* exchange, std::string peer, int status, uint64_t bytes_out);

class AccessLog {
 public:
  // Some seconds of a busy server.
  static constexpr size_t kRecordsMax = 65'536;

  // `dropped` counts what nobody fetched.
  AccessLog(bool enabled, Counter& dropped) : enabled_(enabled), dropped_(dropped) {}

  bool enabled() const { return enabled_; }

  void Add(AccessRecord record) {
    if (records_.size() == kRecordsMax) {
      records_.pop_front();
      dropped_.Add();
    }
    records_.push_back(std::move(record));
  }

  std::deque<AccessRecord> Take() { return std::exchange(records_, {}); }

 private:
  const bool enabled_;
  Counter& dropped_;
  std::deque<AccessRecord> records_;
};

}  // namespace fastserve
