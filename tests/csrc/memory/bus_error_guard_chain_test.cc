// Whose SIGBUS it is: faults that are not ours, and handlers of others. Each case has a process of
// its own, in which nobody has watched anything yet.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstring>

#include "memory/bus_error_guard.h"
#include "memory/lost_pages.h"

namespace fastserve {
namespace {

constexpr int kSurvived = 3;
constexpr int kHandled = 4;

// One page of a file that is as long or, as `lost` wants, empty.
std::span<std::byte> PageOfAFile(bool lost) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const int file = memfd_create("page", MFD_CLOEXEC);
  EXPECT_EQ(ftruncate(file, lost ? 0 : static_cast<off_t>(page)), 0);
  void* const start = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  EXPECT_NE(start, MAP_FAILED);
  return {static_cast<std::byte*>(start), page};
}

// Where faults are not ours.
std::byte* lost_page = nullptr;

void TouchLostPage() {
  lost_page = PageOfAFile(true).data();
  (void)*const_cast<volatile std::byte*>(lost_page);
}

// A range is watched, and loses its page. Exits when that goes wrong.
void TakeAFault() {
  const std::span<std::byte> pages = PageOfAFile(true);
  const Result<BusErrorGuard> guard = BusErrorGuard::Watch(pages);
  if (!guard.ok() || Get(pages, 0) != 0 || !guard->has_faulted()) _exit(1);
}

void Set(void (*handler)(int), int flags = 0) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(SIGBUS, &action, nullptr);
}

bool Died(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS; }

class BusErrorGuardDeathTest : public testing::Test {
 protected:
  // In the child it is the test that begins anew.
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const rlimit none{};
    setrlimit(RLIMIT_CORE, &none);
  }
};

TEST_F(BusErrorGuardDeathTest, LetsFaultsElsewhereKillTheProcess) {
  const auto act = [] {
    Set(SIG_DFL);  // Sanitizers have a handler of their own.
    TakeAFault();
    TouchLostPage();
    _exit(kSurvived);
  };
  EXPECT_EXIT(act(), Died, "");
}

TEST_F(BusErrorGuardDeathTest, LetsFaultsElsewhereKillAProcessThatIgnoresThem) {
  const auto act = [] {
    Set(SIG_IGN);
    TakeAFault();
    raise(SIGBUS);  // One that is sent can be ignored.
    TouchLostPage();
    _exit(kSurvived);
  };
  EXPECT_EXIT(act(), Died, "");
}

TEST_F(BusErrorGuardDeathTest, LetsASignalThatIsSentKillTheProcess) {
  const auto act = [] {
    Set(SIG_DFL);
    TakeAFault();
    raise(SIGBUS);
    _exit(kSurvived);
  };
  EXPECT_EXIT(act(), Died, "");
}

TEST_F(BusErrorGuardDeathTest, LeavesTheSanitizersReportAsItIs) {
  const auto act = [] {
    TakeAFault();
    TouchLostPage();
    _exit(kSurvived);
  };
  const auto died = [](int status) {
    return WIFSIGNALED(status) || WEXITSTATUS(status) != kSurvived;
  };
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
  EXPECT_EXIT(act(), died, "AddressSanitizer: BUS");
  return;
#endif
#endif
  EXPECT_EXIT(act(), died, "");
}

TEST_F(BusErrorGuardDeathTest, HandsFaultsElsewhereToTheHandlerThatWasThere) {
  const auto act = [] {
    struct sigaction action{};
    action.sa_sigaction = [](int signal, siginfo_t* info, void* context) {
      const bool is_right = signal == SIGBUS && info->si_code == BUS_ADRERR &&
                            info->si_addr == lost_page && context != nullptr;
      _exit(is_right ? kHandled : 1);
    };
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, nullptr);
    TakeAFault();
    TouchLostPage();
    _exit(kSurvived);
  };
  EXPECT_EXIT(act(), testing::ExitedWithCode(kHandled), "");
}

TEST_F(BusErrorGuardDeathTest, HandsFaultsElsewhereToAHandlerThatTakesTheNumberAlone) {
  const auto act = [] {
    Set([](int signal) { _exit(signal == SIGBUS ? kHandled : 1); });
    TakeAFault();
    TouchLostPage();
    _exit(kSurvived);
  };
  EXPECT_EXIT(act(), testing::ExitedWithCode(kHandled), "");
}

// A handler of the kind that mends the fault, and returns.
TEST_F(BusErrorGuardDeathTest, GoesOnWhenTheHandlerThatWasThereHasMendedTheFault) {
  const auto act = [] {
    Set([](int) { mmap(lost_page, 1, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); });
    TakeAFault();
    TouchLostPage();
    TakeAFault();
    _exit(kSurvived);
  };
  EXPECT_EXIT(act(), testing::ExitedWithCode(kSurvived), "");
}

TEST_F(BusErrorGuardDeathTest, CallsAHandlerThatWantedToBeCalledOnceOnce) {
  const auto act = [] {
    Set([](int) { (void)!write(STDERR_FILENO, "once.", 5); }, static_cast<int>(SA_RESETHAND));
    TakeAFault();
    TouchLostPage();
    _exit(kSurvived);
  };
  EXPECT_EXIT(act(), Died, "^once\\.$");
}

// As Python's faulthandler does: it restores what was there before it, and raises the signal again.
TEST_F(BusErrorGuardDeathTest, DiesWithAHandlerThatReportsAndRaisesTheSignalAgain) {
  const auto act = [] {
    Set([](int signal) {
      (void)!write(STDERR_FILENO, "report.", 7);
      Set(SIG_DFL);
      raise(signal);
    });
    TakeAFault();
    TouchLostPage();
    _exit(kSurvived);
  };
  EXPECT_EXIT(act(), Died, "^report\\.$");
}

TEST_F(BusErrorGuardDeathTest, ComesBackWhenSomebodyHasRestoredTheDefault) {
  const auto act = [] {
    Set([](int) { _exit(1); });
    TakeAFault();
    Set(SIG_DFL);
    TakeAFault();
    TouchLostPage();
    _exit(kSurvived);
  };
  EXPECT_EXIT(act(), Died, "");
}

// As faulthandler does when it is disabled and enabled again.
TEST_F(BusErrorGuardDeathTest, ComesBackWhenTheHandlerThatWasThereIsInstalledAgain) {
  const auto act = [] {
    void (*const handler)(int) = [](int) { _exit(kHandled); };
    Set(handler);
    TakeAFault();
    Set(handler);
    TakeAFault();
    TouchLostPage();
    _exit(kSurvived);
  };
  EXPECT_EXIT(act(), testing::ExitedWithCode(kHandled), "");
}

struct sigaction ours;

TEST_F(BusErrorGuardDeathTest, StaysUnderAHandlerThatWasInstalledLater) {
  const auto act = [] {
    TakeAFault();
    sigaction(SIGBUS, nullptr, &ours);
    struct sigaction action{};
    action.sa_sigaction = [](int signal, siginfo_t* info, void* context) {
      (void)!write(STDERR_FILENO, "on top.", 7);
      ours.sa_sigaction(signal, info, context);
    };
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, nullptr);
    TakeAFault();
    _exit(kSurvived);
  };
  EXPECT_EXIT(act(), testing::ExitedWithCode(kSurvived), "^on top\\.$");
}

}  // namespace
}  // namespace fastserve
