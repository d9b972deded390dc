// DynamicBatcher: which waiting requests run together, and when. A pure function.
//
// It knows no thread, lock or clock: the Scheduler tells it the time and what waits, and does what
// it says. So hours of traffic can be replayed in seconds, and a policy can be printed as a table.
//
// Rules:
//   1. The oldest request is in every batch: nobody starves.
//   2. Only requests with equal shape keys join; others keep their place for the next batch.
//   3. A batch never has more than `batch_rows_max` rows, and the order of arrival within a key
//   holds.
//   4. An idle instance takes what waits at once, unless `queue_delay_max` says that waiting pays.
//
// Threads: const after construction; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace fastserve {

// Why a batch was closed; counted in the metrics.
enum class CloseReason : uint8_t {
  kFull,       // No more rows fit.
  kPreferred,  // It has a preferred size.
  kIdle,       // An instance was idle and no delay is configured.
  kDelay,      // Its oldest request waited long enough.
  kSingle,     // The model takes one request at a time.
};
inline constexpr size_t kCloseReasonCount = 5;
std::string_view CloseReasonName(CloseReason reason);

class DynamicBatcher {
 public:
  struct Options {
    // Rows a batch may have; 0: the model has no batch dimension, requests run alone.
    int64_t batch_rows_max = 0;
    // False: a request keeps its own rows, but is never joined with another.
    bool joins_requests = true;
    // How long the oldest request may wait for company.
    Nanos queue_delay_max = 0;
    // Sizes at which a batch runs without waiting further; ascending, none above batch_rows_max.
    std::vector<int64_t> preferred_rows;
  };

  // What the batcher sees of a waiting request.
  struct Item {
    int64_t rows = 1;
    uint64_t shape_key = 0;
    Nanos arrival = 0;
  };

  enum class Action : uint8_t { kRun, kWaitUntil, kSleep };
  struct Decision {
    Action action = Action::kSleep;
    CloseReason reason = CloseReason::kIdle;  // With kRun.
    Nanos until = kNever;                     // With kWaitUntil.
    int64_t rows = 0;                         // With kRun.
  };

  explicit DynamicBatcher(Options options) : options_(std::move(options)) {}

  // Decides for one idle instance. `queue` is in order of arrival. With kRun, `chosen` holds the
  // ascending positions of the requests to run; otherwise its content means nothing.
  Decision Next(Nanos now, std::span<const Item> queue, std::vector<uint32_t>* chosen) const;

  const Options& options() const { return options_; }

 private:
  Options options_;
};

}  // namespace fastserve
