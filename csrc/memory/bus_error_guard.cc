#include "memory/bus_error_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/annotations.h"
#include "base/counter.h"
#include "sync/range_table.h"

namespace fastserve {
namespace {

using Ranges = RangeTable<BusErrorGuard::kRangesMax>;
static_assert(BusErrorGuard::kBytesMax == Ranges::kBytesMax);

using PlainHandler = void (*)(int);
using InfoHandler = void (*)(int, siginfo_t*, void*);

constinit Ranges watched;
constinit Counter faults_taken;

// What was there before: `info_handler`, or if that is null `plain_handler`, which may be SIG_DFL
// or SIG_IGN. Relaxed: what they point to is code, and each is an answer by itself.
constinit std::atomic<InfoHandler> info_handler{nullptr};
constinit std::atomic<PlainHandler> plain_handler{nullptr};
constinit std::atomic<bool> is_one_shot{false};  // SA_RESETHAND: called once, then the default.
static_assert(std::atomic<InfoHandler>::is_always_lock_free &&
              std::atomic<PlainHandler>::is_always_lock_free &&
              std::atomic<bool>::is_always_lock_free);

constinit Mutex installing;
bool is_installed FS_GUARDED_BY(installing) = false;

// In the handler, as all up to OnBusError: nothing here may lock, allocate or throw.
//
// False when the fault is not ours, or when there is no memory for as many zeros.
bool ReplaceByZeros(const siginfo_t& info) {
  // Of the reasons for SIGBUS this one alone says that a page of a file is missing, and where.
  if (info.si_code != BUS_ADRERR) return false;
  const std::optional<Ranges::Found> range =
      watched.Find(reinterpret_cast<uintptr_t>(info.si_addr));
  if (!range) return false;
  // Marked first: who sees a zero finds the mark. Two threads may come here at once; the second
  // maps zeros over zeros.
  if (watched.Mark(range->place)) faults_taken.Add();
  // The system call itself: the C library does not say whether its function is safe here, and
  // sanitizers replace it. The range stays one mapping, and takes memory only as it is written.
  const auto zeros = static_cast<uintptr_t>(
      syscall(SYS_mmap, range->start, range->bytes, PROT_READ | PROT_WRITE,
              MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  return zeros == range->start;
}

// Ends the process, with a core that shows where.
void TakeDefault(int signal, bool is_sent) {
  struct sigaction by_default{};
  sigaction(signal, &by_default, nullptr);
  // An access is repeated and raises the signal again; one that was sent has to be sent again. It
  // comes when this handler returns.
  if (is_sent) raise(signal);
}

void HandOn(int signal, siginfo_t* info, void* context) {
  const InfoHandler with_info = info_handler.load(std::memory_order_relaxed);
  const PlainHandler plain = plain_handler.load(std::memory_order_relaxed);
  const bool is_sent = info->si_code <= 0;  // By kill, raise and the like.
  if (is_one_shot.load(std::memory_order_relaxed)) {
    info_handler.store(nullptr, std::memory_order_relaxed);
    plain_handler.store(SIG_DFL, std::memory_order_relaxed);
  }
  if (with_info != nullptr) return with_info(signal, info, context);
  if (plain == SIG_IGN && is_sent) return;
  // A fault cannot be ignored: the kernel takes the default then, and so does this.
  if (plain == SIG_DFL || plain == SIG_IGN) return TakeDefault(signal, is_sent);
  plain(signal);
}

void OnBusError(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  if (!ReplaceByZeros(*info)) HandOn(signal, info, context);
  errno = error;
}

void KeepPrevious(const struct sigaction& found) {
  const bool has_info = (found.sa_flags & SA_SIGINFO) != 0;
  const bool is_reset = (static_cast<unsigned>(found.sa_flags) & SA_RESETHAND) != 0;
  plain_handler.store(has_info ? SIG_DFL : found.sa_handler, std::memory_order_relaxed);
  info_handler.store(has_info ? found.sa_sigaction : nullptr, std::memory_order_relaxed);
  is_one_shot.store(is_reset, std::memory_order_relaxed);
}

bool IsOurs(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == &OnBusError;
}

// Whether it is a function that came after ours. The one that ours replaced is not, when it has
// been installed anew.
bool IsOnTop(const struct sigaction& action) {
  if ((action.sa_flags & SA_SIGINFO) != 0) {
    return action.sa_sigaction != info_handler.load(std::memory_order_relaxed);
  }
  return action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN &&
         action.sa_handler != plain_handler.load(std::memory_order_relaxed);
}

Status Install() FS_EXCLUDES(installing) {
  const MutexLock lock(installing);
  struct sigaction found{};
  sigaction(SIGBUS, nullptr, &found);
  // A function on top of ours most likely hands on to it, as ours does: putting ours on top of that
  // would make a circle.
  if (IsOurs(found) || (is_installed && IsOnTop(found))) return {};
  KeepPrevious(found);
  struct sigaction ours{};
  ours.sa_sigaction = &OnBusError;
  // What runs next may be a handler of somebody else's, who relies on its mask and on the alternate
  // stack that it has given to its threads.
  ours.sa_mask = found.sa_mask;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  struct sigaction replaced{};
  if (sigaction(SIGBUS, &ours, &replaced) != 0) {
    return Internal("installing a handler of SIGBUS: ", std::strerror(errno));
  }
  // Somebody else's may have come in between.
  if (!IsOurs(replaced)) KeepPrevious(replaced);
  is_installed = true;
  return {};
}

}  // namespace

Result<BusErrorGuard> BusErrorGuard::Watch(std::span<std::byte> pages) {
  const auto start = reinterpret_cast<uintptr_t>(pages.data());
  if (!Ranges::CanHold(start, pages.size())) {
    return Internal("a range of ", pages.size(), " bytes at ", static_cast<void*>(pages.data()),
                    " cannot be watched, expected whole pages, below 2^48 and at most ", kBytesMax,
                    " bytes");
  }
  FS_RETURN_IF_ERROR(Install());
  const std::optional<size_t> place = watched.Enter(start, pages.size());
  if (!place) {
    return ResourceExhausted("this process has ", kRangesMax,
                             " regions of shared memory mapped, which is its limit: unregister "
                             "some, and let the requests that use them end");
  }
  return BusErrorGuard(*place);
}

BusErrorGuard::~BusErrorGuard() {
  if (place_ != kNone) watched.Leave(place_);
}

bool BusErrorGuard::has_faulted() const { return watched.IsMarked(place_); }

size_t BusErrorGuard::ranges() { return watched.size_approx(); }

uint64_t BusErrorGuard::faults() { return faults_taken.value(); }

}  // namespace fastserve
