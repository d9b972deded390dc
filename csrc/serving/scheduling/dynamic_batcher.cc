#include "serving/scheduling/dynamic_batcher.h"

#include <algorithm>

namespace fastserve {
namespace {

bool SameRow(const Tensor& a, const Tensor& b) {
  if (a.type != b.type || a.shape.rank() != b.shape.rank()) return false;
  for (size_t axis = 1; axis < a.shape.rank(); ++axis) {
    if (a.shape[axis] != b.shape[axis]) return false;
  }
  return true;
}

// When a request has waited long enough for company.
Nanos PatienceEnd(const InferenceRequest& request, Nanos delay) {
  Nanos end = request.submitted_ns + delay;
  if (request.deadline_ns != kNever) {
    end = std::min(end, request.submitted_ns + (request.deadline_ns - request.submitted_ns) / 2);
  }
  return end;
}

}  // namespace

bool MayJoin(const InferenceRequest& a, const InferenceRequest& b) {
  if (a.join_key != b.join_key || a.inputs.size() != b.inputs.size()) return false;
  for (size_t i = 0; i < a.inputs.size(); ++i) {
    if (a.inputs[i].present != b.inputs[i].present) return false;
    if (a.inputs[i].present && !SameRow(a.inputs[i].tensor, b.inputs[i].tensor)) return false;
  }
  return true;
}

DynamicBatcher::Decision DynamicBatcher::Next(Nanos now, std::span<const RequestPtr> queue,
                                              size_t idle_instances,
                                              std::vector<uint32_t>* chosen) const {
  chosen->clear();
  if (queue.empty() || idle_instances == 0) return {};
  // Requests without rows could join for ever.
  queue = queue.first(std::min(queue.size(), scan_max()));
  const InferenceRequest& oldest = *queue.front();
  chosen->push_back(0);
  if (!joins()) {
    const bool full = oldest.rows == options_.batch_rows_max;
    return {.action = Action::kRun, .reason = full ? CloseReason::kFull : CloseReason::kIdle};
  }

  const auto is_preferred = [this](int64_t rows) {
    return std::ranges::binary_search(options_.preferred_rows, rows);
  };
  int64_t rows = oldest.rows;
  size_t preferred_count = is_preferred(rows) ? 1 : 0;
  Nanos until = PatienceEnd(oldest, options_.queue_delay_max);
  bool closed = false;
  size_t passed_over = 0;
  for (uint32_t i = 1; i < queue.size() && rows < options_.batch_rows_max && !closed; ++i) {
    const InferenceRequest& next = *queue[i];
    until = std::min(until, PatienceEnd(next, options_.queue_delay_max));
    if (!MayJoin(oldest, next)) {
      if (++passed_over == kPassedOverMax) break;
    } else if (next.rows > options_.batch_rows_max - rows) {
      closed = true;
    } else {
      rows += next.rows;
      chosen->push_back(i);
      if (is_preferred(rows)) preferred_count = chosen->size();
    }
  }

  if (rows == options_.batch_rows_max) return {Action::kRun, CloseReason::kFull};
  if (preferred_count > 0) {
    chosen->resize(preferred_count);
    return {Action::kRun, CloseReason::kPreferred};
  }
  if (closed) return {Action::kRun, CloseReason::kFull};
  if (options_.queue_delay_max == 0) return {Action::kRun, CloseReason::kIdle};
  if (now >= until) return {Action::kRun, CloseReason::kDelay};
  chosen->clear();
  return {.action = Action::kWaitUntil, .until = until};
}

}  // namespace fastserve
