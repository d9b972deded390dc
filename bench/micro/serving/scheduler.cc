// What the scheduler adds to an engine that does nothing: ns for each request.
//
// "here": Submit and RunHere on one thread, so many requests at a time; identical requests are made
// anew by the sink, as a front end's pool would. "hop": Submit and Wake, answered on an instance's
// thread, one request after the other. "clock": one reading of the clock, of which a request alone
// pays four (submitted, started, computed, finished) and a batch one more (staged).
//
// The target is a million requests a second on one core, 32 together: 1000 ns each.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "serving/servable.h"
#include "sync/signal.h"

namespace fastserve {
namespace {

class NoOp : public Backend {
 public:
  NoOp() {
    TensorSpec spec;
    spec.name = "x";
    spec.shape = {-1, 16};
    signature_ = {"noop", {spec}, {spec}};
  }
  const Signature& signature() const override { return signature_; }
  Result<std::unique_ptr<ModelInstance>> NewInstance() override {
    struct Instance : ModelInstance {
      Status Run(std::span<const BatchInput> inputs, int64_t, OutputSink& outputs) override {
        outputs.Add(0, inputs[0].tensor, inputs[0].owner);
        outputs.EndResponse();
        return {};
      }
    };
    return std::unique_ptr<ModelInstance>(std::make_unique<Instance>());
  }

 private:
  Signature signature_;
};

// Puts requests back on its shelf, where the next ones are taken from.
class Shelf : public ResponseSink {
 public:
  explicit Shelf(size_t count) : memory_(SlabPool::Create({})), content_(memory_->Acquire(64)) {
    for (size_t i = 0; i < count; ++i) {
      requests_.push_back(std::make_unique<InferenceRequest>());
      free_.push_back(requests_.back().get());
    }
  }
  RequestPtr Take(const Servable& servable) {
    InferenceRequest* request = free_.back();
    free_.pop_back();
    request->Clear();
    request->sink = this;
    NamedInput input{"x", {DataType::kFp32, {1, 16}, content_->bytes().first(64)}, content_};
    if (!servable.Bind(std::span(&input, 1), request).ok()) std::abort();
    return RequestPtr(request);
  }
  void OnResponse(InferenceRequest&, std::span<ResponseOutput>) override {}
  void OnEnd(RequestPtr request, Status status) override {
    if (!status.ok()) std::abort();
    free_.push_back(request.release());
    // SYNC(bench-answered): the shelf is in order before the waiting thread takes from it.
    answered_.store(answered_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    signal_.Notify();
  }
  void AwaitAnswer(uint64_t number) {
    while (true) {
      const uint32_t key = signal_.Prepare();
      // SYNC(bench-answered): pairs with OnEnd.
      if (answered_.load(std::memory_order_acquire) >= number) return;
      signal_.Wait(key, kNever);
    }
  }

 private:
  std::unique_ptr<SlabPool> memory_;
  BufferRef content_;
  std::vector<std::unique_ptr<InferenceRequest>> requests_;
  std::vector<InferenceRequest*> free_;
  std::atomic<uint64_t> answered_{0};
  Signal signal_;
};

std::shared_ptr<Servable> Serve() {
  ServableOptions options;
  options.name = "noop";
  options.max_batch_size = 64;
  auto servable = *Servable::Create(std::make_shared<NoOp>(), std::move(options));
  servable->WarmUp();
  return servable;
}

// The least of repeated measurements, in ns for each of `count` requests: what others do on the
// machine only adds.
template <typename Body>
double Measure(size_t count, Body body) {
  constexpr int kRepeats = 25;
  std::vector<double> samples;
  for (int i = 0; i < kRepeats; ++i) {
    const Nanos started = NowNanos();
    body();
    samples.push_back(static_cast<double>(NowNanos() - started) / static_cast<double>(count));
  }
  return *std::ranges::min_element(samples);
}

void Here(size_t together) {
  const auto servable = Serve();
  Shelf shelf(together);
  const size_t rounds = 200'000 / together;
  std::vector<RequestPtr> requests(together);
  const double binding = Measure(rounds * together, [&] {
    for (size_t round = 0; round < rounds; ++round) {
      for (RequestPtr& request : requests) request = shelf.Take(*servable);
      for (RequestPtr& request : requests) shelf.OnEnd(std::move(request), {});
    }
  });
  const double all = Measure(rounds * together, [&] {
    for (size_t round = 0; round < rounds; ++round) {
      for (RequestPtr& request : requests) request = shelf.Take(*servable);
      for (RequestPtr& request : requests) servable->Submit(std::move(request));
      servable->RunHere(kSecond);
    }
  });
  if (servable->stats().caller_runs.value() < rounds) std::abort();
  std::printf(
      "here, %2zu together   %7.0f ns/request, of which the front end's part %4.0f ns; %.2f "
      "million/s\n",
      together, all, binding, 1e3 / all);
}

void Hop() {
  const auto servable = Serve();
  Shelf shelf(1);
  constexpr size_t kRounds = 5'000;
  uint64_t number = 0;
  const double all = Measure(kRounds, [&] {
    for (size_t round = 0; round < kRounds; ++round) {
      servable->Submit(shelf.Take(*servable));
      servable->Wake();
      shelf.AwaitAnswer(++number);
    }
  });
  std::printf("hop, one by one     %7.0f ns/request\n", all);
}

void Main() {
  constexpr size_t kReads = 1'000'000;
  Nanos sum = 0;
  const double clock = Measure(kReads, [&] {
    for (size_t i = 0; i < kReads; ++i) sum += NowNanos();
  });
  std::printf("clock               %7.0f ns\n", sum == 0 ? 0.0 : clock);
  for (const size_t together : {1, 8, 32, 64}) Here(together);
  Hop();
}

}  // namespace
}  // namespace fastserve

int main() { fastserve::Main(); }
