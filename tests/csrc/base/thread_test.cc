#include "base/thread.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

namespace fastserve {
namespace {

// The mask of a thread that StartThread starts.
sigset_t MaskOfAThread() {
  sigset_t mask;
  pthread_t thread{};
  const auto read = [](void* out) -> void* {
    pthread_sigmask(SIG_SETMASK, nullptr, static_cast<sigset_t*>(out));
    return nullptr;
  };
  EXPECT_EQ(StartThread(&thread, read, &mask), 0);
  pthread_join(thread, nullptr);
  return mask;
}

TEST(Thread, TakesNoSignalsThatAreSent) {
  const sigset_t mask = MaskOfAThread();
  for (const int sent : {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGPROF, SIGPIPE}) {
    EXPECT_EQ(sigismember(&mask, sent), 1) << strsignal(sent);
  }
}

// A fault whose signal is blocked kills the process, whoever has a handler for it.
TEST(Thread, TakesTheFaultsOfItsOwnInstructions) {
  const sigset_t mask = MaskOfAThread();
  for (const int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL}) {
    EXPECT_EQ(sigismember(&mask, fault), 0) << strsignal(fault);
  }
}

TEST(Thread, LeavesTheMaskOfItsStarterAlone) {
  sigset_t before;
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  (void)MaskOfAThread();
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (const int signal : {SIGTERM, SIGBUS, SIGUSR1}) {
    EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal));
  }
}

}  // namespace
}  // namespace fastserve
