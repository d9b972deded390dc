// DeadlineList: the exchanges that are with the scheduler and have a deadline.
//
// Few requests have one, and of those few pass it: so joining and leaving are a few instructions,
// and looking for the late ones walks a compact array, which happens at most once a millisecond.
//
// Threads: confined to the event loop's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "gateway/exchange.h"

namespace fastserve {

class DeadlineList {
 public:
  struct Entry {
    Nanos deadline_ns;
    Exchange* exchange;
  };

  void Add(Exchange* exchange, Nanos deadline_ns) {
    entries_.push_back({deadline_ns, exchange});
    exchange->deadline_index = entries_.size() - 1;
  }

  // Nothing happens to one that is not in the list.
  void Remove(Exchange* exchange) noexcept {
    const size_t index = std::exchange(exchange->deadline_index, Exchange::kNoDeadline);
    if (index == Exchange::kNoDeadline) return;
    if (index + 1 < entries_.size()) {
      entries_[index] = entries_.back();
      entries_[index].exchange->deadline_index = index;
    }
    entries_.pop_back();
  }

  Nanos DeadlineOf(const Exchange& exchange) const {
    const size_t index = exchange.deadline_index;
    return index == Exchange::kNoDeadline ? kNever : entries_[index].deadline_ns;
  }

  // The earliest deadline; kNever without one.
  Nanos Earliest() const {
    Nanos earliest = kNever;
    for (const Entry& entry : entries_) earliest = std::min(earliest, entry.deadline_ns);
    return earliest;
  }

  size_t size() const { return entries_.size(); }
  // In no order. An exchange that leaves makes another one change its place.
  const Entry& operator[](size_t index) const { return entries_[index]; }

 private:
  std::vector<Entry> entries_;
};

}  // namespace fastserve
