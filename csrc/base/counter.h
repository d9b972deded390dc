// Counter and Histogram: what the data plane counts instead of logging.
//
// Writers add with relaxed atomics; a reader sees each cell exactly, but cells that belong together
// may be a few events apart. That is what Prometheus expects of a scrape.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace fastserve {

class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  // For one writer at a time, the next of which knows that the last has finished: readers see what
  // they see of Add, and it is not locked.
  void AddAlone(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void Add(uint64_t n, bool is_alone) { is_alone ? AddAlone(n) : Add(n); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// A histogram of durations with bucket limits 1 us * 2^k, k = 0..24 (1 us to about 16.8 s), and one
// bucket above. Powers of two make the bucket one instruction away; they resolve a median to a
// factor of two, which is what an alert needs (a benchmark measures at the client).
class alignas(64) DurationHistogram {
 public:
  static constexpr size_t kBuckets = 26;

  // The upper limit of bucket `index`, inclusive; the last bucket has none.
  static constexpr Nanos UpperLimit(size_t index) { return kMicrosecond << index; }

  // `is_alone`: see Counter::AddAlone.
  void Record(Nanos duration, bool is_alone = false) {
    const uint64_t ns = duration < 0 ? 0 : static_cast<uint64_t>(duration);
    buckets_[BucketOf(ns)].Add(1, is_alone);
    sum_ns_.Add(ns, is_alone);
  }

  uint64_t bucket(size_t index) const { return buckets_[index].value(); }
  uint64_t sum_ns() const { return sum_ns_.value(); }
  uint64_t count() const {
    uint64_t total = 0;
    for (const Counter& bucket : buckets_) total += bucket.value();
    return total;
  }

 private:
  static size_t BucketOf(uint64_t ns) {
    if (ns <= kMicrosecond) return 0;
    const size_t index = std::bit_width((ns - 1) / kMicrosecond);
    return index < kBuckets ? index : kBuckets - 1;
  }

  // In one cache line with the buckets up to 64 us, which a quick model needs with each request.
  Counter sum_ns_;
  std::array<Counter, kBuckets> buckets_;
};

}  // namespace fastserve
