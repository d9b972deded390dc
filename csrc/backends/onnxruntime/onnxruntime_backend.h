// OpenOnnxRuntime: serves ONNX models with the ONNX Runtime library found on this machine.
//
// The library is the one inside the `onnxruntime` (or `onnxruntime-gpu`) wheel. It is opened when
// the first model asks for it, so that fastserve neither links nor ships an engine, and the user's
// choice of version and execution providers is one `pip install` away.
//
//   OnnxRuntimeOptions options{.model_path = "model.onnx", .library_path = "libonnxruntime.so.1"};
//   Result<std::unique_ptr<Backend>> backend = OpenOnnxRuntime(options);
//
// Memory: each session has an arena of its own (`arena`). A run then costs no malloc for its
// tensors, and unloading the model gives all of it back, which one arena for all models would not:
// that is also why its growth (by doubling) is left at the engine's default, since only a shared
// arena's can be chosen. The price is that the memory of the largest batch stays until the unload.
// Numeric outputs are handed on in the arena; a slow reader of a response keeps its bytes there.
//
// Threads: any. Worker threads that the session starts (intra_op_threads > 1) inherit the caller's
// nice value for ever, so call from a thread that has the priority that serving shall have.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "serving/backend.h"

namespace fastserve {

// An execution provider by the name that the engine lists, e.g. "CUDAExecutionProvider", and its
// options in the engine's spelling, e.g. {"device_id", "0"}.
struct OnnxRuntimeProvider {
  std::string name;
  std::vector<std::pair<std::string, std::string>> options;
};

struct OnnxRuntimeOptions {
  // The .onnx (or .ort) file. Opened by path, so that external data beside it is found.
  std::string model_path;
  // libonnxruntime.so.<version>; when empty, the dynamic linker's own search.
  std::string library_path;
  // Threads inside an operator and between operators; 0 means one a core. 1 by default, because
  // parallelism comes from batches and instances, and pools of several models fight each other.
  int intra_op_threads = 1;
  int inter_op_threads = 1;
  // Whether idle pool threads burn their core while they wait for work.
  bool spinning = false;
  // Graph rewriting at load: "none", "basic", "extended" or "all".
  std::string optimization = "all";
  // Asked in this order; the CPU takes what is left.
  std::vector<OnnxRuntimeProvider> providers;
  bool arena = true;
  // What the engine writes to stderr while it loads: 0 verbose, 1 info, 2 warning, 3 error, 4
  // fatal. Failing runs are never written: whoever sends bad requests could fill the log with them.
  int log_severity = 2;
  // Further session configuration entries, in the engine's spelling.
  std::vector<std::pair<std::string, std::string>> session_config;
};

// Loads one model. Its instances share one session.
//
// Errors: FAILED_PRECONDITION when the library is missing, is none, is too old, or lacks a provider
// (the message lists those it has); NOT_FOUND when there is no model file; INVALID_ARGUMENT for an
// option out of range, a model that the engine refuses (with its own sentence), or a tensor of a
// type that the protocol cannot carry (the message names it).
Result<std::unique_ptr<Backend>> OpenOnnxRuntime(const OnnxRuntimeOptions& options);

}  // namespace fastserve
