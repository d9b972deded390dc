// OrtInstance: runs batches on a shared Session without copying a numeric tensor.
//
// A small model that is asked for the same shapes again is run over kept tensors (BoundRun). Else:
//
//   in    numeric bytes are wrapped where they lie; BYTES become the engine's strings (copied)
//   out   numeric results stay in the engine's memory, and the BufferRef given to the sink keeps
//         them there, or are computed where the sink wants them, if their shape is known before
//         the run; BYTES are written once, into memory from the sink
//
// Invariant: an output keeps its session alive, because it may lie in the session's arena or be one
// of its constants; and if it lies within an input (a graph may pass one through), that too.
// Threads: one Run at a time (ModelInstance); outputs may be dropped on any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/onnxruntime/ort_bound_run.h"
#include "backends/onnxruntime/ort_session.h"
#include "base/status.h"
#include "serving/backend.h"

namespace fastserve::ort {

class OrtInstance : public ModelInstance {
 public:
  explicit OrtInstance(std::shared_ptr<const Session> session);
  ~OrtInstance() override;

  Status Run(std::span<const BatchInput> inputs, int64_t rows, OutputSink& outputs) override;

  const KeptRun& kept() const { return kept_; }

 private:
  Status WrapInputs(std::span<const BatchInput> inputs);
  Status WrapStrings(const TensorSpec& spec, const Tensor& tensor);
  Status Compute();
  // Offers the engine the places that the sink has for outputs.
  Status BindPlaces(int64_t rows, OutputSink& outputs);
  Status BindPlace(size_t index, const Shape& shape, OutputPlace place);
  Status ComputeInPlaces(int64_t rows, OutputSink& outputs);
  Status Emit(size_t index, std::span<const BatchInput> inputs, OutputSink& outputs);
  Status EmitStrings(size_t index, Tensor tensor, OutputSink& outputs);
  void ReleaseValues(std::vector<OrtValue*>& values);
  Status Take(OrtStatus* error) const { return api_.Take(error, Code::kInternal, "ONNX Runtime"); }

  const std::shared_ptr<const Session> session_;
  const OrtApi& api_;
  KeptRun kept_;
  // Kept between runs for their capacity alone.
  std::vector<const char*> input_names_;
  std::vector<OrtValue*> input_values_;
  std::vector<OrtValue*> output_values_;
  std::vector<OutputPlace> places_;  // Of outputs that are computed there; empty for others.
  bool may_place_ = true;            // Outputs have had the shapes that the signature says.
};

}  // namespace fastserve::ort
