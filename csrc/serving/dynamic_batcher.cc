#include "serving/dynamic_batcher.h"

#include <algorithm>

namespace fastserve {

std::string_view CloseReasonName(CloseReason reason) {
  static constexpr std::string_view kNames[] = {"full", "preferred", "idle", "delay", "single"};
  static_assert(std::size(kNames) == kCloseReasonCount);
  return kNames[static_cast<size_t>(reason)];
}

DynamicBatcher::Decision DynamicBatcher::Next(Nanos now, std::span<const Item> queue,
                                              std::vector<uint32_t>* chosen) const {
  chosen->clear();
  if (queue.empty()) return {};
  const Item& oldest = queue.front();
  chosen->push_back(0);
  if (options_.batch_rows_max <= 1 || !options_.joins_requests) {
    return {.action = Action::kRun, .reason = CloseReason::kSingle, .rows = oldest.rows};
  }

  // Gather company for the oldest, in order of arrival, remembering the longest prefix that has a
  // preferred size.
  const auto is_preferred = [this](int64_t rows) {
    return std::ranges::binary_search(options_.preferred_rows, rows);
  };
  int64_t rows = oldest.rows;
  bool full = rows >= options_.batch_rows_max;
  int64_t preferred_rows = is_preferred(rows) ? rows : 0;
  size_t preferred_count = 1;
  for (uint32_t i = 1; i < queue.size() && !full; ++i) {
    if (queue[i].shape_key != oldest.shape_key) continue;
    if (rows + queue[i].rows > options_.batch_rows_max) {
      full = true;  // Later, smaller ones must not overtake this one for ever.
      break;
    }
    rows += queue[i].rows;
    chosen->push_back(i);
    full = rows == options_.batch_rows_max;
    if (is_preferred(rows)) {
      preferred_rows = rows;
      preferred_count = chosen->size();
    }
  }

  if (full) return {.action = Action::kRun, .reason = CloseReason::kFull, .rows = rows};
  if (preferred_rows > 0) {
    chosen->resize(preferred_count);
    return {.action = Action::kRun, .reason = CloseReason::kPreferred, .rows = preferred_rows};
  }
  if (options_.queue_delay_max == 0) {
    return {.action = Action::kRun, .reason = CloseReason::kIdle, .rows = rows};
  }
  if (now - oldest.arrival >= options_.queue_delay_max) {
    return {.action = Action::kRun, .reason = CloseReason::kDelay, .rows = rows};
  }
  return {.action = Action::kWaitUntil, .until = oldest.arrival + options_.queue_delay_max};
}

}  // namespace fastserve
