#include <algorithm>
#include <initializer_list>
#include <random>

#include "sim/world.h"

namespace fastserve {
namespace {

class Lots {
 public:
  explicit Lots(uint64_t seed) : random_(seed) {}
  uint64_t Below(uint64_t end) { return random_() % end; }
  template <typename T>
  T OneOf(std::initializer_list<T> values) {
    return values.begin()[Below(values.size())];
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace

Plan DrawPlan(uint64_t seed) {
  Lots lots(seed);
  Plan plan;
  plan.instances = static_cast<int>(1 + lots.Below(3));
  plan.loops = static_cast<int>(1 + lots.Below(2));
  plan.patient_callers = lots.OneOf({0, 0, 1, 3});
  plan.batching.batch_rows_max = lots.OneOf<int64_t>({1, 4, 8, 16});
  plan.batching.join_requests = lots.Below(8) != 0;
  plan.batching.queue_delay_max = lots.OneOf<Nanos>({0, 0, 200 * kMicrosecond, 5 * kMillisecond});
  if (plan.batching.batch_rows_max > 4 && lots.Below(3) == 0) plan.batching.preferred_rows = {4};
  plan.queue_depth = lots.OneOf<size_t>({2, 16, 256});
  plan.caller_runs_max = lots.OneOf<Nanos>({0, 50 * kMicrosecond});
  plan.in_flight_bytes_max = lots.OneOf<size_t>({400, size_t{1} << 20});
  plan.run_ns = lots.OneOf<Nanos>({5 * kMicrosecond, 200 * kMicrosecond, 3 * kMillisecond});
  plan.row_ns = plan.run_ns / 20;
  plan.fails_now_and_then = lots.Below(4) == 0;
  plan.connections = static_cast<int>(lots.Below(16));
  plan.requests_each = static_cast<int>(1 + lots.Below(6));
  plan.stream_requests = static_cast<int>(lots.Below(60));
  plan.stream_gap = lots.OneOf<Nanos>({plan.run_ns / 16, plan.run_ns / 2, 2 * plan.run_ns}) + 1;
  plan.burst = lots.OneOf({1, 1, 7});
  plan.shapes = lots.OneOf({1, 1, 3});
  plan.rows_max = lots.OneOf<int64_t>({1, 1, 3});
  plan.rows_max = std::min(plan.rows_max, plan.batching.batch_rows_max);
  if (lots.Below(2) == 0) plan.deadline_min = lots.OneOf<Nanos>({plan.run_ns, 4 * plan.run_ns});
  plan.deadline_once_in = lots.OneOf({1, 3});
  plan.cancel_once_in = lots.OneOf({0, 10});
  return plan;
}

}  // namespace fastserve
