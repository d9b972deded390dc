// Session: one model loaded by ONNX Runtime, with its signature; shared by all its instances.
//
// Invariants: immutable after Create. Names passed to Run point into `signature`.
// Threads: any; the engine's sessions run concurrently.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "backends/onnxruntime/onnxruntime_backend.h"
#include "backends/onnxruntime/ort_api.h"
#include "base/status.h"
#include "serving/backend.h"

namespace fastserve::ort {

struct Session {
  // The errors are OpenOnnxRuntime's.
  static Result<std::shared_ptr<const Session>> Create(const OnnxRuntimeOptions& options);

  Session(const OrtLibrary& library, Owned<OrtSession> handle, Owned<OrtRunOptions> run_options)
      : library(library), handle(std::move(handle)), run_options(std::move(run_options)) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Type and shape of what output `index` came as; INTERNAL when it is not as the signature says.
  Status Describe(size_t index, const OrtValue* value, Tensor& tensor) const;

  const OrtLibrary& library;
  Owned<OrtSession> handle;
  // For every run: a request that fails is answered, and not written to stderr by the engine.
  Owned<OrtRunOptions> run_options;
  // No other provider was asked for: tensors are computed where the engine is given them.
  bool is_on_the_cpu = true;
  // Inputs are the model's own, then the initialisers that a request may override (optional ones).
  Signature signature;
  std::vector<const char*> output_names;
};

}  // namespace fastserve::ort
