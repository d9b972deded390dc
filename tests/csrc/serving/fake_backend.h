// What the tests of this room feed and serve: tensors on the heap, and an engine made of a
// function.
#pragma once

#include <gtest/gtest.h>
#include <pthread.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serving/backend.h"
#include "serving/servable.h"

namespace fastserve {

// Bytes on the heap, exactly as many as asked for, so that a sanitizer sees each one too many.
inline BufferRef HeapBuffer(std::string_view content) {
  struct HeapBytes : Buffer {
    explicit HeapBytes(size_t size) : Buffer(new std::byte[size], size, &HeapBytes::Destroy) {}
    static void Destroy(Buffer* buffer) {
      delete[] buffer->data();
      delete static_cast<HeapBytes*>(buffer);
    }
  };
  BufferRef buffer = BufferRef::Adopt(new HeapBytes(content.size()));
  if (!content.empty()) std::memcpy(buffer->data(), content.data(), content.size());
  return buffer;
}

template <typename T>
std::string_view RawBytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// Elements as they are on the wire: each a little-endian length and its bytes.
inline std::string BytesOnWire(const std::vector<std::string>& elements) {
  std::string wire;
  for (const std::string& element : elements) {
    const auto length = static_cast<uint32_t>(element.size());
    wire.append(reinterpret_cast<const char*>(&length), sizeof length);
    wire += element;
  }
  return wire;
}

inline BatchInput InputOf(DataType type, Shape shape, std::string_view content) {
  BatchInput input;
  input.owner = HeapBuffer(content);
  input.tensor = {type, shape, input.owner->bytes()};
  return input;
}

inline BatchInput Floats(Shape shape, const std::vector<float>& values) {
  return InputOf(DataType::kFp32, shape, RawBytes(values));
}

inline NamedInput Named(std::string_view name, const BatchInput& input) {
  return {name, input.tensor, input.owner};
}

// An engine whose instances are one function.
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

// Answers an output that is allocated from the sink and filled by `fill`.
inline void Emit(OutputSink& outputs, size_t index, DataType type, Shape shape,
                 std::string_view content) {
  BufferRef buffer = outputs.Allocate(content.size());
  ASSERT_TRUE(buffer);
  if (!content.empty()) std::memcpy(buffer->data(), content.data(), content.size());
  const Tensor tensor{type, shape, buffer->bytes().first(content.size())};
  outputs.Add(index, tensor, std::move(buffer));
}

// A model of one input "x" and one output "y", both FP32 of shape [-1, 2], whose y is x + 1.
inline Status PlusOne(std::span<const BatchInput> inputs, int64_t rows, OutputSink& outputs) {
  const Tensor& x = inputs[0].tensor;
  EXPECT_EQ(x.rows(), rows);
  std::vector<float> values(x.bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), x.bytes.data(), x.bytes.size());
  for (float& value : values) value += 1;
  Emit(outputs, 0, DataType::kFp32, x.shape, RawBytes(values));
  outputs.EndResponse();
  return {};
}

inline std::shared_ptr<FakeBackend> FloatBackend(FakeBackend::Function function = PlusOne) {
  return std::make_shared<FakeBackend>(std::vector{Spec("x", DataType::kFp32, {-1, 2})},
                                       std::vector{Spec("y", DataType::kFp32, {-1, 2})},
                                       std::move(function));
}

inline ServableOptions UpTo(int64_t max_batch_size) {
  ServableOptions options;
  options.name = "m";
  options.max_batch_size = max_batch_size;
  return options;
}

// As the server has it: it ends some time after its last handle went.
inline ServableHandle ServeUnawaited(std::shared_ptr<Backend> backend, ServableOptions options) {
  Result<std::shared_ptr<Servable>> servable =
      Servable::Create(std::move(backend), std::move(options));
  EXPECT_TRUE(servable.ok()) << servable.status().message();
  if (!servable.ok()) std::abort();
  return *servable;
}

inline std::string ThisThreadsName() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  return name;
}

// Whoever lets go of its last handle waits for its end, so that what a test gave it may be on the
// stack; but not an instance's thread, which that end waits for.
inline ServableHandle Serve(std::shared_ptr<Backend> backend, ServableOptions options) {
  ServableHandle servable = ServeUnawaited(std::move(backend), std::move(options));
  Servable* const served = servable.get();
  return {served, [servable = std::move(servable)](Servable*) mutable {
            const std::shared_ptr<Departure> departure = servable->departure();
            servable.reset();
            if (!ThisThreadsName().starts_with("fs-")) departure->WaitUntil(kNever);
          }};
}

}  // namespace fastserve
