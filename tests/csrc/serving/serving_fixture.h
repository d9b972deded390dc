// What the tests of this room share: an engine made of a function, requests that count their ends,
// and a sink that keeps what it was told.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "memory/slab_pool.h"
#include "serving/backend.h"
#include "serving/inference_request.h"
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
  std::memcpy(values.data(), x.bytes.data(), x.bytes.size());
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

struct TestRequest : InferenceRequest {
  int id = 0;
};

// Keeps what became of each request; `id` of a TestRequest is its place.
class KeepingSink : public ResponseSink {
 public:
  struct Kept {
    std::vector<std::vector<std::string>> responses;  // Bytes of each output.
    std::vector<Shape> shapes;                        // Of the last response.
    std::vector<const std::byte*> addresses;          // Of the last response.
    int ends = 0;
    Status status;
    Nanos submitted_ns = 0;
    Nanos started_ns = 0;
    Nanos computed_ns = 0;
    int64_t batch_rows = 0;
  };

  explicit KeepingSink(size_t requests = 64) : kept_(requests) {}

  // A request of rows of two floats that counts up from `first`.
  RequestPtr Request(int id, BatchInput input, int64_t rows) {
    auto* request = new TestRequest;
    request->id = id;
    request->sink = this;
    request->rows = rows;
    request->input_bytes = input.tensor.bytes.size();
    request->inputs.push_back(std::move(input));
    return RequestPtr(request);
  }
  RequestPtr FloatRequest(int id, int64_t rows, float first) {
    std::vector<float> values;
    for (int64_t i = 0; i < 2 * rows; ++i) values.push_back(first + static_cast<float>(i));
    return Request(id, Floats({rows, 2}, values), rows);
  }

  void OnResponse(InferenceRequest& request, std::span<ResponseOutput> outputs) override {
    const std::lock_guard lock(mutex_);
    Kept& kept = At(request);
    EXPECT_EQ(kept.ends, 0);
    kept.shapes.clear();
    kept.addresses.clear();
    std::vector<std::string>& contents = kept.responses.emplace_back();
    for (const ResponseOutput& output : outputs) {
      const auto& bytes = output.tensor.bytes;
      contents.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      kept.shapes.push_back(output.tensor.shape);
      kept.addresses.push_back(bytes.data());
    }
    Note(request, kept);
  }
  void OnEnd(RequestPtr request, Status status) override {
    const std::lock_guard lock(mutex_);
    Kept& kept = At(*request);
    Note(*request, kept);
    ++kept.ends;
    kept.status = std::move(status);
    ++ends_;
    ended_.notify_all();
    delete static_cast<TestRequest*>(request.release());
  }

  // Waits until `ends` requests ended.
  void WaitFor(size_t ends) {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return ends_ >= ends; });
  }
  size_t ends() const {
    const std::lock_guard lock(mutex_);
    return ends_;
  }
  // When nothing is in flight, or after WaitFor.
  const Kept& operator[](size_t id) const { return kept_[id]; }
  std::vector<float> FloatsOf(size_t id) const {
    const std::string& bytes = kept_[id].responses.at(0).at(0);
    std::vector<float> values(bytes.size() / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

 private:
  Kept& At(const InferenceRequest& request) {
    return kept_.at(static_cast<size_t>(static_cast<const TestRequest&>(request).id));
  }
  static void Note(const InferenceRequest& request, Kept& kept) {
    kept.submitted_ns = request.submitted_ns;
    kept.started_ns = request.started_ns;
    kept.computed_ns = request.computed_ns;
    kept.batch_rows = request.batch_rows;
  }

  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<Kept> kept_;
  size_t ends_ = 0;
};

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

inline ServableOptions UpTo(int64_t max_batch_size) {
  ServableOptions options;
  options.name = "m";
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

}  // namespace fastserve
