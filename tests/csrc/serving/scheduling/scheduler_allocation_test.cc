// The steady path allocates nothing, and what does allocate may fail: this program's operator new
// counts, and fails where a test says so. ThreadSanitizer brings an operator new that cannot be
// replaced; under it the same requests run, nothing is counted and nothing fails.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "serving/fake_backend.h"
#include "serving/scheduling/scheduler.h"
#include "serving/servable.h"

namespace {
thread_local size_t allocations = 0;
thread_local size_t failing = 0;  // The number of the allocation that fails; 0: none.
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
  if (++allocations == failing) throw std::bad_alloc();
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

// ------------------------------------------------------------------------------------------------
// Out of memory, everywhere.

// Counts how its requests end, with memory that it has.
struct Ends : ResponseSink {
  struct Request : InferenceRequest {
    int responses = 0;
    int ends = 0;
    Code code = Code::kOk;
  };

  void OnResponse(InferenceRequest& request, std::span<ResponseOutput>) override {
    ++static_cast<Request&>(request).responses;
    // A front end may need memory to keep a response.
    response_ = std::make_unique<std::array<std::byte, 64>>();
  }
  void OnEnd(RequestPtr request, Status status) override {
    auto* const ended = static_cast<Request*>(request.release());
    ++ended->ends;
    ended->code = status.code();
  }

 private:
  std::unique_ptr<std::array<std::byte, 64>> response_;
};

// Needs memory to run; fails on the value 66.
Status Hungry(std::span<const BatchInput> inputs, int64_t rows, OutputSink& outputs) {
  const std::vector<float> scratch(static_cast<size_t>(rows) * 2);
  const Tensor& x = inputs[0].tensor;
  for (size_t at = 0; at < x.bytes.size(); at += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, x.bytes.data() + at, sizeof value);
    if (value == 66) return Internal("66 is more than this model can take");
  }
  return Echo(inputs, rows, outputs);
}

class OutOfMemory {
 public:
  static constexpr size_t kDepth = 16;

  // Everything that a scheduler does with requests: one alone, several that share a batch, one that
  // the engine fails, cancelled and late ones, and more than fit into the queue; with allocation
  // number `fails` failing. Returns how many there were.
  size_t Run(size_t fails) {
    Scheduler::Options options;
    options.model = "a model with a name that needs memory of its own";
    options.batching.batch_rows_max = 8;
    options.queue_depth = kDepth;
    options.caller_runs_max = 1000 * kSecond;
    options.batch = {&backend_->signature(), true, memory_.get(), &stats_};
    std::vector<std::unique_ptr<ModelInstance>> instances;
    instances.push_back(*backend_->NewInstance());
    Scheduler scheduler(options, std::move(instances));
    for (size_t i = 0; i < requests_.size(); ++i) Fill(i);
    requests_[3]->deadline_ns = 1;
    for (const size_t cancelled : {4, 15}) {
      requests_[cancelled]->cancelled.store(true, std::memory_order_relaxed);
    }
    const std::atomic<bool> done{false};

    allocations = 0;
    failing = fails;
    scheduler.Submit(RequestPtr(requests_[0].get()));
    scheduler.RunUntil(done);
    // No time at all: hopeless once the cost of a run is known.
    requests_[5]->submitted_ns = NowNanos();
    requests_[5]->deadline_ns = requests_[5]->submitted_ns + 1;
    for (size_t i = 1; i < requests_.size(); ++i) scheduler.Submit(RequestPtr(requests_[i].get()));
    scheduler.NoteCancelled();
    scheduler.Sweep();
    scheduler.RunHere(1000 * kSecond);
    while (scheduler.RunSome().ran) continue;
    failing = 0;
    return std::exchange(allocations, 0);
  }

  // Each request ended once and as it should, or for want of memory.
  void Check() const {
    for (size_t i = 0; i < requests_.size(); ++i) {
      const Ends::Request& request = *requests_[i];
      ASSERT_EQ(request.ends, 1) << i;
      if (request.code == Code::kResourceExhausted) continue;
      const Code expected = i == 3              ? Code::kDeadlineExceeded
                            : i == 4 || i == 15 ? Code::kCancelled
                            : i == 5            ? request.code
                            : i == 7            ? Code::kInternal
                                                : Code::kOk;
      ASSERT_EQ(request.code, expected) << i;
      ASSERT_FALSE(i == 5 && request.code == Code::kOk);
      ASSERT_EQ(request.responses, expected == Code::kOk ? 1 : 0) << i;
    }
  }
  size_t Failed() const {
    return static_cast<size_t>(std::count_if(requests_.begin(), requests_.end(), [](auto& r) {
      return r->code == Code::kResourceExhausted;
    }));
  }

 private:
  void Fill(size_t i) {
    requests_[i] = std::make_unique<Ends::Request>();
    Ends::Request& request = *requests_[i];
    request.sink = &sink_;
    request.inputs.push_back(Floats({1, 2}, {i == 7 ? 66.0F : 1.0F, 2}));
    request.input_bytes = request.inputs[0].tensor.bytes.size();
  }

  std::shared_ptr<FakeBackend> backend_ = FloatBackend(Hungry);
  std::unique_ptr<SlabPool> memory_ = SlabPool::Create({});
  ServableStats stats_;
  Ends sink_;
  // Two more than fit, when the first has left and the hopeless one is refused.
  std::array<std::unique_ptr<Ends::Request>, kDepth + 4> requests_;
};

TEST(SchedulerAllocation, LosesNoRequestWhicheverAllocationFails) {
  OutOfMemory run;
  const size_t count = run.Run(0);
  run.Check();
  EXPECT_EQ(run.Failed(), 2u);  // Those that found no place.
#ifndef FS_THREAD_SANITIZER
  EXPECT_GT(count, 20u);
#endif
  for (size_t fails = 1; fails <= count; ++fails) {
    SCOPED_TRACE(fails);
    run.Run(fails);
    run.Check();
    // A batch fails together when its sinks found no memory in the middle of it.
    ASSERT_LE(run.Failed(), 3u + 8u);
  }
}

}  // namespace
}  // namespace fastserve
