#include "serving/scheduling/scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "serving/gate.h"
#include "serving/scheduling/scheduler_rig.h"

namespace fastserve {
namespace {

TEST(Scheduler, RefusesExactlyWhatDoesNotFitInItsQueue) {
  SchedulerRig rig({.queue_depth = 5});
  for (int id = 0; id < 7; ++id) rig.Submit(id);
  EXPECT_EQ(rig.scheduler->queue_depth(), 5u);
  EXPECT_EQ(rig.sink.ends(), 2u);
  EXPECT_EQ(rig.sink[5].status.code(), Code::kResourceExhausted);
  EXPECT_EQ(rig.sink[5].status.message(), "the queue of model 'm' is full: 5 requests wait");
  EXPECT_EQ(rig.failures(FailureReason::kRejected), 2u);
  EXPECT_TRUE(rig.scheduler->RunSome().ran);
  EXPECT_EQ(rig.scheduler->queue_depth(), 0u);
  EXPECT_EQ(rig.sink.ends(), 7u);
}

// What the consumer has drained but not started counts as waiting.
TEST(Scheduler, CountsThoseInTheLineAsWaiting) {
  SchedulerSettings settings{.queue_depth = 3};
  settings.batching.queue_delay_max = kSecond * 1000;
  SchedulerRig rig(settings);
  rig.Submit(0);
  rig.Submit(1);
  const Scheduler::Step step = rig.scheduler->RunSome();
  EXPECT_FALSE(step.ran);
  EXPECT_LT(step.until, kNever);
  EXPECT_EQ(rig.scheduler->queue_depth(), 2u);
  rig.Submit(2);
  rig.Submit(3);
  EXPECT_EQ(rig.sink[3].status.code(), Code::kResourceExhausted);
  EXPECT_EQ(rig.sink.ends(), 1u);
}

TEST(Scheduler, StartsNeitherTheCancelledNorTheLate) {
  SchedulerRig rig;
  RequestPtr cancelled = rig.sink.FloatRequest(0, 1, 0);
  cancelled->cancelled.store(true, std::memory_order_relaxed);
  rig.scheduler->Submit(std::move(cancelled));
  RequestPtr late = rig.sink.FloatRequest(1, 1, 0);
  late->deadline_ns = NowNanos() - kMillisecond;
  rig.scheduler->Submit(std::move(late));
  rig.Submit(2);
  rig.scheduler->RunSome();
  EXPECT_EQ(rig.sink[0].status.code(), Code::kCancelled);
  EXPECT_EQ(rig.sink[1].status.code(), Code::kDeadlineExceeded);
  EXPECT_EQ(rig.sink[1].started_ns, 0);
  EXPECT_TRUE(rig.sink[2].status.ok());
  EXPECT_EQ(rig.sink[2].batch_rows, 1);
  EXPECT_EQ(rig.failures(FailureReason::kCancelled), 1u);
  EXPECT_EQ(rig.failures(FailureReason::kDeadline), 1u);
}

TEST(Scheduler, CallerRunsNothingOfUnknownCost) {
  SchedulerRig rig({.caller_runs_max = kSecond});
  rig.Submit(0);
  EXPECT_EQ(rig.scheduler->RunHere(kSecond), 0);
  EXPECT_EQ(rig.sink.ends(), 0u);
  // The thread that was woken for it learns what it costs.
  EXPECT_TRUE(rig.scheduler->RunSome().ran);
  rig.Submit(1);
  EXPECT_GT(rig.scheduler->RunHere(kSecond), 0);
  EXPECT_EQ(rig.sink.ends(), 2u);
  EXPECT_EQ(rig.stats.caller_runs.value(), 1u);
}

TEST(Scheduler, CallerRunsNothingBeyondItsBudgetOrItsLimit) {
  SchedulerRig rig({.caller_runs_max = kSecond});
  rig.LearnThatAllIsCheap();
  rig.Submit(0);
  EXPECT_EQ(rig.scheduler->RunHere(0), 0);
  EXPECT_EQ(rig.sink.ends(), 0u);
  SchedulerRig strict({.caller_runs_max = 1});
  strict.LearnThatAllIsCheap();
  strict.Submit(0);
  EXPECT_EQ(strict.scheduler->RunHere(kSecond), 0);
}

TEST(Scheduler, CallerWakesAThreadForWhatItMayNotRun) {
  SchedulerRig rig({.caller_runs_max = kSecond, .threads = 1});
  rig.Submit(0);
  rig.scheduler->RunHere(kSecond);
  rig.sink.WaitFor(1);
  EXPECT_EQ(rig.stats.caller_runs.value(), 0u);
}

// The caller leaves a request to wait for company; a thread must know when its time has come.
TEST(Scheduler, RunsWhatTheCallerLeftWaitingWhenItsDelayIsOver) {
  SchedulerSettings settings{.caller_runs_max = kSecond, .threads = 1};
  settings.batching.queue_delay_max = 2 * kMillisecond;
  SchedulerRig rig(settings);
  rig.LearnThatAllIsCheap();
  rig.Submit(0);
  rig.scheduler->RunHere(kSecond);
  rig.Submit(1);
  rig.scheduler->RunHere(kSecond);
  rig.sink.WaitFor(2);
  EXPECT_GE(rig.sink[0].started_ns - rig.sink[0].submitted_ns, 2 * kMillisecond);
  EXPECT_EQ(rig.stats.closes[static_cast<size_t>(CloseReason::kDelay)].value(), 1u);
}

// The one interleaving in which nobody is woken: a request comes while the only instance is held,
// so its submitter finds none idle and goes. Whoever holds the instance must look again.
TEST(Scheduler, SeesWhatCameWhileTheInstanceWasBusy) {
  SchedulerRig* self = nullptr;
  int runs = 0;
  SchedulerRig rig({.caller_runs_max = kSecond},
                   [&](auto inputs, int64_t rows, OutputSink& outputs) {
                     if (++runs == 8) {  // After the seven of LearnThatAllIsCheap.
                       self->Submit(1);
                       EXPECT_EQ(self->scheduler->RunHere(kSecond), 0);
                       EXPECT_FALSE(self->scheduler->RunSome().ran);
                     }
                     return PlusOne(inputs, rows, outputs);
                   });
  self = &rig;
  rig.LearnThatAllIsCheap();
  rig.Submit(0);
  rig.scheduler->RunHere(kSecond);
  EXPECT_EQ(rig.sink.ends(), 2u);
  EXPECT_EQ(rig.stats.caller_runs.value(), 2u);
}

TEST(Scheduler, KeepsTheOrderOfThoseWhoWerePassedOver) {
  SchedulerSettings settings;
  settings.batching.batch_rows_max = 2;
  std::vector<float> order;
  SchedulerRig rig(settings, [&](auto inputs, int64_t rows, OutputSink& outputs) {
    for (int64_t row = 0; row < rows; ++row) {
      float value = 0;
      std::memcpy(&value, inputs[0].tensor.bytes.data() + row * 8, sizeof value);
      order.push_back(value);
    }
    return PlusOne(inputs, rows, outputs);
  });
  for (int id = 0; id < 8; ++id) {
    RequestPtr request = rig.sink.FloatRequest(id, 1, static_cast<float>(id));
    request->join_key = id == 1 || id == 4 || id == 5 ? 1 : 2;
    rig.scheduler->Submit(std::move(request));
  }
  EXPECT_TRUE(rig.scheduler->RunSome().ran);
  EXPECT_EQ(order, (std::vector<float>{0, 2, 1, 4, 3, 6, 5, 7}));
}

TEST(Scheduler, EndsWhatWaitsWhenItGoes) {
  SchedulerRig rig;
  rig.Submit(0);
  rig.Submit(1);
  rig.Stop();
  for (const size_t id : {0, 1}) {
    EXPECT_EQ(rig.sink[id].ends, 1);
    EXPECT_EQ(rig.sink[id].status.code(), Code::kUnavailable);
  }
  EXPECT_EQ(rig.failures(FailureReason::kCancelled), 2u);
}

TEST(Scheduler, FinishesTheRunUnderWayAndEndsTheRestWhenItStops) {
  Gate gate;
  SchedulerSettings settings{.threads = 1};
  settings.batching.batch_rows_max = 1;
  SchedulerRig rig(settings, [&](auto inputs, int64_t rows, OutputSink& outputs) {
    gate.Pass();
    return PlusOne(inputs, rows, outputs);
  });
  rig.Submit(0);
  rig.Submit(1);
  rig.scheduler->Wake();
  gate.AwaitWaiting(1);
  rig.scheduler->Stop();
  gate.Open();
  rig.Stop();
  EXPECT_TRUE(rig.sink[0].status.ok());
  EXPECT_EQ(rig.sink[1].status.code(), Code::kUnavailable);
}

// ------------------------------------------------------------------------------------------------
// Everything at once. Run under ThreadSanitizer this checks the orders; a hang is a lost wake-up.

struct Stress {
  static constexpr int kProducers = 4;
  static constexpr int kEach = 3'000;

