// What it costs a request that it is observed: ns for each, by how many share a batch.
//
// Everything that a scheduler writes down of one run of an engine and of its requests: the readings
// of the clock that no decision needs, the phases and counters, the load, what is learned of costs
// and of waits, and what the front end adds for each request. The target is 300 ns a request.
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "serving/scheduling/cost_model.h"
#include "serving/scheduling/load_meter.h"
#include "serving/scheduling/wait_estimate.h"
#include "serving/servable_stats.h"

namespace fastserve {
namespace {

class Observed {
 public:
  void Run(size_t requests) {
    // When a run starts is known for the sake of deadlines: this reading of the clock is not new.
    const Nanos started = last_;
    load_.Note(started, 1);
    waits_.NoteTake({.now = started,
                     .requests = requests,
                     .rows = static_cast<int64_t>(requests),
                     .bytes = 64 * requests,
                     .left = requests});
    stats_.CountClose(CloseReason::kFull);
    for (size_t i = 0; i < requests; ++i) stats_.queue.Record(started - first_);
    const Nanos staged = requests > 1 ? NowNanos() : started;
    const Nanos computed = NowNanos();
    stats_.executions.Add();
    stats_.batch_rows[requests].Add();
    stats_.stage.Record(staged - started);
    stats_.run.Record(computed - staged);
    for (size_t i = 0; i < requests; ++i) {
      stats_.success.Add();
      stats_.rows.Add();
      stats_.receive.Record(started - first_);
      stats_.send.Record(computed - started);
      stats_.request.Record(computed - first_);
    }
    const Nanos finished = NowNanos();
    stats_.finish.Record(finished - computed);
    load_.Note(finished, -1);
    waits_.NoteFree(0, 1);
    cost_.Record(64 * requests, finished - started, finished);
    last_ = finished;
  }

 private:
  ServableStats stats_;
  CostModel cost_;
  LoadMeter load_{1};
  WaitEstimate waits_{{.instances = 1, .rows_max = 64}, &cost_};
  const Nanos first_ = NowNanos();
  Nanos last_ = first_;
};

void Main() {
  constexpr int kRepeats = 25;
  constexpr size_t kRequests = 100'000;
  for (const size_t together : {1, 8, 32}) {
    const auto observed = std::make_unique<Observed>();
    double least = 1e9;
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      const Nanos started = NowNanos();
      for (size_t run = 0; run < kRequests / together; ++run) observed->Run(together);
      least = std::min(least, static_cast<double>(NowNanos() - started) / double{kRequests});
    }
    std::printf("observing, %2zu together   %5.0f ns/request\n", together, least);
  }
}

}  // namespace
}  // namespace fastserve

int main() { fastserve::Main(); }
