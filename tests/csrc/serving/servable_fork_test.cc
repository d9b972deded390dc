// A servable in a child of fork(): none of its threads is there, and its locks may be held for
// ever.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <utility>

#include "serving/gate.h"
#include "serving/keeping_sink.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FS_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define FS_THREAD_SANITIZER
#endif

namespace fastserve {
namespace {

// What `act` returns in a child of this process; 99 when the child hangs.
template <typename Act>
int ExitCodeOfChild(Act act) {
  constexpr unsigned kChildMax_s = 60;
  const pid_t child = fork();
  if (child == 0) {
    alarm(kChildMax_s);
    _exit(act());
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

// Everything that a front end does with a servable; 0 when each thing is as the header promises.
int UseInChild(std::shared_ptr<Servable> servable) {
  KeepingSink sink;
  const std::atomic<bool> done{false};
  servable->Submit(sink.FloatRequest(0, 1, 0));
  if (sink.ends() != 1) return 1;
  if (sink[0].status.code() != Code::kFailedPrecondition) return 2;
  if (sink[0].status.message() !=
      "model 'm' was loaded before this process was forked: load it here") {
    return 3;
  }
  if (servable->RunHere(kSecond) != 0) return 4;
  servable->RunUntil(done);
  servable->Wake();
  servable.reset();
  return 0;
}

TEST(ServableFork, EndsWhatIsSubmittedInTheChildAndJoinsNothing) {
  auto servable = Serve(FloatBackend(), UpTo(8));
  EXPECT_EQ(ExitCodeOfChild([&] { return UseInChild(std::move(servable)); }), 0);
  KeepingSink sink;
  servable->Submit(sink.FloatRequest(0, 1, 0));
  servable->Wake();
  sink.WaitFor(1);
  EXPECT_TRUE(sink[0].status.ok());
}

// One request runs and one waits: they end in the parent, once, and not in the child.
TEST(ServableFork, LeavesWhatIsUnderWayToTheParent) {
  Gate gate;
  KeepingSink sink;
  auto servable = Serve(FloatBackend([&](auto inputs, int64_t rows, OutputSink& outputs) {
                          gate.Pass();
                          return PlusOne(inputs, rows, outputs);
                        }),
                        UpTo(1));
  for (int id = 0; id < 2; ++id) servable->Submit(sink.FloatRequest(id, 1, 0));
  servable->Wake();
  gate.AwaitWaiting(1);
  const int code = ExitCodeOfChild([&] {
    const int used = UseInChild(std::move(servable));
    return used != 0 ? used : static_cast<int>(10 * sink.ends());
  });
  EXPECT_EQ(code, 0);
  gate.Open();
  sink.WaitFor(2);
  EXPECT_TRUE(sink[0].status.ok());
  EXPECT_TRUE(sink[1].status.ok());
}

// ThreadSanitizer lets no child of a process with threads make threads of its own.
#ifndef FS_THREAD_SANITIZER
TEST(ServableFork, LetsTheChildMakeItsOwn) {
  auto servable = Serve(FloatBackend(), UpTo(8));
  const int code = ExitCodeOfChild([&] {
    KeepingSink sink;
    {
      const auto own = Serve(FloatBackend(), UpTo(8));
      own->Submit(sink.FloatRequest(0, 1, 0));
      own->Wake();
      sink.WaitFor(1);
    }
    return sink[0].status.ok() ? 0 : 1;
  });
  EXPECT_EQ(code, 0);
}
#endif  // FS_THREAD_SANITIZER

// What is the parent's goes at once in the child, where nothing of it may be waited for.
TEST(ServableFork, IsGoneInTheChildWhenItIsLetGoOf) {
  auto servable = ServeUnawaited(FloatBackend(), UpTo(8));
  const std::shared_ptr<Departure> departure = servable->departure();
  const int code = ExitCodeOfChild([&] {
    servable.reset();
    return departure->is_gone() ? 0 : 1;
  });
  EXPECT_EQ(code, 0);
  EXPECT_FALSE(departure->is_gone());
  servable.reset();
  EXPECT_TRUE(departure->WaitUntil(kNever));
}

#ifndef FS_THREAD_SANITIZER  // It allows no thread in such a child.
TEST(ServableFork, HasAReaperOfItsOwnInTheChild) {
  auto inherited = ServeUnawaited(FloatBackend(), UpTo(8));
  const int code = ExitCodeOfChild([] {
    auto own = ServeUnawaited(FloatBackend(), UpTo(8));
    const std::shared_ptr<Departure> departure = own->departure();
    own.reset();
    return departure->WaitUntil(kNever) && (*Reaper::OfProcess())->WaitUntil(kNever) ? 0 : 1;
  });
  EXPECT_EQ(code, 0);
}
#endif

}  // namespace
}  // namespace fastserve
