// What the KServe REST codec takes: a small binary request and its answer in nanoseconds, 10,000
// floats as JSON in nanoseconds an element. The floats are those of bench/serve's `json` row:
// normally distributed fp32 values, in the digits that Python gives the double.
#include "protocol/kserve_rest.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "timing.h"

namespace fastserve {
namespace {

constexpr int kElements = 10'000;

void Check(bool condition) {
  if (!condition) std::abort();
}

// Memory that stays, as a pool's does.
class OneBlockAllocator : public TensorAllocator {
 public:
  std::span<std::byte> Allocate(size_t bytes) override {
    return std::span(memory_.get(), kBytes).first(bytes);
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  static constexpr size_t kBytes = 1 << 20;
  std::unique_ptr<std::byte, Free> memory_{static_cast<std::byte*>(std::aligned_alloc(64, kBytes))};
};

double TimeDecode(std::string body, std::optional<uint64_t> header_bytes, int calls) {
  const size_t bytes = body.size();
  body.append(64, ' ');
  KserveRestDecoder decoder;
  OneBlockAllocator allocator;
  InferBody request;
  return BestNanosPerCall(calls, [&] {
    Check(
        decoder
            .Decode(std::as_bytes(std::span(body)).first(bytes), header_bytes, allocator, &request)
            .ok());
  });
}

double TimeEncode(DataType type, std::span<const std::byte> bytes, int64_t elements, bool binary,
                  int calls) {
  const InferResultOutput output{"OUTPUT0", {type, Shape{1, elements}, bytes}, binary};
  ByteWriter out;
  return BestNanosPerCall(calls, [&] {
    out.Clear();
    Check(EncodeInferResponse({"identity", "1", "", false}, {&output, 1}, &out).ok());
  });
}

std::string JsonRequest(const char* type, const std::string& data) {
  return std::string(R"({"inputs": [{"name": "INPUT0", "shape": [1, 10000], "datatype": ")") +
         type + R"(", "data": [)" + data + "]}]}";
}

void Report(const char* what, double nanos_per_call) {
  std::printf("%-40s %7.1f ns an element, %6.1f M elements/s\n", what, nanos_per_call / kElements,
              kElements * 1e3 / nanos_per_call);
}

void TimeBinary() {
  const std::string head = R"({"inputs":[{"name":"INPUT0","shape":[1,16],"datatype":"FP32",)"
                           R"("parameters":{"binary_data_size":64}}],"outputs":[{"name":"OUTPUT0",)"
                           R"("parameters":{"binary_data":true}}]})";
  const std::vector<float> small(16, 1.5f);
  std::printf("%-40s %7.1f ns\n", "small binary request, decode",
              TimeDecode(head + std::string(64, 'x'), head.size(), 3'000));
  std::printf("%-40s %7.1f ns\n", "small binary answer, encode",
              TimeEncode(DataType::kFp32, std::as_bytes(std::span(small)), 16, true, 3'000));
}

template <typename Float>
void TimeFloats(const char* type_name, DataType type, bool as_double) {
  std::mt19937_64 random(3);
  std::normal_distribution<Float> normal;
  std::vector<Float> values;
  std::string text;
  char digits[40];
  for (int i = 0; i < kElements; ++i) {
    values.push_back(normal(random));
    std::snprintf(digits, sizeof digits, as_double ? "%s%.17g" : "%s%.9g", i > 0 ? ", " : "",
                  static_cast<double>(values.back()));
    text += digits;
  }
  const std::string decode = std::string(type_name) + (as_double ? ", 17 digits" : ", 9 digits");
  Report((decode + ", decode").c_str(), TimeDecode(JsonRequest(type_name, text), {}, 3));
  Report((std::string(type_name) + ", encode").c_str(),
         TimeEncode(type, std::as_bytes(std::span(values)), kElements, false, 3));
}

void TimeIntegers() {
  std::mt19937 random(3);
  std::vector<int32_t> values;
  std::string text;
  for (int i = 0; i < kElements; ++i) {
    values.push_back(static_cast<int32_t>(random() % 100'000));
    text += (i > 0 ? "," : "") + std::to_string(values.back());
  }
  Report("INT32, decode", TimeDecode(JsonRequest("INT32", text), {}, 3));
  Report("INT32, encode",
         TimeEncode(DataType::kInt32, std::as_bytes(std::span(values)), kElements, false, 3));
}

}  // namespace
}  // namespace fastserve

int main() {
  using namespace fastserve;  // NOLINT
  TimeBinary();
  TimeFloats<float>("FP32", DataType::kFp32, true);
  TimeFloats<float>("FP32", DataType::kFp32, false);
  TimeFloats<double>("FP64", DataType::kFp64, true);
  TimeIntegers();
}
