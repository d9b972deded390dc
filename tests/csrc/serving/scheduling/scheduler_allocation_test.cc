// The steady path allocates nothing: this program's operator new counts. ThreadSanitizer brings an
// operator new that cannot be replaced; under it the same requests run and nothing is counted.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "serving/fake_backend.h"
#include "serving/scheduling/scheduler.h"
#include "serving/servable.h"

namespace {
thread_local size_t allocations = 0;
}  // namespace

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FS_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_THREAD__)
#define FS_THREAD_SANITIZER
#endif
#ifndef FS_THREAD_SANITIZER
// Not inlined, or the compiler sees free() take what new gave and warns.
[[gnu::noinline]] void* operator new(size_t bytes) {
  ++allocations;
  return std::malloc(bytes == 0 ? 1 : bytes);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif  // FS_THREAD_SANITIZER

namespace fastserve {
namespace {

// Keeps the requests that come back, as a front end's pool does.
struct Pool : ResponseSink {
  void OnResponse(InferenceRequest&, std::span<ResponseOutput> outputs) override {
    EXPECT_EQ(outputs.size(), 1u);
  }
  void OnEnd(RequestPtr request, Status status) override {
    EXPECT_TRUE(status.ok());
    requests[count++].reset(request.release());
  }
  std::array<std::unique_ptr<InferenceRequest>, 8> requests;
  size_t count = 0;
};

Status Echo(std::span<const BatchInput> inputs, int64_t, OutputSink& outputs) {
  outputs.Add(0, inputs[0].tensor, inputs[0].owner);
  outputs.EndResponse();
  return {};
}

// Rounds of one request and of eight that share a batch: bound, queued, and run on this thread.
TEST(SchedulerAllocation, BindSubmitAndRunHereAllocateNothingOnceWarm) {
  const auto backend = FloatBackend(Echo);
  const auto servable = Serve(backend, UpTo(8));  // For Bind alone.
  const auto memory = SlabPool::Create({});
  ServableStats stats;
  Scheduler::Options options;
  options.batching.batch_rows_max = 8;
  options.caller_runs_max = 1000 * kSecond;
  options.batch = {&backend->signature(), true, memory.get(), &stats};
  std::vector<std::unique_ptr<ModelInstance>> instances;
  instances.push_back(*backend->NewInstance());
  Scheduler scheduler(options, std::move(instances));

  Pool pool;
  for (auto& request : pool.requests) request = std::make_unique<InferenceRequest>();
  pool.count = pool.requests.size();
  const BatchInput input = Floats({1, 2}, {1, 2});
  for (int round = 0; round < 50; ++round) {
    const size_t before = allocations;
    for (size_t i = round % 2 == 0 ? 1 : pool.requests.size(); i > 0; --i) {
      std::unique_ptr<InferenceRequest> request = std::move(pool.requests[--pool.count]);
      request->Clear();
      request->sink = &pool;
      NamedInput named{"x", input.tensor, input.owner};
      ASSERT_TRUE(servable->Bind(std::span(&named, 1), request.get()).ok());
      scheduler.Submit(RequestPtr(request.release()));
    }
    const bool known = scheduler.RunHere(1000 * kSecond) > 0;
    if (!known) scheduler.RunSome();  // Of unknown cost: the first of its size.
    ASSERT_EQ(pool.count, pool.requests.size());
    if (round >= 10) {
      EXPECT_TRUE(known);
      EXPECT_EQ(allocations, before) << round;
    }
  }
}

}  // namespace
}  // namespace fastserve
