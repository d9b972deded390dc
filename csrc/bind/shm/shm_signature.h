// ShmSignature: what a model takes and gives, as its server described it to a client.
//
// Its own copy of the description, so that requests may be read by it as long as they like. What
// the server serves may have changed since: the server has the last word.
//
// Threads: constant once it is made.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "channel/client/channel_response.h"
#include "tensor/tensor.h"

namespace fastserve::bind {

struct ShmSignature {
  explicit ShmSignature(const ChannelDescription& description);

  std::string model;
  std::string version;         // That was described.
  int64_t max_batch_size = 0;  // 0: no batch dimension.
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;

  // The number of the input of that name. Errors: INVALID_ARGUMENT with those that there are.
  Result<size_t> FindInput(std::string_view name) const;
};

void RegisterShmSignature(pybind11::module_& module);

}  // namespace fastserve::bind
