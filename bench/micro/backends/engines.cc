// What an engine's call costs with nothing around it: the speed of light of an embedded model.
//
//   backends_engines_bench [MODEL.onnx LIBRARY [BATCH_ROWS]]
//
// "identity": ModelInstance::Run of the identity engine, fp32[16]. "c_api": ONNX Runtime's own C
// API as a careful user calls it, each time: wrap the input, Run, reach for the output, release
// both. "backend": our ModelInstance::Run over the same model. Prints one JSON object: the median
// of 9 rounds, in ns a call; the rounds of all rotate.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "backends/identity/identity_backend.h"
#include "backends/onnxruntime/onnxruntime_backend.h"
#include "backends/onnxruntime/ort_session.h"
#include "base/clock.h"
#include "memory/slab_pool.h"

namespace fastserve {
namespace {

constexpr int kRounds = 9;
constexpr Nanos kRound = 100 * kMillisecond;
constexpr int kColumns = 64;
constexpr int kOrtFloat = 1;  // The engine's number of fp32.

template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", std::string(result.status().message()).c_str());
    std::exit(1);
  }
  return *std::move(result);
}

OnnxRuntimeOptions Options(const std::string& model, const std::string& library) {
  OnnxRuntimeOptions options;
  options.model_path = model;
  options.library_path = library;
  return options;
}

// Takes outputs and drops them.
class Discard : public OutputSink {
 public:
  explicit Discard(SlabPool* pool) : pool_(pool) {}
  void Add(size_t, const Tensor&, BufferRef) override {}
  void EndResponse() override {}
  BufferRef Allocate(size_t bytes) override { return pool_->Acquire(bytes); }

 private:
  SlabPool* const pool_;
};

// Calls in `kRound`, as ns each.
template <typename Call>
double Measure(Call&& call) {
  const Nanos began = NowNanos();
  Nanos now = began;
  int64_t calls = 0;
  while (now - began < kRound) {
    for (int i = 0; i < 64; ++i) call();
    calls += 64;
    now = NowNanos();
  }
  return static_cast<double>(now - began) / static_cast<double>(calls);
}

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

std::unique_ptr<ModelInstance> Identity() {
  IdentityOptions options;
  options.inputs.push_back({"INPUT0", DataType::kFp32, Shape({16}), {}, false});
  options.outputs.push_back({"OUTPUT0", DataType::kFp32, Shape({16}), {}, false});
  return Must(Must(OpenIdentity(std::move(options)))->NewInstance());
}

// The C API's calls for one batch.
class CApi {
 public:
  CApi(const std::string& model, const std::string& library, int64_t rows)
      : session_(Must(ort::Session::Create(Options(model, library)))),
        dims_{rows, kColumns},
        input_(static_cast<size_t>(rows * kColumns), 0.5F) {}

  void Run() {
    const ort::OrtApi& api = session_->library.api;
    ort::OrtValue* in = nullptr;
    ort::OrtValue* out = nullptr;
    Check(api.CreateTensorWithDataAsOrtValue(session_->library.cpu_memory, input_.data(),
                                             input_.size() * sizeof(float), dims_.data(), 2,
                                             kOrtFloat, &in));
    const char* const name = session_->signature.inputs[0].name.c_str();
    Check(api.Run(session_->handle.get(), session_->run_options.get(), &name, &in, 1,
                  session_->output_names.data(), 1, &out));
    void* data = nullptr;
    Check(api.GetTensorMutableData(out, &data));
    sum_ += *static_cast<float*>(data);
    api.ReleaseValue(out);
    api.ReleaseValue(in);
  }

 private:
  static void Check(ort::OrtStatus* status) {
    if (status != nullptr) std::abort();
  }

  std::shared_ptr<const ort::Session> session_;
  std::array<int64_t, 2> dims_;
  std::vector<float> input_;
  float sum_ = 0;
};

int Main(int argc, char** argv) {
  const auto pool = SlabPool::Create({});
  Discard discard(pool.get());
  const BufferRef bytes = pool->Acquire(size_t{1} << 20);
  std::fill_n(reinterpret_cast<float*>(bytes->data()), bytes->size() / sizeof(float), 0.5F);
  const std::unique_ptr<ModelInstance> identity = Identity();
  const std::array<BatchInput, 1> small = {
      BatchInput{{DataType::kFp32, Shape({16}), bytes->bytes().first(64)}, bytes, true}};
  std::vector<double> identity_ns;
  std::vector<double> c_api_ns;
  std::vector<double> backend_ns;
  std::unique_ptr<CApi> c_api;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<ModelInstance> instance;
  const int64_t rows = argc > 3 ? std::atoll(argv[3]) : 1;
  if (argc > 2) {
    c_api = std::make_unique<CApi>(argv[1], argv[2], rows);
    backend = Must(OpenOnnxRuntime(Options(argv[1], argv[2])));
    instance = Must(backend->NewInstance());
  }
  const std::array<BatchInput, 1> batch = {
      BatchInput{{DataType::kFp32, Shape({rows, kColumns}),
                  bytes->bytes().first(static_cast<size_t>(rows) * kColumns * sizeof(float))},
                 bytes,
                 true}};
  for (int round = 0; round < kRounds; ++round) {
    for (int turn = 0; turn < 3; ++turn) {
      const int who = (round + turn) % 3;
      if (who == 0) identity_ns.push_back(Measure([&] { (void)identity->Run(small, 1, discard); }));
      if (who == 1 && c_api) c_api_ns.push_back(Measure([&] { c_api->Run(); }));
      if (who == 2 && c_api) {
        backend_ns.push_back(Measure([&] { (void)instance->Run(batch, rows, discard); }));
      }
    }
  }
  std::printf("{\"identity\": %.1f", Median(identity_ns));
  if (c_api) {
    std::printf(", \"c_api\": %.1f, \"backend\": %.1f", Median(c_api_ns), Median(backend_ns));
  }
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace fastserve

int main(int argc, char** argv) { return fastserve::Main(argc, argv); }
