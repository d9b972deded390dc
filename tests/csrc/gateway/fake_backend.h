// Models that answer what they were sent, and their options.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "serving/fake_backend.h"
#include "serving/gate.h"

namespace fastserve {

// Each output is the input at its position, not copied.
inline Status Echo(std::span<const BatchInput> inputs, int64_t, OutputSink& outputs) {
  for (size_t i = 0; i < inputs.size(); ++i) outputs.Add(i, inputs[i].tensor, inputs[i].owner);
  outputs.EndResponse();
  return {};
}

// x -> y, FP32 of shape [-1, 2].
inline std::shared_ptr<Backend> EchoBackend(FakeBackend::Function function = Echo) {
  return FloatBackend(std::move(function));
}

// Runs end when the gate is opened, which may be after the test that opens it.
inline std::shared_ptr<Backend> GatedBackend(std::shared_ptr<Gate> gate) {
  return EchoBackend([gate = std::move(gate)](auto inputs, int64_t rows, auto& outputs) {
    gate->Pass();
    return Echo(inputs, rows, outputs);
  });
}

inline ServableOptions Named(std::string name, int64_t max_batch_size = 8, int64_t version = 1) {
  ServableOptions options = UpTo(max_batch_size);
  options.name = std::move(name);
  options.version = version;
  return options;
}

}  // namespace fastserve
