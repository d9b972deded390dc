// ClientCounts: how many connections each client has, so that one cannot take them all.
//
// A client is an address. (Behind a proxy all are one: the limit is off unless it is asked for.)
// There are entries for open connections alone, so the map is as bounded as those are.
//
// Threads: confined to the event loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "base/check.h"

namespace fastserve {

class ClientCounts {
 public:
  enum class Verdict : uint8_t {
    kUncounted,  // There is no limit, or none for this one.
    kWelcome,
    kRefused,  // To be told so.
    kIgnored,  // As many as may be open are being told so already.
  };

  explicit ClientCounts(size_t connections_max) : connections_max_(connections_max) {}

  // A connection comes. "" is nobody: such a one is not counted.
  Verdict Enter(const std::string& client) {
    if (connections_max_ == 0 || client.empty()) return Verdict::kUncounted;
    Entry& entry = entries_[client];
    if (entry.open < connections_max_) {
      ++entry.open;
      return Verdict::kWelcome;
    }
    if (entry.refused == connections_max_) return Verdict::kIgnored;
    ++entry.refused;
    return Verdict::kRefused;
  }

  // It goes; `verdict` is what Enter said.
  void Leave(const std::string& client, Verdict verdict) noexcept {
    if (verdict != Verdict::kWelcome && verdict != Verdict::kRefused) return;
    const auto found = entries_.find(client);
    FS_CHECK(found != entries_.end());
    Entry& entry = found->second;
    --(verdict == Verdict::kWelcome ? entry.open : entry.refused);
    if (entry.open + entry.refused == 0) entries_.erase(found);
  }

  size_t clients() const { return entries_.size(); }

 private:
  struct Entry {
    size_t open = 0;
    size_t refused = 0;
  };

  const size_t connections_max_;
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace fastserve
