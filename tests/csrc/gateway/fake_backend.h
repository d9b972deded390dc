// Engines made of a function, and a gate to hold them at.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "serving/servable.h"

namespace fastserve {

class FakeBackend : public Backend {
 public:
  using Function = std::function<Status(std::span<const BatchInput>, int64_t, OutputSink&)>;

  FakeBackend(std::vector<TensorSpec> inputs, std::vector<TensorSpec> outputs, Function function)
      : signature_{"fake", std::move(inputs), std::move(outputs)}, function_(std::move(function)) {}

  const Signature& signature() const override { return signature_; }
  Result<std::unique_ptr<ModelInstance>> NewInstance() override {
    struct Instance : ModelInstance {
      explicit Instance(const Function& function) : function(function) {}
      Status Run(std::span<const BatchInput> inputs, int64_t rows, OutputSink& outputs) override {
        return function(inputs, rows, outputs);
      }
      const Function& function;
    };
    return std::unique_ptr<ModelInstance>(std::make_unique<Instance>(function_));
  }

 private:
  const Signature signature_;
  const Function function_;
};

inline TensorSpec Spec(std::string name, DataType type, Shape shape) {
  TensorSpec spec;
  spec.name = std::move(name);
  spec.type = type;
  spec.shape = shape;
  return spec;
}

// Each output is the input at its position, not copied.
inline Status Echo(std::span<const BatchInput> inputs, int64_t, OutputSink& outputs) {
  for (size_t i = 0; i < inputs.size(); ++i) outputs.Add(i, inputs[i].tensor, inputs[i].owner);
  outputs.EndResponse();
  return {};
}

// x -> y, FP32 of shape [-1, 2].
inline std::shared_ptr<Backend> FloatBackend(FakeBackend::Function function = Echo) {
  return std::make_shared<FakeBackend>(std::vector{Spec("x", DataType::kFp32, {-1, 2})},
                                       std::vector{Spec("y", DataType::kFp32, {-1, 2})},
                                       std::move(function));
}

inline ServableOptions Named(std::string name, int64_t max_batch_size = 8, int64_t version = 1) {
  ServableOptions options;
  options.name = std::move(name);
  options.version = version;
  options.max_batch_size = max_batch_size;
  return options;
}

inline std::shared_ptr<Servable> Serve(std::shared_ptr<Backend> backend, ServableOptions options) {
  Result<std::shared_ptr<Servable>> servable =
      Servable::Create(std::move(backend), std::move(options));
  EXPECT_TRUE(servable.ok()) << servable.status().message();
  if (!servable.ok()) std::abort();
  return *servable;
}

// Stops an engine at a place of the test's choosing.
class Gate {
 public:
  void Pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  // Until `count` threads stand at the gate.
  void AwaitWaiting(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

}  // namespace fastserve
