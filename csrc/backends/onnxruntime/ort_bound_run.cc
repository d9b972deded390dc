#include "backends/onnxruntime/ort_bound_run.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "backends/onnxruntime/ort_signature.h"
#include "base/clock.h"

namespace fastserve::ort {
namespace {

constexpr size_t kAlignment = 64;
// A longer run gains nothing that is worth a second one to compare with.
constexpr Nanos kLongRun = 200 * kMicrosecond;

// A copy of an output: one block of the heap, since the pool's smallest slab has 4 KiB.
struct Copy : Buffer {
  Copy(std::byte* data, size_t size) : Buffer(data, size, &Copy::Destroy) {}

  // Empty when there is no memory.
  static BufferRef Of(std::span<const std::byte> bytes) {
    size_t space = kAlignment - 1 + bytes.size();
    void* const block = std::malloc(sizeof(Copy) + space);
    if (block == nullptr) return {};
    void* data = static_cast<std::byte*>(block) + sizeof(Copy);
    std::align(kAlignment, bytes.size(), data, space);
    std::memcpy(data, bytes.data(), bytes.size());
    return BufferRef::Adopt(new (block) Copy(static_cast<std::byte*>(data), bytes.size()));
  }
  static void Destroy(Buffer* buffer) {
    auto* const copy = static_cast<Copy*>(buffer);
    copy->~Copy();
    std::free(copy);
  }
};

size_t LinesOf(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment; }

bool IsOfNumbers(const Tensor& tensor) {
  return tensor.type != DataType::kBytes && !tensor.bytes.empty();
}

}  // namespace

BoundRun::BoundRun(const Session& session)
    : session_(session), binding_(nullptr, session.library.api.ReleaseIoBinding) {}

std::unique_ptr<BoundRun> BoundRun::Make(const Session& session, std::span<const BatchInput> inputs,
                                         std::span<OrtValue* const> outputs) {
  std::unique_ptr<BoundRun> run(new BoundRun(session));
  return run->Describe(inputs, outputs) ? std::move(run) : nullptr;
}

bool BoundRun::Describe(std::span<const BatchInput> inputs, std::span<OrtValue* const> outputs) {
  size_t bytes = 0;
  size_t lines = 0;
  const auto keep = [&](const Tensor& tensor) {
    bytes += tensor.bytes.size();
    lines += LinesOf(tensor.bytes.size());
    return IsOfNumbers(tensor) && bytes <= kBytesMax;
  };
  for (const BatchInput& input : inputs) {
    if (input.present && !keep(input.tensor)) return false;
    inputs_.push_back({input.present, input.tensor});
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    Kept kept{true, {}};
    void* data = nullptr;
    if (!session_.Describe(i, outputs[i], kept.tensor).ok() ||
        !Take(session_.library.api.GetTensorMutableData(outputs[i], &data))) {
      return false;
    }
    const auto elements = static_cast<size_t>(kept.tensor.shape.Elements().value_or(0));
    kept.tensor.bytes = {static_cast<const std::byte*>(data),
                         elements * ElementBytes(kept.tensor.type)};
    if (!keep(kept.tensor)) return false;
    outputs_.push_back(std::move(kept));
  }
  memory_.resize(lines);
  return true;
}

bool BoundRun::Bind() {
  const OrtApi& api = session_.library.api;
  OrtIoBinding* binding = nullptr;
  if (!Take(api.CreateIoBinding(session_.handle.get(), &binding))) return false;
  binding_.reset(binding);
  Line* line = memory_.data();
  const auto wrap = [&](Kept& kept) {
    OrtValue* value = nullptr;
    kept.memory = line->bytes;
    line += LinesOf(kept.tensor.bytes.size());
    const bool is_made = Take(api.CreateTensorWithDataAsOrtValue(
        session_.library.cpu_memory, kept.memory, kept.tensor.bytes.size(),
        kept.tensor.shape.dims().data(), kept.tensor.shape.rank(), OrtTypeOf(kept.tensor.type),
        &value));
    kept.value = Owned<OrtValue>(value, api.ReleaseValue);
    return is_made;
  };
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const char* const name = session_.signature.inputs[i].name.c_str();
    if (inputs_[i].present &&
        !(wrap(inputs_[i]) && Take(api.BindInput(binding, name, inputs_[i].value.get())))) {
      return false;
    }
  }
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (!(wrap(outputs_[i]) &&
          Take(api.BindOutput(binding, session_.output_names[i], outputs_[i].value.get())))) {
      return false;
    }
  }
  return true;
}

