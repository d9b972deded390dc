// What the tests of this room share: where library and models are, and a sink that keeps answers.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/onnxruntime/onnxruntime_backend.h"
#include "serving/backend.h"

namespace fastserve {

// Stops the test when it is not told where they are. The runner, which tells it, fails on skips.
#define FS_NEED_LIBRARY()                                                      \
  if (std::getenv("FASTSERVE_ORT_LIBRARY") == nullptr ||                       \
      std::getenv("FASTSERVE_TEST_MODELS") == nullptr)                         \
  GTEST_SKIP() << "set FASTSERVE_ORT_LIBRARY to libonnxruntime.so.<version>, " \
                  "and FASTSERVE_TEST_MODELS to tests/models"

inline std::string LibraryPath() {
  const char* path = std::getenv("FASTSERVE_ORT_LIBRARY");
  return path == nullptr ? "" : path;
}

inline std::string ModelPath(const std::string& file) {
  // Not from __FILE__, which a compiler's cache may have made relative.
  const char* folder = std::getenv("FASTSERVE_TEST_MODELS");
  return (std::filesystem::path(folder == nullptr ? "" : folder) / file).string();
}

inline OnnxRuntimeOptions OptionsFor(const std::string& model) {
  OnnxRuntimeOptions options;
  options.model_path = ModelPath(model + ".onnx");
  options.library_path = LibraryPath();
  return options;
}

// Bytes on the heap, exactly as many as asked for, so that a sanitizer sees each one too many.
inline BufferRef HeapBuffer(size_t bytes) {
  struct HeapBytes : Buffer {
    explicit HeapBytes(size_t size) : Buffer(new std::byte[size], size, &HeapBytes::Destroy) {}
    static void Destroy(Buffer* buffer) {
      delete[] buffer->data();
      delete static_cast<HeapBytes*>(buffer);
    }
  };
  return BufferRef::Adopt(new HeapBytes(bytes));
}

inline BatchInput InputOf(DataType type, Shape shape, std::string_view content) {
  BatchInput input;
  input.owner = HeapBuffer(content.size());
  if (!content.empty()) std::memcpy(input.owner->data(), content.data(), content.size());
  input.tensor = {type, shape, input.owner->bytes()};
  return input;
}

template <typename T>
BatchInput InputOf(DataType type, Shape shape, const std::vector<T>& values) {
  return InputOf(
      type, shape,
      std::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
}

inline BatchInput Floats(Shape shape, const std::vector<float>& values) {
  return InputOf(DataType::kFp32, shape, values);
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

struct Answer {
  Tensor tensor;
  BufferRef owner;

  std::string content() const {
    return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
  }
  template <typename T>
  std::vector<T> As() const {
    std::vector<T> values(tensor.bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }
};

class KeepingSink : public OutputSink {
 public:
  void Add(size_t index, const Tensor& tensor, BufferRef owner) override {
    answers[index] = {tensor, std::move(owner)};
  }
  void EndResponse() override { ++responses; }
  BufferRef Allocate(size_t bytes) override {
    return bytes <= limit_bytes ? HeapBuffer(bytes) : BufferRef();
  }
  OutputPlace PlaceFor(size_t index) override {
    const auto found = places.find(index);
    return found == places.end() ? OutputPlace() : found->second;
  }

  std::map<size_t, Answer> answers;
  std::map<size_t, OutputPlace> places;
  int responses = 0;
  size_t limit_bytes = 1 << 20;
};

// A model, one instance of it, and the answers to the last run.
struct ServedModel {
  explicit ServedModel(const OnnxRuntimeOptions& options) {
    Result<std::unique_ptr<Backend>> opened = OpenOnnxRuntime(options);
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    if (!opened.ok()) std::abort();
    backend = *std::move(opened);
    instance = *backend->NewInstance();
  }
  explicit ServedModel(const std::string& model) : ServedModel(OptionsFor(model)) {}

  Status Run(const std::vector<BatchInput>& inputs) {
    sink.answers.clear();
    sink.responses = 0;
    const int64_t rows = inputs.empty() ? 1 : inputs[0].tensor.rows();
    return instance->Run(inputs, rows, sink);
  }

  std::unique_ptr<Backend> backend;
  std::unique_ptr<ModelInstance> instance;
  KeepingSink sink;
};

}  // namespace fastserve
