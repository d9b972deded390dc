// Scheduler::Sweep: what waits in vain ends while every instance is busy.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "serving/gate.h"
#include "serving/scheduling/scheduler_rig.h"

namespace fastserve {
namespace {

// One instance that stands at a gate; everything that is submitted after it waits.
struct BusyRig : SchedulerRig {
  explicit BusyRig(SchedulerSettings settings = {}, size_t requests = 64)
      : SchedulerRig(
            WithThread(settings),
            [this](auto inputs, int64_t rows, OutputSink& outputs) {
              gate.Pass();
              return PlusOne(inputs, rows, outputs);
            },
            requests) {
    Submit(0);
    scheduler->Wake();
    gate.AwaitWaiting(1);
  }
  ~BusyRig() {
    gate.Open();
    Stop();
  }

  static SchedulerSettings WithThread(SchedulerSettings settings) {
    settings.threads = 1;
    settings.now = &VirtualClock::Now;
    VirtualClock::Set(kSecond);
    return settings;
  }
  InferenceRequest* SubmitUntil(int id, Nanos deadline_ns) {
    RequestPtr request = sink.FloatRequest(id, 1, static_cast<float>(id));
    request->deadline_ns = deadline_ns;
    InferenceRequest* const waiting = request.get();
    scheduler->Submit(std::move(request));
    return waiting;
  }
  void Cancel(InferenceRequest* request) {
    request->cancelled.store(true, std::memory_order_relaxed);
    scheduler->NoteCancelled();
  }