bool BoundRun::Proves(std::span<const BatchInput> inputs) {
  if (!Bind()) return false;
  // What the run leaves alone is then not what it should be.
  for (const Kept& kept : outputs_) {
    std::ranges::transform(kept.tensor.bytes, kept.memory, [](std::byte one) { return ~one; });
  }
  CopyTensorsIn(inputs);
  const Nanos began = NowNanos();
  if (!Compute() || NowNanos() - began > kLongRun) return false;
  return std::ranges::all_of(outputs_, [](Kept& kept) {
    const size_t size = kept.tensor.bytes.size();
    const bool is_same = std::memcmp(kept.memory, kept.tensor.bytes.data(), size) == 0;
    kept.tensor.bytes = {kept.memory, size};
    return is_same;
  });
}

bool BoundRun::Fits(std::span<const BatchInput> inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& tensor = inputs[i].tensor;
    const Tensor& kept = inputs_[i].tensor;
    if (inputs[i].present != inputs_[i].present) return false;
    if (!inputs[i].present) continue;
    // The bytes, too: nobody but the caller says that they are as many as the shape needs.
    if (tensor.bytes.size() != kept.bytes.size() || tensor.shape != kept.shape) return false;
  }
  return true;
}

BoundRun::Outcome BoundRun::Run(std::span<const BatchInput> inputs, OutputSink& outputs) {
  CopyTensorsIn(inputs);
  if (!Compute()) return Outcome::kFailed;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    Tensor tensor = outputs_[i].tensor;
    BufferRef copy = Copy::Of(tensor.bytes);
    if (!copy) return Outcome::kNoMemory;
    tensor.bytes = copy->bytes();
    outputs.Add(i, tensor, std::move(copy));
  }
  outputs.EndResponse();
  return Outcome::kAnswered;
}

void BoundRun::CopyTensorsIn(std::span<const BatchInput> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::span<const std::byte> bytes = inputs[i].tensor.bytes;
    if (inputs[i].present) std::memcpy(inputs_[i].memory, bytes.data(), bytes.size());
  }
}

bool BoundRun::Compute() {
  return Take(session_.library.api.RunWithBinding(session_.handle.get(), session_.run_options.get(),
                                                  binding_.get()));
}

bool BoundRun::Take(OrtStatus* error) const {
  return session_.library.api.Take(error, Code::kInternal, "ONNX Runtime").ok();
}

KeptRun::KeptRun(const Session& session) : session_(session), may_keep_(session.is_on_the_cpu) {
  shapes_.resize(session.signature.inputs.size());
}

bool KeptRun::Run(std::span<const BatchInput> inputs, OutputSink& outputs) {
  is_in_doubt_ = false;
  if (!run_ || !run_->Fits(inputs)) return false;
  const BoundRun::Outcome outcome = run_->Run(inputs, outputs);
  is_in_doubt_ = outcome == BoundRun::Outcome::kFailed;
  return outcome == BoundRun::Outcome::kAnswered;
}

void KeptRun::Learn(std::span<const BatchInput> inputs, std::span<OrtValue* const> outputs) {
  if (is_in_doubt_) {
    // It was no fault of the request: the outputs have another shape each time, perhaps.
    may_keep_ = false;
    run_.reset();
  }
  if (!may_keep_ || !IsAHabit(inputs)) return;
  std::unique_ptr<BoundRun> run = BoundRun::Make(session_, inputs, outputs);
  if (!run) return;
  may_keep_ = run->Proves(inputs);
  if (may_keep_) run_ = std::move(run);
}

bool KeptRun::IsAHabit(std::span<const BatchInput> inputs) {
  bool is_as_before = true;
  for (size_t i = 0; i < inputs.size(); ++i) {
    // One that is left out is told by its shape, which no tensor has.
    const Shape shape = inputs[i].present ? inputs[i].tensor.shape : Shape({-1});
    is_as_before &= shape == shapes_[i];
    shapes_[i] = shape;
  }
  alike_ = is_as_before ? alike_ + 1 : 0;
  if (alike_ < kHabit) return false;
  alike_ = 0;
  return true;
}

}  // namespace fastserve::ort
