// CostModel: what a run of a model costs, learned from the runs themselves.
//
// The caller-runs rule asks: is a run of this size so short that the thread which holds the
// requests had better do it itself? A run's size is its input bytes (rows and free dimensions both
// count); sizes are kept apart by powers of two, and each remembers its last 32 runs. The 90th
// percentile of a window forgives three outliers in 32 (a preempted run says nothing of the model)
// and still follows a model that became slow within a few runs.
//
// Threads: none of its own; the Scheduler guards it.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace fastserve {

class CostModel {
 public:
  // Notes that a run over `input_bytes` took `duration`.
  void Record(size_t input_bytes, Nanos duration);

  // The 90th percentile of recent runs of about that size; kNever while none was seen.
  Nanos P90(size_t input_bytes) const { return windows_[WindowOf(input_bytes)].p90; }

 private:
  static constexpr size_t kSamples = 32;
  static constexpr size_t kRefreshEvery = 8;

  struct Window {
    std::array<Nanos, kSamples> samples{};
    size_t count = 0;
    Nanos p90 = kNever;
  };

  static size_t WindowOf(size_t input_bytes) { return std::bit_width(input_bytes); }

  std::array<Window, 65> windows_;
};

}  // namespace fastserve
