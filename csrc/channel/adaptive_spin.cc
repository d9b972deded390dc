#include "channel/adaptive_spin.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace fastserve {
namespace {

constexpr int kScoreMax = 8;
constexpr int kScoreLost = 2;  // By a look that found nothing.
// One wait in so many is a try although looking does not pay.
constexpr uint32_t kTryEvery = 64;
constexpr Nanos kRestMin = 2 * kMillisecond;
constexpr Nanos kRestMax = 1 * kSecond;

// The machine's, not those that this thread may use: a thread that is bound to a core of its own is
// just the one that may look.
int Cores() {
  static const auto cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return cores;
}

int64_t TimesTakenOff() {
  rusage used{};
  return getrusage(RUSAGE_THREAD, &used) == 0 ? used.ru_nivcsw : 0;
}

// Threads of this process that look now. Half of the cores are left to those who have work.
std::atomic<int> looking{0};

int LookingMax() { return std::max(1, Cores() / 2); }

}  // namespace

AdaptiveSpin::AdaptiveSpin(Nanos longest)
    : longest_(Cores() > 1 ? longest : 0), score_(kScoreMax), taken_off_(TimesTakenOff()) {}

bool AdaptiveSpin::Begin() {
  if (longest_ <= 0) return false;
  if (score_ <= 0) {
    if (++waits_ < kTryEvery) return false;
    waits_ = 0;
  }
  if (rest_until_ns_ != 0) {
    if (NowNanos() < rest_until_ns_) return false;
    rest_until_ns_ = 0;
    taken_off_ = TimesTakenOff();
  }
  if (looking.fetch_add(1, std::memory_order_relaxed) < LookingMax()) return true;
  looking.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

void AdaptiveSpin::End(bool found) {
  looking.fetch_sub(1, std::memory_order_relaxed);
  if (found) {
    score_ = std::min(score_ + 1, kScoreMax);
    return;
  }
  score_ = std::max(score_ - kScoreLost, 0);
  // Asked only now, when a sleep is to come anyway: the question is a system call.
  const int64_t taken_off = TimesTakenOff();
  if (taken_off == taken_off_) {
    rest_ = 0;
    return;
  }
  taken_off_ = taken_off;
  rest_ = std::clamp(rest_ * 2, kRestMin, kRestMax);
  rest_until_ns_ = NowNanos() + rest_;
}

}  // namespace fastserve
