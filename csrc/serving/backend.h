// Backend and ModelInstance: what an engine implements to be served.
//
//   Backend        one loaded model: its signature, and a factory of instances
//   ModelInstance  one execution context: runs one batch at a time
//
// An engine sees whole batches as contiguous tensors and knows nothing of requests, queues or
// protocols. The smallest one is backends/identity.
//
// Threads: Backend::NewInstance and signature() from any thread. ModelInstance::Run from any
// thread, but never two at once on one instance (the Scheduler sees to it), and never with the GIL
// held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace fastserve {

// What a model takes and gives, in the engine's own order.
struct Signature {
  std::string platform;  // Shown in metadata, e.g. "onnxruntime_onnx".
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

// One input of a batch. `owner` keeps `tensor.bytes` alive and may be kept by the engine's outputs
// (identity answers an alias). `tensor.bytes` is aligned to 64 bytes, except that a tensor received
// in a place of the client's choosing is aligned to its element only.
struct BatchInput {
  Tensor tensor;
  BufferRef owner;
  // False for an optional input that the request left out; the rest is then meaningless.
  bool present = true;
};

// Memory of others for an output: `owner` keeps `bytes` alive. Whoever lent it may read and write
// it at any time, so nothing that was put there may be read again and relied upon.
struct OutputPlace {
  std::span<std::byte> bytes;
  BufferRef owner;
};

// Takes what an instance computed. A response is one tensor for each output of the signature;
// an ordinary model ends one response a run, a decoupled one any number (none included).
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  // Gives output number `index` of the signature. `owner` keeps `tensor.bytes` alive.
  virtual void Add(size_t index, const Tensor& tensor, BufferRef owner) = 0;
  // The outputs added since the last call are one response, complete.
  virtual void EndResponse() = 0;
  // Memory for an output, aligned to 64 bytes, from the server's pool; nothing when its limit is
  // reached. Engines that bring their own memory need not use it.
  virtual BufferRef Allocate(size_t bytes) = 0;
  // Where output number `index` is wanted; nothing when it is the same to all, or when several
  // requests share the run. An engine that can computes into it what fits there, and gives that to
  // Add; whatever lies elsewhere is copied.
  virtual OutputPlace PlaceFor(size_t index) {
    static_cast<void>(index);
    return {};
  }
};

class ModelInstance {
 public:
  virtual ~ModelInstance() = default;
  // Computes the outputs of one batch. `inputs[i]` belongs to inputs[i] of the signature and
  // matches its type and shape; in a batching model dimension 0 of each is `rows`, else `rows`
  // is 1. An error fails every request of the batch with its message.
  virtual Status Run(std::span<const BatchInput> inputs, int64_t rows, OutputSink& outputs) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const Signature& signature() const = 0;
  // Instances may share what is read-only (weights, an engine's session).
  virtual Result<std::unique_ptr<ModelInstance>> NewInstance() = 0;
  // Whether its instances ask OutputSink::PlaceFor, so that it pays to have places ready.
  virtual bool takes_places() const { return false; }
};

}  // namespace fastserve
