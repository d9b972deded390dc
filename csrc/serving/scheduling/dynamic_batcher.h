// DynamicBatcher: which waiting requests run together, and when. A pure function.
//
// It knows no thread, lock or clock: the Scheduler tells it the time and what waits, and does what
// it says. So hours of traffic can be replayed in seconds.
//
// Rules:
//   1. The oldest request leads: it is in every batch, so nobody starves.
//   2. Others join in order of arrival when their key, types, row shapes and present inputs are
//      equal. Those that cannot are passed over and keep their place, at most kPassedOverMax.
//   3. A request is never split. One that could join but has too many rows for what is left closes
//      the batch: a later, smaller one must not overtake it.
//   4. A full batch runs. Else the longest that has a preferred size runs. Else the oldest request
//      waits for company until it has waited `queue_delay_max`; without a delay an idle instance
//      takes what is there.
//   5. A request with a deadline waits for company at most half of the time that it has: the other
//      half is the engine's.
//
// Threads: const after construction; any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "serving/inference_request.h"
#include "serving/servable_stats.h"

namespace fastserve {

class DynamicBatcher {
 public:
  struct Options {
    // Rows a batch may have; 0: the model has no batch dimension and requests run alone.
    int64_t batch_rows_max = 0;
    // False: each request runs alone, with its own rows.
    bool join_requests = true;
    Nanos queue_delay_max = 0;
    // Sizes at which a batch runs without waiting further; ascending, none above batch_rows_max.
    std::vector<int64_t> preferred_rows;
  };

  enum class Action : uint8_t { kRun, kWaitUntil, kSleep };
  struct Decision {
    Action action = Action::kSleep;           // Until a request comes or an instance is free.
    CloseReason reason = CloseReason::kIdle;  // With kRun.
    Nanos until = kNever;                     // With kWaitUntil.
  };

  // Bounds the search for company when a queue is full of other shapes: it happens under a mutex.
  static constexpr size_t kPassedOverMax = 64;

  explicit DynamicBatcher(Options options) : options_(std::move(options)) {}

  // `queue` is in order of arrival, free of cancelled and late requests as far as scan_max(). With
  // kRun, `chosen` holds the ascending positions of the requests to run; else it is empty.
  Decision Next(Nanos now, std::span<const RequestPtr> queue, size_t idle_instances,
                std::vector<uint32_t>* chosen) const;

  // No batch has more requests than this, and no search looks at more: an instance has room for as
  // many from the beginning.
  static constexpr size_t kScanMax = 16'384;

  // Next looks at no more requests than this.
  size_t scan_max() const {
    if (!joins()) return 1;
    return std::min(static_cast<size_t>(options_.batch_rows_max) + kPassedOverMax, kScanMax);
  }

  const Options& options() const { return options_; }

 private:
  bool joins() const { return options_.join_requests && options_.batch_rows_max > 1; }

  const Options options_;
};

// Whether the rows of both may stand in one tensor, for each input. An equal join_key makes it very
// likely; a batch of unequal rows would be wrong, so it is looked at.
bool MayJoin(const InferenceRequest& a, const InferenceRequest& b);

}  // namespace fastserve
