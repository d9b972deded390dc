// WaitEstimate, where it is used: a scheduler under a virtual clock.
#include "serving/scheduling/wait_estimate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "serving/scheduling/scheduler_rig.h"

namespace fastserve {
namespace {

// An engine whose runs end when the test says so: always the one that is due first, at its time.
class VirtualEngine {
 public:
  static Nanos CostOf(int64_t rows) { return 20 * kMillisecond + rows * kMillisecond; }

  Status Run(std::span<const BatchInput> inputs, int64_t rows, OutputSink& outputs) {
    {
      std::unique_lock lock(mutex_);
      const int run = started_++;
      ends_.emplace(VirtualClock::Now() + CostOf(rows), run);
      changed_.notify_all();
      changed_.wait(lock, [&] { return is_open_ || released_ == run; });
    }
    outputs.Add(0, inputs[0].tensor, inputs[0].owner);
    outputs.EndResponse();
    return {};
  }
  void AwaitStarted(int runs) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return started_ >= runs; });
  }
  void FinishNext() {
    const std::lock_guard lock(mutex_);
    const auto next = ends_.begin();
    VirtualClock::Set(next->first);
    released_ = next->second;
    ends_.erase(next);
    changed_.notify_all();
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<Nanos, int> ends_;
  int started_ = 0;
  int released_ = -1;
  bool is_open_ = false;
};

// Clients each of which submits its next request when it has the answer to the last; compares what
// the scheduler expected of each request with what came. Used by one thread at a time.
struct ClosedLoop : ResponseSink {
  struct Client : InferenceRequest {
    Nanos expected = 0;
  };

  void Submit(Client* client) {
    const BatchInput input = Floats({1, 2}, {1, 2});
    client->Clear();
    client->sink = this;
    client->inputs.push_back(input);
    client->input_bytes = input.tensor.bytes.size();
    client->expected = scheduler->ExpectedWait();
    scheduler->Submit(RequestPtr(client));
  }
  void OnResponse(InferenceRequest&, std::span<ResponseOutput>) override {}
  void OnEnd(RequestPtr request, Status status) override {
    auto* client = static_cast<Client*>(request.release());
    if (is_over) return;
    EXPECT_TRUE(status.ok());
    if (is_warm) {
      const auto took = static_cast<double>(VirtualClock::Now() - client->submitted_ns);
      worst = std::max({worst, static_cast<double>(client->expected) / took,
                        took / static_cast<double>(client->expected)});
      ++compared;
    }
    Submit(client);
  }

  Scheduler* scheduler = nullptr;
  bool is_warm = false;
  bool is_over = false;
  double worst = 1;
  int compared = 0;
};

struct Steady {
  int64_t rows_max;
  int instances;
  int clients;
};

class WaitEstimateSteady : public ::testing::TestWithParam<Steady> {};

TEST_P(WaitEstimateSteady, IsWithinAFactorOfOneAndAHalfOfTheTruth) {
  const Steady steady = GetParam();
  VirtualClock::Set(kSecond);
  VirtualEngine engine;
  SchedulerSettings settings{
      .instances = steady.instances, .threads = steady.instances, .now = &VirtualClock::Now};
  settings.batching.batch_rows_max = steady.rows_max;
  SchedulerRig rig(settings, [&](auto inputs, int64_t rows, OutputSink& outputs) {
    return engine.Run(inputs, rows, outputs);
  });
  std::vector<std::unique_ptr<ClosedLoop::Client>> clients;
  ClosedLoop loop;
  loop.scheduler = rig.scheduler.get();
  for (int i = 0; i < steady.clients; ++i) {
    clients.push_back(std::make_unique<ClosedLoop::Client>());
    loop.Submit(clients.back().get());
  }
  rig.scheduler->Wake();
  for (int run = 0; run < 300; ++run) {
    engine.AwaitStarted(run + steady.instances);
    loop.is_warm = run > 100;
    // The instances do not run in step: what they take differs, as in life.
    if (run == 50) VirtualClock::Advance(VirtualEngine::CostOf(steady.rows_max) / 3);
    engine.FinishNext();
  }
  engine.AwaitStarted(300 + steady.instances);
  loop.is_over = true;
  EXPECT_GT(loop.compared, 150);
  EXPECT_LE(loop.worst, 1.5);
  RecordProperty("worst", std::to_string(loop.worst));
  EXPECT_NEAR(rig.scheduler->busy_share(), 1, 0.2);
  engine.Open();
  rig.Stop();
}

