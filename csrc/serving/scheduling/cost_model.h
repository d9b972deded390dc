// CostModel: what a run of a model costs, learned from the runs themselves.
//
// The caller-runs rule asks: is a run of this size so short that the thread which holds the
// requests had better do it itself? Admission by deadline asks what a run will most likely take. A
// run's size is its input bytes (rows and free dimensions both count); sizes are kept apart by
// powers of two, and each remembers its last 32 runs. The 90th percentile of a window forgives
// three outliers in 32 (a preempted run says nothing of the model) and still follows a model that
// became slow within a few runs. The median, the lower of two, forgives a slow first run as soon as
// one other was seen.
//
// Threads: Record is guarded by the Scheduler; the rest from any thread, each number by itself.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace fastserve {

class CostModel {
 public:
  // Notes that a run over `input_bytes` took `duration` and was over at `now`.
  void Record(size_t input_bytes, Nanos duration, Nanos now);

  // The 90th percentile of recent runs of about that size; kNever while none was seen.
  Nanos P90(size_t input_bytes) const {
    return windows_[WindowOf(input_bytes)].p90.load(std::memory_order_relaxed);
  }

  // What a run of that size most likely takes, and when the last such run was over. Where none was
  // seen, of the next smaller size that was (so it is rather too little); 0 where none was either.
  struct Typical {
    Nanos run = 0;
    Nanos learned_ns = 0;
  };
  Typical TypicalOf(size_t input_bytes) const;

 private:
  static constexpr size_t kWindows = 64;
  static constexpr size_t kSamples = 32;
  static constexpr size_t kRefreshEvery = 8;

  struct Window {
    std::atomic<Nanos> p90{kNever};
    std::atomic<Nanos> median{0};
    std::atomic<Nanos> learned_ns{0};
    std::array<Nanos, kSamples> samples{};
    size_t count = 0;
  };

  static size_t WindowOf(size_t input_bytes) {
    return std::min(static_cast<size_t>(std::bit_width(input_bytes)), kWindows - 1);
  }

  std::array<Window, kWindows> windows_;
  // Which windows have a sample.
  std::atomic<uint64_t> seen_{0};
};

}  // namespace fastserve