  void Produce(SchedulerRig& rig, int producer) {
    std::mt19937 random(static_cast<uint32_t>(producer + 1));
    for (int i = 0; i < kEach; ++i) {
      const int id = producer * kEach + i;
      RequestPtr request = rig.sink.FloatRequest(id, 1 + random() % 3, static_cast<float>(id));
      request->join_key = random() % 2;
      const uint32_t fate = random() % 16;
      if (fate == 0) request->cancelled.store(true, std::memory_order_relaxed);
      if (fate == 1) request->deadline_ns = NowNanos() + random() % 200'000;
      rig.scheduler->Submit(std::move(request));
      // Mostly as fast as it is served; at times faster, so that some are refused.
      while (fate > 2 && rig.scheduler->queue_depth() > 900 && !rig.scheduler->stopped()) {
        rig.scheduler->RunHere(100 * kMicrosecond);
      }
      if (i % 7 == 0) rig.scheduler->RunHere(100 * kMicrosecond);
      if (i % 11 == 0) rig.scheduler->Wake();
    }
    rig.scheduler->RunHere(100 * kMicrosecond);
  }
};

void CheckEach(const SchedulerRig& rig) {
  size_t answered = 0;
  for (size_t id = 0; id < Stress::kProducers * Stress::kEach; ++id) {
    const KeepingSink::Kept& kept = rig.sink[id];
    ASSERT_EQ(kept.ends, 1) << id;
    if (!kept.status.ok()) {
      ASSERT_TRUE(kept.responses.empty());
      continue;
    }
    ++answered;
    ASSERT_EQ(kept.responses.size(), 1u);
    float expected = static_cast<float>(id) + 1;
    for (const float value : rig.sink.FloatsOf(id)) ASSERT_EQ(value, expected++);
  }
  EXPECT_GT(answered, 0u);
  EXPECT_EQ(rig.stats.success.value(), answered);
  EXPECT_EQ(rig.failures(FailureReason::kBackend), 0u);
}

class SchedulerStress : public ::testing::TestWithParam<Nanos> {};

TEST_P(SchedulerStress, EndsEveryRequestOnceWithItsOwnBytes) {
  SchedulerSettings settings{
      .queue_depth = 1024, .caller_runs_max = kSecond, .instances = 3, .threads = 3};
  settings.batching.queue_delay_max = GetParam();
  Stress stress;
  SchedulerRig rig(settings, PlusOne, Stress::kProducers * Stress::kEach);
  std::vector<std::thread> producers;
  for (int producer = 0; producer < Stress::kProducers; ++producer) {
    producers.emplace_back([&, producer] { stress.Produce(rig, producer); });
  }
  for (std::thread& producer : producers) producer.join();
  // No Wake here: what waits now must end without anybody's help.
  rig.sink.WaitFor(Stress::kProducers * Stress::kEach);
  CheckEach(rig);
}

TEST_P(SchedulerStress, EndsEveryRequestOnceWhenItIsStoppedInTheMiddle) {
  SchedulerSettings settings{
      .queue_depth = 1024, .caller_runs_max = kSecond, .instances = 3, .threads = 3};
  settings.batching.queue_delay_max = GetParam();
  Stress stress;
  SchedulerRig rig(settings, PlusOne, Stress::kProducers * Stress::kEach);
  std::vector<std::thread> producers;
  for (int producer = 0; producer < Stress::kProducers; ++producer) {
    producers.emplace_back([&, producer] { stress.Produce(rig, producer); });
  }
  rig.sink.WaitFor(Stress::kEach);
  rig.scheduler->Stop();
  for (std::thread& producer : producers) producer.join();
  rig.Stop();
  EXPECT_EQ(rig.sink.ends(), static_cast<size_t>(Stress::kProducers * Stress::kEach));
  CheckEach(rig);
}

INSTANTIATE_TEST_SUITE_P(Delays, SchedulerStress,
                         ::testing::Values(Nanos{0}, 50 * kMicrosecond, kMillisecond));

}  // namespace
}  // namespace fastserve
