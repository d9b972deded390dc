#include "serving/scheduling/instance_thread.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <array>
#include <memory>
#include <string>

#include "serving/gate.h"
#include "serving/keeping_sink.h"

namespace fastserve {
namespace {

TEST(InstanceThread, BearsTheModelsNameAndTakesNoSignals) {
  std::array<char, 16> name{};
  bool takes_term = true;
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  KeepingSink sink;
  ServableOptions options = UpTo(8);
  options.name = "a-very-long-model-name";
  const auto servable =
      Serve(FloatBackend([&](auto inputs, int64_t rows, OutputSink& outputs) {
              pthread_getname_np(pthread_self(), name.data(), name.size());
              sigset_t mask;
              pthread_sigmask(SIG_SETMASK, nullptr, &mask);
              takes_term = sigismember(&mask, SIGTERM) == 0 || sigismember(&mask, SIGPROF) == 0;
              return PlusOne(inputs, rows, outputs);
            }),
            options);
  servable->Submit(sink.FloatRequest(0, 1, 0));
  servable->Wake();
  sink.WaitFor(1);
  EXPECT_EQ(std::string(name.data()), "fs-a-very-long-");
  EXPECT_FALSE(takes_term);
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
}

// Instances run at once: each waits at the gate until all have come.
TEST(InstanceThread, RunsAsManyBatchesAtOnceAsThereAreInstances) {
  Gate gate;
  KeepingSink sink;
  ServableOptions options = UpTo(1);
  options.instance_count = 3;
  const auto servable = Serve(FloatBackend([&](auto inputs, int64_t rows, OutputSink& outputs) {
                                gate.Pass();
                                return PlusOne(inputs, rows, outputs);
                              }),
                              options);
  for (int id = 0; id < 4; ++id) servable->Submit(sink.FloatRequest(id, 1, 0));
  servable->Wake();
  gate.AwaitWaiting(3);
  EXPECT_EQ(servable->queue_depth(), 1u);
  gate.Open();
  sink.WaitFor(4);
}

// How many cores the thread that runs the model may use, seen from within each run.
class CoresOfRuns {
 public:
  explicit CoresOfRuns(bool caller_runs) {
    ServableOptions options = UpTo(1);
    options.caller_runs = caller_runs;
    servable_ = Serve(FloatBackend([this](auto inputs, int64_t rows, OutputSink& outputs) {
                        const Nanos end = NowNanos() + run_ns_;
                        cpu_set_t set;
                        sched_getaffinity(0, sizeof set, &set);
                        cores_ = CPU_COUNT(&set);
                        while (NowNanos() < end) continue;
                        return PlusOne(inputs, rows, outputs);
                      }),
                      options);
  }

  // Runs one request after another, each of which takes `run_ns`, until one sees `cores`.
  bool Reach(int cores, Nanos run_ns) {
    run_ns_ = run_ns;
    for (size_t run = 0; run < kRunsMax; ++run) {
      servable_->Submit(sink_.FloatRequest(next_, 1, 0));
      servable_->RunHere(kMillisecond);
      sink_.WaitFor(static_cast<size_t>(++next_));
      if (cores_ == cores) return true;
    }
    return false;
  }

 private:
  static constexpr size_t kRunsMax = 1000;

  Nanos run_ns_ = 0;  // Written while nothing runs.
  int cores_ = 0;
  int next_ = 0;
  KeepingSink sink_{3 * kRunsMax};
  std::shared_ptr<Servable> servable_;
};

// Waking another core costs more than a short run; a long one is better off there.
TEST(InstanceThread, StaysWithItsWakerWhileRunsAreShort) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  CoresOfRuns cores(/*caller_runs=*/false);
  EXPECT_TRUE(cores.Reach(1, 0));
  EXPECT_TRUE(cores.Reach(CPU_COUNT(&all), 200 * kMicrosecond));
  EXPECT_TRUE(cores.Reach(1, 0));
}

}  // namespace
}  // namespace fastserve