  Gate gate;
};

TEST(SchedulerSweep, EndsTheLateWhileTheInstanceIsBusyAndTellsTheNextDeadline) {
  BusyRig rig;
  rig.SubmitUntil(1, 3 * kSecond);
  rig.SubmitUntil(2, 2 * kSecond);
  rig.SubmitUntil(3, kNever);
  EXPECT_EQ(rig.scheduler->Sweep(), 2 * kSecond);
  EXPECT_EQ(rig.sink.ends(), 0u);
  VirtualClock::Set(2 * kSecond + 5 * kMicrosecond);
  EXPECT_EQ(rig.scheduler->Sweep(), 3 * kSecond);
  EXPECT_EQ(rig.sink.ends(), 1u);
  EXPECT_EQ(rig.sink[2].status.code(), Code::kDeadlineExceeded);
  EXPECT_EQ(rig.sink[2].status.message(),
            "the request waited for model 'm' until 5 us past its deadline");
  EXPECT_EQ(rig.scheduler->queue_depth(), 2u);
  VirtualClock::Set(3 * kSecond);
  EXPECT_EQ(rig.scheduler->Sweep(), kNever);
  EXPECT_EQ(rig.failures(FailureReason::kDeadline), 2u);
  rig.gate.Open();
  rig.sink.WaitFor(4);
  EXPECT_TRUE(rig.sink[0].status.ok());
  EXPECT_TRUE(rig.sink[3].status.ok());
}

TEST(SchedulerSweep, EndsTheCancelledWhereverTheyStand) {
  BusyRig rig;
  std::vector<InferenceRequest*> waiting;
  for (int id = 1; id < 10; ++id) waiting.push_back(rig.SubmitUntil(id, kNever));
  rig.Cancel(waiting[4]);
  rig.Cancel(waiting[8]);
  EXPECT_EQ(rig.scheduler->Sweep(), kNever);
  EXPECT_EQ(rig.sink.ends(), 2u);
  EXPECT_EQ(rig.sink[5].status.code(), Code::kCancelled);
  EXPECT_EQ(rig.sink[9].status.code(), Code::kCancelled);
  EXPECT_EQ(rig.failures(FailureReason::kCancelled), 2u);
  EXPECT_EQ(rig.scheduler->queue_depth(), 7u);
  rig.gate.Open();
  rig.sink.WaitFor(10);
  for (const size_t id : {1, 2, 3, 4, 6, 7, 8}) {
    EXPECT_EQ(rig.sink.FloatsOf(id)[0], static_cast<float>(id) + 1);
  }
}

// The places of those who ended are there for others at once.
TEST(SchedulerSweep, MakesRoomInAFullQueue) {
  BusyRig rig({.queue_depth = 4});
  std::vector<InferenceRequest*> waiting;
  for (int id = 1; id < 5; ++id) waiting.push_back(rig.SubmitUntil(id, kNever));
  rig.SubmitUntil(5, kNever);
  EXPECT_EQ(rig.sink[5].status.code(), Code::kResourceExhausted);
  for (InferenceRequest* request : waiting) rig.Cancel(request);
  rig.scheduler->Sweep();
  EXPECT_EQ(rig.scheduler->queue_depth(), 0u);
  for (int id = 6; id < 10; ++id) rig.SubmitUntil(id, kNever);
  rig.gate.Open();
  rig.sink.WaitFor(10);
  for (const size_t id : {6, 7, 8, 9}) EXPECT_TRUE(rig.sink[id].status.ok());
}

TEST(SchedulerSweep, LooksForTheCancelledOnlyWhenToldOf) {
  BusyRig rig;
  InferenceRequest* const request = rig.SubmitUntil(1, kNever);
  request->cancelled.store(true, std::memory_order_relaxed);
  EXPECT_EQ(rig.scheduler->Sweep(), kNever);
  EXPECT_EQ(rig.sink.ends(), 0u);
  rig.scheduler->NoteCancelled();
  rig.scheduler->Sweep();
  EXPECT_EQ(rig.sink.ends(), 1u);
}

// A line far longer than one step of a sweep, and than what the batcher looks at.
TEST(SchedulerSweep, GoesThroughALongLineInSteps) {
  constexpr int kRequests = 5'000;
  BusyRig rig({.queue_depth = kRequests}, kRequests + 1);
  for (int id = 1; id <= kRequests; ++id) rig.SubmitUntil(id, id % 2 == 0 ? 2 * kSecond : kNever);
  VirtualClock::Set(2 * kSecond);
  EXPECT_EQ(rig.scheduler->Sweep(), kNever);
  EXPECT_EQ(rig.sink.ends(), static_cast<size_t>(kRequests / 2));
  EXPECT_EQ(rig.scheduler->queue_depth(), static_cast<size_t>(kRequests / 2));
  rig.gate.Open();
  rig.sink.WaitFor(kRequests + 1);
}

// Threads that submit, cancel, sweep and run at once: each request ends once, and when nobody
// submits any more a sweep leaves nothing that is cancelled or late.
TEST(SchedulerSweep, LosesNobodyAmongManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kEach = 2'000;
  SchedulerRig rig({.queue_depth = 256, .caller_runs_max = kSecond, .instances = 2, .threads = 2},
                   PlusOne, static_cast<size_t>(kThreads) * kEach);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937 random(static_cast<uint32_t>(thread + 1));
      for (int i = 0; i < kEach; ++i) {
        RequestPtr request = rig.sink.FloatRequest(thread * kEach + i, 1, 0);
        const uint32_t fate = random() % 8;
        if (fate == 0) request->deadline_ns = NowNanos() + random() % 100'000;
        if (fate == 1) {
          request->cancelled.store(true, std::memory_order_relaxed);
          rig.scheduler->NoteCancelled();
        }
        rig.scheduler->Submit(std::move(request));
        if (random() % 4 == 0) rig.scheduler->Sweep();
        if (random() % 16 == 0) rig.scheduler->RunHere(50 * kMicrosecond);
      }
      rig.scheduler->Wake();
    });
  }
  for (std::thread& thread : threads) thread.join();
  rig.sink.WaitFor(static_cast<size_t>(kThreads) * kEach);
  for (size_t id = 0; id < static_cast<size_t>(kThreads) * kEach; ++id) {
    ASSERT_EQ(rig.sink[id].ends, 1) << id;
  }
  EXPECT_EQ(rig.scheduler->queue_depth(), 0u);
  EXPECT_EQ(rig.scheduler->Sweep(), kNever);
}

}  // namespace
}  // namespace fastserve
