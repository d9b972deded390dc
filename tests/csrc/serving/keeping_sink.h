// A sink that keeps what it was told of each request, and a gate to hold an engine at.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "serving/fake_backend.h"
#include "serving/inference_request.h"

namespace fastserve {

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
    Nanos staged_ns = 0;
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
    kept.staged_ns = request.staged_ns;
    kept.computed_ns = request.computed_ns;
    kept.batch_rows = request.batch_rows;
  }

  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<Kept> kept_;
  size_t ends_ = 0;
};

}  // namespace fastserve
