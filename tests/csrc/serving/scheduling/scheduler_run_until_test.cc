// Scheduler::RunUntil: callers that have nothing else to do.
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "serving/gate.h"
#include "serving/scheduling/scheduler_rig.h"

namespace fastserve {
namespace {

// Tells each request's caller that it has ended, as an embedding front end does.
struct TellingSink : ResponseSink {
  struct Request : InferenceRequest {
    std::atomic<bool> done{false};
    int ends = 0;
    Status status;
  };

  std::unique_ptr<Request> New(int64_t rows) {
    auto request = std::make_unique<Request>();
    request->sink = this;
    request->rows = rows;
    request->inputs.push_back(Floats({rows, 2}, std::vector<float>(2 * size_t(rows), 0.0F)));
    request->input_bytes = request->inputs[0].tensor.bytes.size();
    return request;
  }
  void OnResponse(InferenceRequest&, std::span<ResponseOutput>) override {}
  void OnEnd(RequestPtr ended, Status status) override {
    auto* request = static_cast<Request*>(ended.release());
    ++request->ends;
    request->status = std::move(status);
    // SYNC(test-told): the request is its caller's again.
    request->done.store(true, std::memory_order_release);
    request->done.notify_all();
  }
  static void Await(Request& request) {
    // SYNC(test-told): pairs with OnEnd.
    request.done.wait(false, std::memory_order_acquire);
  }
};

// Whatever it costs, known or not; the requests that joined its batch have ended as well.
TEST(RunUntil, RunsWhatNobodyKnowsTheCostOf) {
  SchedulerRig rig({.caller_runs_max = 1});
  const std::atomic<bool> done{false};
  rig.Submit(0);
  rig.Submit(1);
  rig.scheduler->RunUntil(done);
  EXPECT_EQ(rig.sink.ends(), 2u);
  EXPECT_EQ(rig.stats.caller_runs.value(), 1u);
}

TEST(RunUntil, ComesBackWhenItsRequestHasEndedAndLeavesTheRestToAThread) {
  std::atomic<bool> done{false};
  SchedulerSettings settings{.caller_runs_max = 1, .threads = 1};
  settings.batching.batch_rows_max = 1;
  SchedulerRig* self = nullptr;
  std::atomic<int> runs{0};
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<int> runs_of_caller{0};
  SchedulerRig rig(settings, [&](auto inputs, int64_t rows, OutputSink& outputs) {
    runs_of_caller += std::this_thread::get_id() == caller;
    if (runs++ == 0) {
      // They come while the only instance is held: who submits them finds none and goes.
      for (int id = 1; id < 4; ++id) self->Submit(id);
      self->scheduler->RunUntil(done);
      done.store(true, std::memory_order_relaxed);
    }
    return PlusOne(inputs, rows, outputs);
  });
  self = &rig;
  rig.Submit(0);
  rig.scheduler->RunUntil(done);
  rig.sink.WaitFor(4);
  EXPECT_EQ(runs_of_caller, 1);
  EXPECT_EQ(rig.stats.caller_runs.value(), 1u);
}

TEST(RunUntil, RunsNothingWhenItsRequestHasEndedAlready) {
  SchedulerRig rig({.caller_runs_max = 1});
  const std::atomic<bool> done{true};
  rig.Submit(0);
  rig.scheduler->RunUntil(done);
  EXPECT_EQ(rig.sink.ends(), 0u);
  EXPECT_EQ(rig.scheduler->queue_depth(), 1u);
}

TEST(RunUntil, WakesAThreadAndRunsNothingWhereCallersDoNotRun) {
  SchedulerRig rig({.caller_runs_max = 0, .threads = 1});
  const std::atomic<bool> done{false};
  rig.Submit(0);
  rig.scheduler->RunUntil(done);
  rig.sink.WaitFor(1);
  EXPECT_EQ(rig.stats.caller_runs.value(), 0u);
}

// The caller does not sit through the delay: a thread does.
TEST(RunUntil, LeavesABatchWhoseTimeHasNotComeToAThread) {
  SchedulerSettings settings{.caller_runs_max = 1, .threads = 1};
  settings.batching.queue_delay_max = 2 * kMillisecond;
  SchedulerRig rig(settings);
  const std::atomic<bool> done{false};
  rig.Submit(0);
  rig.scheduler->RunUntil(done);
  rig.sink.WaitFor(1);
  EXPECT_GE(rig.sink[0].started_ns - rig.sink[0].submitted_ns, 2 * kMillisecond);
}

// A long run keeps the caller away; the other instance begins with what is left meanwhile.
TEST(RunUntil, WakesAThreadForWhatAnotherInstanceCanBegin) {
  Gate gate;
  SchedulerSettings settings{.caller_runs_max = 1, .instances = 2, .threads = 1};
  settings.batching.batch_rows_max = 1;
  SchedulerRig rig(settings, [&](auto inputs, int64_t rows, OutputSink& outputs) {
    gate.Pass();
    return PlusOne(inputs, rows, outputs);
  });
  rig.Submit(0);
  rig.Submit(1);
  std::atomic<bool> done{false};
  std::thread caller([&] { rig.scheduler->RunUntil(done); });
  gate.AwaitWaiting(2);
  gate.Open();
  caller.join();
  rig.sink.WaitFor(2);
  EXPECT_EQ(rig.stats.caller_runs.value(), 1u);
}

// ------------------------------------------------------------------------------------------------
// Callers and instances' threads at once, and nobody ever wakes but RunUntil: a hang is a request
// that waits unseen, and ThreadSanitizer checks the orders.

class RunUntilStress : public ::testing::TestWithParam<SchedulerSettings> {};

TEST_P(RunUntilStress, EndsTheRequestOfEveryCaller) {
  constexpr int kCallers = 4;
  constexpr int kEach = 2'000;
  SchedulerRig rig(GetParam());
  TellingSink sink;
  std::atomic<int> answered{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      std::mt19937 random(static_cast<uint32_t>(caller + 1));
      for (int i = 0; i < kEach; ++i) {
        // Up to three at a time, of which the last is waited for first.
        std::vector<std::unique_ptr<TellingSink::Request>> mine;
        for (uint32_t n = random() % 3; mine.size() <= n;) {
          mine.push_back(sink.New(1 + random() % 3));
          mine.back()->join_key = random() % 2;
          rig.scheduler->Submit(RequestPtr(mine.back().get()));
        }
        while (!mine.empty()) {
          rig.scheduler->RunUntil(mine.back()->done);
          TellingSink::Await(*mine.back());
          EXPECT_EQ(mine.back()->ends, 1);
          answered += mine.back()->status.ok();
          mine.pop_back();
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(rig.stats.success.value(), static_cast<uint64_t>(answered.load()));
  EXPECT_EQ(rig.scheduler->queue_depth(), 0u);
}

SchedulerSettings Concurrent(Nanos queue_delay, Nanos caller_runs_max, int instances, int threads) {
  SchedulerSettings settings{
      .caller_runs_max = caller_runs_max, .instances = instances, .threads = threads};
  settings.batching.queue_delay_max = queue_delay;
  return settings;
}

INSTANTIATE_TEST_SUITE_P(Settings, RunUntilStress,
                         ::testing::Values(Concurrent(0, 1, 1, 1), Concurrent(0, 1, 3, 3),
                                           Concurrent(0, kSecond, 2, 1),
                                           Concurrent(20 * kMicrosecond, 1, 2, 2),
                                           Concurrent(20 * kMicrosecond, 0, 2, 2)));

}  // namespace
}  // namespace fastserve
