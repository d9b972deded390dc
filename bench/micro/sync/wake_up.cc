// What a wake-up costs: two threads that wake each other through Signal, on one core and on two.
//
// CPU time is the process's: it holds what waking and falling asleep cost on both sides. On a
// virtual machine a wake-up across cores can cost twenty times one on the same core, because the
// core that is woken was given back to the host (serving/README.md, "Short runs").
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <thread>

#include "base/clock.h"
#include "sync/signal.h"

namespace fastserve {
namespace {

constexpr uint64_t kRoundTrips = 20'000;

Nanos CpuNanos() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto nanos = [](const timeval& t) { return t.tv_sec * kSecond + t.tv_usec * kMicrosecond; };
  return nanos(usage.ru_utime) + nanos(usage.ru_stime);
}

void StayOn(size_t cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0) std::puts("(not bound)");
}

// A ball that only one side holds.
struct Ball {
  std::atomic<uint64_t> thrown{0};
  Signal signal;

  void Throw() {
    thrown.fetch_add(1, std::memory_order_relaxed);
    signal.Notify();
  }
  void Await(uint64_t count) {
    while (true) {
      const uint32_t key = signal.Prepare();
      if (thrown.load(std::memory_order_relaxed) >= count) return;
      signal.Wait(key, kNever);
    }
  }
};

void Report(const char* name, size_t cpu_here, size_t cpu_there) {
  Ball there;
  Ball back;
  std::thread other([&] {
    StayOn(cpu_there);
    for (uint64_t i = 1; i <= kRoundTrips; ++i) {
      there.Await(i);
      back.Throw();
    }
  });
  StayOn(cpu_here);
  const Nanos cpu_began = CpuNanos();
  const Nanos began = NowNanos();
  for (uint64_t i = 1; i <= kRoundTrips; ++i) {
    there.Throw();
    back.Await(i);
  }
  const double trips = static_cast<double>(kRoundTrips) * kMicrosecond;
  std::printf("%-16s %6.1f us a round trip, %6.1f us of CPU\n", name,
              static_cast<double>(NowNanos() - began) / trips,
              static_cast<double>(CpuNanos() - cpu_began) / trips);
  other.join();
}

}  // namespace
}  // namespace fastserve

int main() {
  fastserve::Report("same core", 0, 0);
  if (std::thread::hardware_concurrency() > 1) fastserve::Report("two cores", 0, 1);
}
