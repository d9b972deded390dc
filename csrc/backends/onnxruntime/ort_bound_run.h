// BoundRun: a run over tensors that are kept, for a small model asked for the same shapes again.
//
// Each call of the engine's Run makes its names, its values and its outputs anew: a seventh of the
// time of a model of a few microseconds. A BoundRun makes them once. Copying a small tensor is
// cheaper than an engine's value around it, so inputs and outputs have memory of their own here,
// and an answer is a copy on the heap, whose owners keep neither the engine nor the model.
//
// Invariants:
//   1. A BoundRun exists only for a model that was seen to write the same bytes into kept outputs
//      as into new ones. What lets an input pass through, or draws lots, is not kept.
//   2. A run that fails over kept tensors has answered nothing: the caller runs it anew. So does a
//      model whose outputs have another shape than at the last time.
// Threads: those of the instance that it belongs to, one at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "backends/onnxruntime/ort_session.h"
#include "serving/backend.h"
#include "tensor/shape.h"

namespace fastserve::ort {

class BoundRun {
 public:
  // Of all inputs and outputs together; above it, wrapping beats copying.
  static constexpr size_t kBytesMax = size_t{16} << 10;
  enum class Outcome { kAnswered, kNoMemory, kFailed };

  // `outputs` are what a run over `inputs` has just given. Null when they are too many bytes, or
  // none, or not numbers.
  static std::unique_ptr<BoundRun> Make(const Session& session, std::span<const BatchInput> inputs,
                                        std::span<OrtValue* const> outputs);
  // Whether it is quick and gives those same outputs, which still exist. Asked before the first
  // Run.
  bool Proves(std::span<const BatchInput> inputs);

  bool Fits(std::span<const BatchInput> inputs) const;
  Outcome Run(std::span<const BatchInput> inputs, OutputSink& outputs);

 private:
  // A tensor begins where one does, as the engine's kernels like it.
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  struct Kept {
    bool present;  // False for an optional input that requests leave out.
    Tensor tensor;
    std::byte* memory = nullptr;
    Owned<OrtValue> value{nullptr, nullptr};
  };

  explicit BoundRun(const Session& session);
  bool Describe(std::span<const BatchInput> inputs, std::span<OrtValue* const> outputs);
  bool Bind();
  void CopyTensorsIn(std::span<const BatchInput> inputs);
  bool Compute();
  bool Take(OrtStatus* error) const;

  const Session& session_;
  std::vector<Line> memory_;
  std::vector<Kept> inputs_;
  std::vector<Kept> outputs_;
  Owned<OrtIoBinding> binding_;
};

// Finds out what is worth a BoundRun, and holds the one that is.
class KeptRun {
 public:
  explicit KeptRun(const Session& session);

  // True when it was answered; else the caller runs it.
  bool Run(std::span<const BatchInput> inputs, OutputSink& outputs);
  // Told of each run that the caller made instead and that went well. Twice the work must not
  // become a habit: where that was a run that had failed here, nothing is kept any more.
  void Learn(std::span<const BatchInput> inputs, std::span<OrtValue* const> outputs);

  bool has_run() const { return run_ != nullptr; }

 private:
  // Runs with the same shapes in a row before they are taken for a habit.
  static constexpr int kHabit = 16;

  bool IsAHabit(std::span<const BatchInput> inputs);

  const Session& session_;
  bool may_keep_;
  bool is_in_doubt_ = false;  // The last run failed here.
  int alike_ = 0;
  std::vector<Shape> shapes_;
  std::unique_ptr<BoundRun> run_;
};

}  // namespace fastserve::ort
