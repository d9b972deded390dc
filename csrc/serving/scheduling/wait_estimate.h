// WaitEstimate: how long a request that comes now would wait for its answer.
//
// Whoever submits asks without a lock, so what is learned under the scheduler's mutex is published
// in atomics, each of which is true by itself:
//
//   turns     Requests ahead, divided by what a run took of those that waited while more waited
//             than it could take. As long as nobody was left behind, a run is thought to take what
//             fits.
//   gap       How long it is from one such turn to the next, all instances together, their sharing
//             of cores and the time between runs included. It is never thought longer than two
//             runs, so that a slow one that is never repeated does not stand for ever.
//   free_at   When the first of the instances is likely to be free, if all are busy.
//   run       What the CostModel knows of a run of this size, or else of the next smaller one.
//
//   answer after  (free_at - now) + turns * gap + run
//
// What is not known counts as nothing: the estimate is then too short, and refuses nobody.
//
// Threads: NoteTake and NoteFree are guarded by the Scheduler; the rest from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "serving/scheduling/cost_model.h"

namespace fastserve {

class WaitEstimate {
 public:
  struct Options {
    size_t instances = 1;
    // The most rows of a run that requests share; 1 where each runs alone.
    int64_t rows_max = 1;
    Nanos queue_delay_max = 0;
  };

  // `cost` must outlive it.
  WaitEstimate(const Options& options, const CostModel* cost);

  struct Take {
    Nanos now = 0;
    size_t instance = 0;  // Its number.
    size_t requests = 0;
    int64_t rows = 0;
    size_t bytes = 0;  // Of their inputs.
    size_t left = 0;   // Requests that wait still,
    size_t idle = 0;   // and instances that are free, after it.
  };
  void NoteTake(const Take& take);
  // An instance is free again.
  void NoteFree(size_t instance, size_t idle);

  // Of a request of so many bytes and rows, with so many requests ahead of it. `learned_ns` is when
  // a run like its own was last over.
  struct Answer {
    Nanos after = 0;
    Nanos learned_ns = 0;
  };
  Answer Expect(Nanos now, size_t ahead, size_t bytes, int64_t rows) const;
  // The same of a request like the others, and with its wait for company.
  Nanos ExpectAverage(Nanos now, size_t ahead) const;

 private:
  using Number = std::atomic<double>;
  static_assert(Number::is_always_lock_free);

  struct Turn {
    Nanos start = 0;    // From now.
    double shared = 1;  // Requests in the run.
  };
  Turn TurnOf(Nanos now, size_t ahead, int64_t rows) const;
  void Learn(Number* mean, double sample, double weight) const;
  void Publish();

  const Options options_;
  const CostModel* const cost_;

  // Guarded by the scheduler.
  std::vector<Nanos> ends_;  // When each instance is likely to be done; kNever when it is idle.
  Nanos turn_ns_ = 0;        // The last take that left requests behind and no instance idle.
  uint64_t takes_ = 0;
  uint64_t turns_ = 0;

  // Published.
  std::atomic<size_t> idle_;
  std::atomic<Nanos> free_at_{0};
  std::atomic<size_t> turn_bytes_{0};  // Of the last take that left requests behind.
  Number gap_{0};
  Number turn_requests_{0};
  Number request_bytes_{0};
  Number request_rows_{1};
};

}  // namespace fastserve