INSTANTIATE_TEST_SUITE_P(States, WaitEstimateSteady,
                         ::testing::Values(Steady{1, 1, 2}, Steady{1, 1, 20}, Steady{1, 2, 20},
                                           Steady{8, 1, 16}, Steady{8, 1, 40}, Steady{8, 2, 48}));

// ------------------------------------------------------------------------------------------------
// Refusing early. One instance, no thread: the test runs what waits, and a run takes `cost`.

struct RefusalRig : SchedulerRig {
  explicit RefusalRig(Nanos queue_delay = 0)
      : SchedulerRig(SettingsOf(queue_delay),
                     [this](auto inputs, int64_t rows, OutputSink& outputs) {
                       if (during_run) std::exchange(during_run, nullptr)();
                       VirtualClock::Advance(cost);
                       return PlusOne(inputs, rows, outputs);
                     }) {}

  static SchedulerSettings SettingsOf(Nanos queue_delay) {
    VirtualClock::Set(kSecond);
    SchedulerSettings settings{.now = &VirtualClock::Now};
    settings.batching.batch_rows_max = queue_delay == 0 ? 1 : 8;
    settings.batching.queue_delay_max = queue_delay;
    return settings;
  }
  // Submits a request that must be answered within `left`. What became of it so far.
  Code SubmitWithin(Nanos left) {
    const int id = next++;
    RequestPtr request = sink.FloatRequest(id, 1, 0);
    request->deadline_ns = VirtualClock::Now() + left;
    scheduler->Submit(std::move(request));
    return sink[static_cast<size_t>(id)].status.code();  // OK also while it waits.
  }
  std::string LastMessage() const { return sink[static_cast<size_t>(next - 1)].status.message(); }
  void LearnRuns(int runs) {
    for (int run = 0; run < runs; ++run) {
      Submit(next++);
      while (scheduler->RunSome().ran) continue;
    }
  }

  Nanos cost = 0;
  std::function<void()> during_run;
  int next = 0;
};

TEST(WaitEstimate, RefusesNobodyWhileNothingIsKnown) {
  RefusalRig rig;
  EXPECT_EQ(rig.scheduler->ExpectedWait(), 0);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(rig.SubmitWithin(1), Code::kOk);
  EXPECT_EQ(rig.scheduler->queue_depth(), 20u);
}

TEST(WaitEstimate, RefusesOfAnIdleModelOnlyWhatIsShorterThanItsRun) {
  RefusalRig rig;
  rig.cost = 10 * kMillisecond;
  rig.LearnRuns(5);
  EXPECT_EQ(rig.scheduler->ExpectedWait(), 10 * kMillisecond);
  EXPECT_EQ(rig.SubmitWithin(9 * kMillisecond), Code::kUnavailable);
  EXPECT_EQ(rig.LastMessage(),
            "model 'm' is busy: the request would be answered in about 10 ms, its deadline is in "
            "9000 us");
  EXPECT_EQ(rig.failures(FailureReason::kRejected), 1u);
  EXPECT_EQ(rig.SubmitWithin(10 * kMillisecond), Code::kOk);
  EXPECT_EQ(rig.scheduler->queue_depth(), 1u);
}

