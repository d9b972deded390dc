// What the tests of the scheduler stand on: one over a model of two floats, and a sink that keeps
// what became of each request.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "serving/keeping_sink.h"
#include "serving/scheduling/instance_thread.h"
#include "serving/scheduling/scheduler.h"

namespace fastserve {

// A clock that stands still until the test moves it.
struct VirtualClock {
  static inline std::atomic<Nanos> now_ns{0};
  static Nanos Now() { return now_ns.load(std::memory_order_relaxed); }
  static void Set(Nanos now) { now_ns.store(now, std::memory_order_relaxed); }
  static void Advance(Nanos passed) { Set(Now() + passed); }
};

struct SchedulerSettings {
  DynamicBatcher::Options batching = {.batch_rows_max = 8, .preferred_rows = {}};
  size_t queue_depth = 64;
  Nanos caller_runs_max = 0;
  int instances = 1;
  int threads = 0;
  Nanos (*now)() = &NowNanos;
};

// A scheduler whose threads are the test's own, unless asked for.
struct SchedulerRig {
  explicit SchedulerRig(const SchedulerSettings& settings = {},
                        FakeBackend::Function function = PlusOne, size_t requests = 64)
      : backend(FloatBackend(std::move(function))), pool(SlabPool::Create({})), sink(requests) {
    std::vector<std::unique_ptr<ModelInstance>> instances;
    for (int i = 0; i < settings.instances; ++i) instances.push_back(*backend->NewInstance());
    Scheduler::Options options;
    options.model = "model 'm'";
    options.batching = settings.batching;
    options.queue_depth = settings.queue_depth;
    options.caller_runs_max = settings.caller_runs_max;
    options.now = settings.now;
    options.batch = {.signature = &backend->signature(),
                     .has_batch_dimension = true,
                     .pool = pool.get(),
                     .stats = &stats};
    scheduler = std::make_unique<Scheduler>(std::move(options), std::move(instances));
    for (int i = 0; i < settings.threads; ++i) {
      threads.push_back(*InstanceThread::Start(scheduler.get(), "test"));
    }
  }
  ~SchedulerRig() { Stop(); }

  void Stop() {
    if (scheduler != nullptr) scheduler->Stop();
    threads.clear();
    scheduler.reset();
  }
  void Submit(int id, int64_t rows = 1) {
    scheduler->Submit(sink.FloatRequest(id, rows, static_cast<float>(id)));
  }
  // Lets RunHere believe that everything takes no time.
  void LearnThatAllIsCheap() {
    for (int64_t rows = 1; rows <= 64; rows *= 2) {
      const BatchInput input =
          Floats({rows, 2}, std::vector<float>(2 * static_cast<size_t>(rows), 0.0F));
      ASSERT_TRUE(scheduler->Rehearse(0, std::span(&input, 1), rows, true).ok());
    }
  }
  uint64_t failures(FailureReason reason) const {
    return stats.failures[static_cast<size_t>(reason)].value();
  }

  std::shared_ptr<FakeBackend> backend;
  std::unique_ptr<SlabPool> pool;
  ServableStats stats;
  KeepingSink sink;
  std::unique_ptr<Scheduler> scheduler;
  std::vector<std::unique_ptr<InstanceThread>> threads;
};

}  // namespace fastserve
