// What a request over a channel takes: identity, one client, two processes, beside what there is to
// be had: a bare pair of rings that both sides watch, and a bare pair of bells on which both sleep.
//
// Rounds of all kinds by turns; medians of the rounds' medians. "apart": each side is bound to a
// core of its own; "anywhere": the kernel places them.
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "backends/identity/identity_backend.h"
#include "channel/client/channel_client.h"
#include "gateway/channel/channel_listener.h"

namespace fastserve {
namespace {

constexpr int kRounds = 9;

[[noreturn]] void Fail(const char* what, const Status& status) {
  std::printf("%s: %s\n", what, status.message().c_str());
  std::exit(1);
}

void StayOn(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) CPU_SET(i, &set);
  } else {
    CPU_SET(cpu, &set);
  }
  if (sched_setaffinity(0, sizeof set, &set) != 0) std::puts("(not bound)");
}

// Another process, until this goes.
class Other {
 public:
  Other(bool apart, const std::function<void(int ready)>& main) {
    int ready[2];
    if (pipe(ready) != 0) std::exit(1);
    pid_ = fork();
    if (pid_ == 0) {
      close(ready[0]);
      StayOn(apart ? 1 : -1);
      main(ready[1]);
      _exit(0);
    }
    close(ready[1]);
    char byte;
    if (read(ready[0], &byte, 1) != 1) std::exit(1);
    close(ready[0]);
    StayOn(apart ? 0 : -1);
  }
  ~Other() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    StayOn(-1);
  }

 private:
  pid_t pid_;
};

Nanos MedianOf(std::vector<Nanos>& taken) {
  std::ranges::nth_element(taken, taken.begin() + static_cast<ptrdiff_t>(taken.size() / 2));
  return taken[taken.size() / 2];
}

void SayReady(int ready) {
  if (write(ready, "r", 1) != 1) _exit(1);
}

// Two counters, or two bells, that a ball goes back and forth by.
Nanos Bare(bool apart, bool sleeps, int trips) {
  struct Side {
    alignas(64) std::atomic<uint32_t> count{0};
    Doorbell bell;
  };
  struct Shared {
    alignas(64) Side there, back;
  };
  void* const memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* const shared = new (memory) Shared;
  const auto put = [sleeps](Side& side, uint32_t count) {
    side.count.store(count, std::memory_order_release);
    if (sleeps) static_cast<void>(side.bell.Ring());
  };
  const auto await = [sleeps](Side& side, uint32_t count) {
    while (side.count.load(std::memory_order_acquire) < count) {
      if (!sleeps) continue;
      const uint32_t key = side.bell.Prepare();
      if (side.count.load(std::memory_order_acquire) >= count) return side.bell.Withdraw();
      side.bell.Wait(key, kNever);
    }
  };
  std::vector<Nanos> taken;
  {
    const Other other(apart, [&](int ready) {
      SayReady(ready);
      for (uint32_t i = 1;; ++i) {
        await(shared->there, i);
        put(shared->back, i);
      }
    });
    for (int i = 1; i <= trips; ++i) {
      const Nanos began = NowNanos();
      put(shared->there, static_cast<uint32_t>(i));
      await(shared->back, static_cast<uint32_t>(i));
      taken.push_back(NowNanos() - began);
    }
  }
  munmap(memory, sizeof(Shared));
  return MedianOf(taken);
}

void Serve(int ready, const std::string& address, Nanos spin, int64_t floats) {
  IdentityOptions identity;
  TensorSpec spec;
  spec.name = "x";
  spec.shape = Shape({floats});
  identity.inputs = {spec};
  spec.name = "y";
  identity.outputs = {spec};
  auto backend = OpenIdentity(identity);
  if (!backend.ok()) Fail("identity", backend.status());
  ServableOptions options;
  options.name = "identity";
  auto servable = Servable::Create(*std::move(backend), options);
  if (!servable.ok()) Fail("servable", servable.status());
  (*servable)->WarmUp();
  const auto map = std::make_shared<ServingMap>();
  map->Publish(*std::move(servable));
  ChannelListenerOptions listening;
  listening.address = address;
  listening.spin = spin;
  const auto listener = ChannelListener::Start(map, listening);
  if (!listener.ok()) Fail("listener", listener.status());
  SayReady(ready);
  while (true) pause();
}

