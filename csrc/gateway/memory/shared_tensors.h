// SharedTensors: the tensors of one request that lie in regions of memory which its client shares.
//
//   shared.AddOutput(regions, output, index, type);    // all outputs, then
//   shared.FillInput(regions, &input, arena, &owner);  // the inputs
//   shared.OfferPlaces(count, &request);               // what engines may compute into
//   ... the engine runs ...
//   shared.Place(response);                            // what it computed elsewhere goes there
//   shared.Check();                                    // whether all of it was good
//
// The client may write to its memory at any time, and may take it away. What depends on bytes that
// do not change under its feet gets a copy of them: strings, whose lengths must be trusted once
// checked, and the types that engines take for indices, counts and conditions. The others are read
// and written where they are. What was taken away reads as zeros, and fails the request at the end.
//
// Threads: one at a time: the loop's, but for Place, which the engine's calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "gateway/memory/tensor_arena.h"
#include "memory/region_registry.h"
#include "protocol/infer_body.h"
#include "serving/inference_request.h"

namespace fastserve {

// An output that is wanted in a region.
struct SharedOutput {
  std::string name;
  size_t index;  // In the engine's signature.
  DataType type;
  std::string region;
  uint64_t offset;
  OutputPlace place;
};

class SharedTensors {
 public:
  // Errors: those of RegionRegistry::Resolve; INVALID_ARGUMENT for one that overlaps another.
  Status AddOutput(const RegionRegistry& regions, const InferOutput& output, size_t index,
                   DataType type);
  // Gives the tensor its bytes, and who keeps them: the region, or the arena that has a copy.
  // Errors: those of RegionRegistry::Resolve and ValidateTensor; UNAVAILABLE without memory.
  Status FillInput(const RegionRegistry& regions, InferInput* input, TensorArena& arena,
                   BufferRef* owner);
  // `count`: of outputs in the signature.
  void OfferPlaces(size_t count, InferenceRequest* request) const;

  // Copies each output that is wanted in a region there, unless it is there; from then on it is
  // the bytes in the region. One that does not fit is left alone and fails the request.
  void Place(std::span<ResponseOutput> response) noexcept;
  // Errors: INVALID_ARGUMENT for an output that did not fit, or a region that was taken away.
  Status Check() const;

  // Where output `index` is wanted; null when that is in the answer.
  const SharedOutput* Find(size_t index) const;
  // Lets go of the regions.
  void Clear() noexcept;

 private:
  bool OverlapsAnOutput(std::span<const std::byte> bytes) const;
  void Hold(const ShmRegionRef& region);

  std::vector<SharedOutput> outputs_;
  std::vector<ShmRegionRef> regions_;  // Each once.
  Status misfit_;
};

}  // namespace fastserve