// A run of 100 ms is under way since 30 ms, and two wait.
TEST(WaitEstimate, CountsTheRunUnderWayAndThoseAhead) {
  RefusalRig rig;
  rig.cost = 100 * kMillisecond;
  rig.LearnRuns(3);
  // The turns of those who wait are learned where somebody waits.
  for (int i = 0; i < 4; ++i) rig.Submit(rig.next++);
  while (rig.scheduler->RunSome().ran) continue;
  rig.during_run = [&] {
    VirtualClock::Advance(30 * kMillisecond);
    EXPECT_EQ(rig.scheduler->ExpectedWait(), 170 * kMillisecond);
    rig.Submit(rig.next++);
    rig.Submit(rig.next++);
    EXPECT_EQ(rig.scheduler->ExpectedWait(), 370 * kMillisecond);
    EXPECT_EQ(rig.SubmitWithin(369 * kMillisecond), Code::kUnavailable);
    EXPECT_EQ(
        rig.LastMessage(),
        "model 'm' is busy: the request would be answered in about 370 ms, its deadline is in "
        "369 ms");
    EXPECT_EQ(rig.SubmitWithin(370 * kMillisecond), Code::kOk);
  };
  rig.Submit(rig.next++);
  while (rig.scheduler->RunSome().ran) continue;
}

TEST(WaitEstimate, LeavesWhatIsLateAlreadyToEndAsLate) {
  RefusalRig rig;
  rig.cost = 10 * kMillisecond;
  rig.LearnRuns(5);
  EXPECT_EQ(rig.SubmitWithin(0), Code::kOk);
  rig.scheduler->RunSome();
  EXPECT_EQ(rig.sink[5].status.code(), Code::kDeadlineExceeded);
}

// The first run loads what later ones have: it must not keep others away for ever.
TEST(WaitEstimate, LetsOneTryNowAndThenSoThatASlowFirstRunIsForgotten) {
  RefusalRig rig;
  rig.cost = kSecond;
  rig.LearnRuns(1);
  rig.cost = 10 * kMillisecond;
  int refused = 0;
  while (rig.SubmitWithin(100 * kMillisecond) == Code::kUnavailable) {
    ASSERT_LT(++refused, 100);
    VirtualClock::Advance(100 * kMillisecond);
  }
  EXPECT_EQ(refused, 20);  // Two runs' time.
  // Until it has run it is the only one.
  EXPECT_EQ(rig.SubmitWithin(100 * kMillisecond), Code::kUnavailable);
  EXPECT_TRUE(rig.scheduler->RunSome().ran);
  EXPECT_EQ(rig.SubmitWithin(100 * kMillisecond), Code::kOk);
}

// One slow run while others waited: turns are not thought to take as long for ever.
TEST(WaitEstimate, ForgetsASlowTurnThatWasNeverRepeated) {
  RefusalRig rig;
  rig.LearnRuns(1);
  rig.cost = kSecond;
  rig.Submit(rig.next++);
  rig.Submit(rig.next++);
  while (rig.scheduler->RunSome().ran) rig.cost = 10 * kMillisecond;
  rig.LearnRuns(3);
  rig.Submit(rig.next++);
  rig.Submit(rig.next++);
  EXPECT_EQ(rig.SubmitWithin(50 * kMillisecond), Code::kOk);
}

// Company is waited for at most half of a deadline, so that is no reason to refuse.
TEST(WaitEstimate, CountsTheWaitForCompanyButRefusesNobodyForIt) {
  RefusalRig rig(40 * kMillisecond);
  rig.cost = 10 * kMillisecond;
  for (int i = 0; i < 3; ++i) {
    rig.Submit(rig.next++);
    VirtualClock::Advance(40 * kMillisecond);
    EXPECT_TRUE(rig.scheduler->RunSome().ran);
  }
  EXPECT_EQ(rig.scheduler->ExpectedWait(), 50 * kMillisecond);
  EXPECT_EQ(rig.SubmitWithin(20 * kMillisecond), Code::kOk);
}

TEST(WaitEstimate, TellsTheBusyShareOfItsInstances) {
  RefusalRig rig;
  rig.cost = 10 * kMillisecond;
  for (int i = 0; i < 40; ++i) {
    rig.scheduler->Submit(rig.sink.FloatRequest(i, 1, 0));
    rig.scheduler->RunSome();
    VirtualClock::Advance(90 * kMillisecond);
  }
  EXPECT_NEAR(rig.scheduler->busy_share(), 0.1, 0.02);
}

}  // namespace
}  // namespace fastserve