Nanos Channel(bool apart, Nanos spin, int64_t floats, int trips) {
  static int count = 0;
  const std::string address =
      "@fastserve-bench-" + std::to_string(getpid()) + "-" + std::to_string(++count);
  const Other other(apart, [&](int ready) { Serve(ready, address, spin, floats); });
  ChannelClientOptions options;
  options.spin = spin;
  options.segment_bytes = size_t{128} << 20;
  auto client = ChannelClient::Connect(address, options);
  if (!client.ok()) Fail("connect", client.status());
  auto call = (*client)->NewCall("identity", "", "");
  if (!call.ok()) Fail("call", call.status());
  auto input = (*call)->AddInput("x", DataType::kFp32, Shape({floats}));
  if (!input.ok()) Fail("input", input.status());
  auto* const values = reinterpret_cast<float*>(input->bytes.data());
  std::vector<Nanos> taken;
  for (int i = 0; i < trips + trips / 10; ++i) {
    values[0] = static_cast<float>(i);
    const Nanos began = NowNanos();
    if (const Status sent = (*call)->Send(kNever); !sent.ok()) Fail("send", sent);
    const auto response = (*call)->Next(kNever);
    const Nanos took = NowNanos() - began;
    if (!response.ok()) Fail("response", response.status());
    float answered = 0;
    std::memcpy(&answered, (*response)->outputs.at(0).bytes.data(), sizeof answered);
    if (answered != values[0]) Fail("answer", Internal("of another request"));
    if (i >= trips / 10) taken.push_back(took);
  }
  return MedianOf(taken);
}

struct Row {
  const char* name;
  std::function<Nanos()> run;
};

void Report() {
  constexpr Nanos kAlways = 2 * kMillisecond;
  constexpr Nanos kDefault = 50 * kMicrosecond;
  const std::vector<Row> rows = {
      {"bare counters, looking, apart", [] { return Bare(true, false, 20'000); }},
      {"identity [16], looking, apart", [] { return Channel(true, kAlways, 16, 20'000); }},
      {"bare bells, sleeping, apart", [] { return Bare(true, true, 5'000); }},
      {"identity [16], sleeping, apart", [] { return Channel(true, 0, 16, 5'000); }},
      {"bare bells, sleeping, anywhere", [] { return Bare(false, true, 5'000); }},
      {"identity [16], sleeping, anywhere", [] { return Channel(false, 0, 16, 5'000); }},
      {"identity [16], adaptive, anywhere", [] { return Channel(false, kDefault, 16, 20'000); }},
      {"identity 602 KB, looking, apart", [] { return Channel(true, kAlways, 150'528, 5'000); }},
      {"identity 16 MB, looking, apart", [] { return Channel(true, kAlways, 4 << 20, 5'000); }},
  };
  std::map<const char*, std::vector<Nanos>> taken;
  for (int round = 0; round < kRounds; ++round) {
    for (const Row& row : rows) taken[row.name].push_back(row.run());
  }
  for (const Row& row : rows) {
    std::vector<Nanos>& all = taken[row.name];
    std::ranges::sort(all);
    const auto us = [](Nanos nanos) { return static_cast<double>(nanos) / kMicrosecond; };
    std::printf("%-36s p50 %7.2f us (%.2f to %.2f)\n", row.name, us(all[all.size() / 2]),
                us(all.front()), us(all.back()));
  }
}

}  // namespace
}  // namespace fastserve

int main() { fastserve::Report(); }
