// WaitingLine: the requests of one model that wait, in order of arrival.
//
// Whoever looks for work needs the first few, without those that died; who sweeps goes through all
// of them, in steps, so that the mutex that guards the line is held for some microseconds at a time
// even where a million wait.
//
// Invariants:
//   1. At most `depth` wait; places for twice as many are made at construction, and nothing is
//      allocated later.
//   2. The line is line_[start_..]. Places in it may be empty: a request that was swept from the
//      middle leaves a gap, which Front closes when it comes there, and Push when it is out of
//      places (at most once in `depth` pushes).
//   3. A request moves to a higher place only while it is among those that a Front looks at, and to
//      a lower one only in Push. So a sweep from the back to the front, between whose steps others
//      use the line, misses nobody: whom it does not come by was looked at by a Front meanwhile.
//
// Threads: none of its own; the Scheduler guards it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "serving/inference_request.h"

namespace fastserve {

class WaitingLine {
 public:
  explicit WaitingLine(size_t depth) { line_.reserve(2 * depth); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // How many of them have a deadline. None is earlier than next_deadline(), except during a sweep;
  // whoever had that one may have left.
  size_t deadlines() const { return deadlines_; }
  Nanos next_deadline() const { return next_deadline_; }

  void Push(RequestPtr request);

  // The first requests, at most `live_max`, good until the next call. Those in front of or among
  // them that are cancelled or late are moved to `dead`.
  std::span<const RequestPtr> Front(Nanos now, size_t live_max, RequestList* dead);

  // Calls `take` with each of those whose positions in the last Front are `positions` (ascending).
  template <typename Take>
  void TakeOut(std::span<const uint32_t> positions, Take take);

  // One sweep through the whole line: BeginSweep, then SweepSome until it returns true. Only one at
  // a time.
  void BeginSweep();
  bool SweepSome(Nanos now, RequestList* dead);

  // How many places a step of a sweep looks at: some 10 us when each request is a cache miss.
  static constexpr size_t kSweepStep = 256;

 private:
  static bool IsDead(const InferenceRequest& request, Nanos now) {
    return request.deadline_ns <= now || request.cancelled.load(std::memory_order_relaxed);
  }
  RequestPtr Leave(RequestPtr& place);
  void CloseGaps(size_t end);

  std::vector<RequestPtr> line_;
  size_t start_ = 0;
  size_t size_ = 0;
  size_t deadlines_ = 0;
  Nanos next_deadline_ = kNever;
  // Of the sweep under way: the places from sweep_end_ on are done.
  size_t sweep_end_ = 0;
  Nanos swept_deadline_ = kNever;
};

template <typename Take>
void WaitingLine::TakeOut(std::span<const uint32_t> positions, Take take) {
  if (positions.empty()) return;
  const size_t front = start_;
  for (const uint32_t position : positions) take(Leave(line_[front + position]));
  CloseGaps(front + positions.back() + 1);
}

}  // namespace fastserve
