#include "serving/instance_thread.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <array>
#include <string>

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

}  // namespace
}  // namespace fastserve
