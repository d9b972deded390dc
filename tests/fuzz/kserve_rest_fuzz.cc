// The KServe REST codec. An input is JSON; behind its first NUL byte, if there is one, a binary
// tail.
//
// Oracles: what is accepted is JSON to simdjson's DOM parser; what lies behind the body changes
// nothing; tensors are what their types and shapes say, in shared memory too; encoded as a
// response, or as a client's request, and decoded again they are the same; no answer that a client
// accepts has tensors in shared memory.
#include <simdjson.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "limited_allocator.h"
#include "memory_range.h"
#include "protocol/client/kserve_rest_request.h"
#include "protocol/generate/generate_request.h"
#include "protocol/kserve_rest.h"

namespace fastserve {
namespace {

// A body in memory of exactly the promised size, and what was read from it.
struct Request {
  std::unique_ptr<char[]> memory;
  LimitedAllocator allocator;
  KserveRestDecoder decoder;
  InferBody body;

  Status Decode(std::string_view json, const std::string_view* tail, char padding) {
    const size_t tail_bytes = tail == nullptr ? 0 : tail->size();
    const size_t bytes = json.size() + tail_bytes;
    memory.reset(new char[bytes + 64]);
    if (!json.empty()) std::memcpy(memory.get(), json.data(), json.size());
    if (tail_bytes > 0) std::memcpy(memory.get() + json.size(), tail->data(), tail_bytes);
    std::memset(memory.get() + bytes, padding, 64);
    return decoder.Decode(std::as_bytes(std::span(memory.get(), bytes)),
                          tail == nullptr ? std::optional<uint64_t>() : json.size(), allocator,
                          &body);
  }
};

// Whether there is an integer that takes more than 64 bits: the DOM parser wants every number to
// fit, a tensor of floating-point numbers takes it.
bool HasLongNumber(std::string_view json) {
  size_t digits = 0;
  for (char byte : json) {
    digits = byte >= '0' && byte <= '9' ? digits + 1 : 0;
    if (digits >= 19) return true;
  }
  return false;
}

void CheckDomAccepts(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const simdjson::error_code error = parser.parse(json.data(), json.size(), true).get(root);
  FS_CHECK(!error || HasLongNumber(json));
  FS_CHECK(error || root.is_object());
}

void CheckTensor(const Tensor& tensor) {
  FS_CHECK(ValidateTensor("x", tensor).ok());
  // Every byte can be read.
  const std::vector<std::byte> copy(tensor.bytes.begin(), tensor.bytes.end());
  FS_CHECK_OP(copy.size(), ==, tensor.bytes.size());
}

void CheckInput(const InferInput& input) {
  if (!input.memory.is_set()) return CheckTensor(input.tensor);
  FS_CHECK(input.tensor.bytes.empty());
  CheckRange(input.memory);
  const Tensor& tensor = input.tensor;
  FS_CHECK(ValidateTensorSize("x", tensor.type, tensor.shape, input.memory.bytes).ok());
}

void CheckOutput(const InferOutput& output) {
  if (!output.memory.is_set()) return;
  CheckRange(output.memory);
  FS_CHECK(!output.binary);
  FS_CHECK_OP(output.classification, ==, uint32_t{0});
}

// The same elements; a BOOL is true whatever its byte is.
bool AreSame(const Tensor& a, const Tensor& b) {
  if (a.type != b.type || !(a.shape == b.shape) || a.bytes.size() != b.bytes.size()) return false;
  if (a.type == DataType::kBool) {
    return std::ranges::equal(a.bytes, b.bytes, [](std::byte x, std::byte y) {
      return (x != std::byte{0}) == (y != std::byte{0});
    });
  }
  return std::ranges::equal(a.bytes, b.bytes);
}

// Answers with the inputs, in JSON where that can say them, and reads the answer as a request.
void CheckRoundTrip(const InferBody& body, bool all_binary) {
  std::vector<InferResultOutput> outputs;
  std::string tail;
  ByteWriter out;
  for (const InferInput& input : body.inputs) {
    InferResultOutput& output = outputs.emplace_back();
    output = {input.name, input.tensor, all_binary, input.memory};
    if (!all_binary && !EncodeInferResponse({"m", "1", "", false}, {&output, 1}, &out).ok()) {
      FS_CHECK_OP(out.size(), ==, size_t{0});
      output.binary = true;
    }
    out.Clear();
    if (output.binary) {
      tail.append(reinterpret_cast<const char*>(input.tensor.bytes.data()),
                  input.tensor.bytes.size());
    }
  }
  FS_CHECK(EncodeInferResponse({"m", "1", body.id, body.has_id}, outputs, &out).ok());
  CheckDomAccepts(out.view());
  std::string json(out.view());
  json.replace(json.find("\"outputs\":["), std::strlen("\"outputs\":["), "\"inputs\":[");
  const std::string_view tail_view = tail;
  Request again;
  const Status status = again.Decode(json, &tail_view, ' ');
  if (status.code() == Code::kResourceExhausted) return;
  FS_CHECK(status.ok());
  FS_CHECK(again.body.id == body.id && again.body.has_id == body.has_id);
  FS_CHECK_OP(again.body.inputs.size(), ==, body.inputs.size());
  for (size_t i = 0; i < body.inputs.size(); ++i) {
    FS_CHECK(again.body.inputs[i].name == body.inputs[i].name);
    FS_CHECK(AreSame(again.body.inputs[i].tensor, body.inputs[i].tensor));
    FS_CHECK(AreSame(again.body.inputs[i].memory, body.inputs[i].memory));
  }
}

// A request as our own client writes it, which has nothing in shared memory.
void CheckClientsRequest(InferBody body) {
  std::erase_if(body.inputs, [](const InferInput& input) { return input.memory.is_set(); });
  ByteWriter out;
  FS_CHECK(EncodeInferRequest(body, /*binary=*/true, &out).ok());
  std::string tail;
  for (const InferInput& input : body.inputs) {
    const auto bytes = input.tensor.bytes;
    if (!bytes.empty()) tail.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  const std::string_view tail_view = tail;
  Request again;
  if (!again.Decode(out.view(), &tail_view, ' ').ok()) {
    // A client sends its own parameters beside those that the request named.
    FS_CHECK(body.parameters.size() + 6 > kMaxRequestParameters);
    return;
  }
  FS_CHECK(again.body.id == body.id);
  FS_CHECK_OP(again.body.outputs.size(), ==, body.outputs.size());
  FS_CHECK_OP(again.body.parameters.size(), ==, body.parameters.size());
  FS_CHECK_OP(again.body.inputs.size(), ==, body.inputs.size());
  for (size_t i = 0; i < body.inputs.size(); ++i) {
    FS_CHECK(std::ranges::equal(again.body.inputs[i].tensor.bytes, body.inputs[i].tensor.bytes));
  }
}

// What a client makes of a server's answer.
void FuzzAnswer(std::string_view json) {
  const std::unique_ptr<char[]> memory(new char[json.size() + 64]);
  if (!json.empty()) std::memcpy(memory.get(), json.data(), json.size());
  LimitedAllocator allocator;
  KserveRestDecoder decoder;
  InferBody answer;
  const auto body = std::as_bytes(std::span(memory.get(), json.size()));
  if (!decoder.DecodeResponse(body, std::nullopt, allocator, &answer).ok()) return;
  CheckDomAccepts(json);
  for (const InferInput& output : answer.inputs) {
    FS_CHECK(!output.memory.is_set());
    CheckTensor(output.tensor);
  }
}

// The same bytes as a request of the generate extension.
void FuzzGenerate(std::string_view json) {
  std::vector<TensorSpec> inputs(3);
  inputs[0].name = "x";
  inputs[0].shape = {-1, 2};
  inputs[1].name = "text";
  inputs[1].type = DataType::kBytes;
  inputs[1].shape = {-1, 1};
  inputs[2].name = "id";
  inputs[2].type = DataType::kInt64;
  inputs[2].shape = {-1, -1};
  const std::unique_ptr<char[]> memory(new char[json.size() + 64]);
  if (!json.empty()) std::memcpy(memory.get(), json.data(), json.size());
  const auto body = std::as_bytes(std::span(memory.get(), json.size()));
  for (const bool batching : {false, true}) {
    LimitedAllocator allocator;
    GenerateDecoder decoder;
    InferBody request;
    if (!decoder.Decode(body, inputs, batching, allocator, &request).ok()) continue;
    CheckDomAccepts(json);
    std::vector<InferResultOutput> outputs;
    for (const InferInput& input : request.inputs) {
      CheckTensor(input.tensor);
      outputs.push_back({input.name, input.tensor});
    }
    ByteWriter out;
    if (!EncodeGenerateResponse({"m", "1", request.id, true}, outputs, &out).ok()) continue;
    CheckDomAccepts(out.view());
    FS_CHECK(out.view().find('\n') == std::string_view::npos);
  }
}

void FuzzJson(std::string_view json, const std::string_view* tail) {
  Request request;
  const Status status = request.Decode(json, tail, '1');
  // Which of two errors is found first may depend on it.
  for (char padding : {'"', ',', ']', '}', ' '}) {
    FS_CHECK(Request().Decode(json, tail, padding).ok() == status.ok());
  }
  if (!status.ok()) {
    FS_CHECK(!status.message().empty());
    ByteWriter out;
    EncodeError(status.message(), &out);
    CheckDomAccepts(out.view());
    return;
  }
  if (!json.empty()) CheckDomAccepts(json);
  FS_CHECK_OP(request.body.inputs.size(), <=, kMaxRequestTensors);
  FS_CHECK_OP(request.body.outputs.size(), <=, kMaxRequestTensors);
  FS_CHECK_OP(request.body.parameters.size(), <=, kMaxRequestParameters);
  for (const InferInput& input : request.body.inputs) CheckInput(input);
  for (const InferOutput& output : request.body.outputs) CheckOutput(output);
  CheckRoundTrip(request.body, false);
  CheckRoundTrip(request.body, true);
  CheckClientsRequest(request.body);
}

void FuzzRawBinary(std::string_view body) {
  for (const auto& [type, shape] : {std::pair{DataType::kInt16, Shape{-1, 3}},
                                    {DataType::kBytes, Shape{-1, 1}},
                                    {DataType::kFp64, Shape{2, -1}},
                                    {DataType::kUint8, Shape{4}}}) {
    TensorSpec spec;
    spec.name = "x";
    spec.type = type;
    spec.shape = shape;
    for (bool batching : {false, true}) {
      LimitedAllocator allocator;
      InferBody request;
      const auto bytes = std::as_bytes(std::span(body));
      if (DecodeRawBinary(bytes, {&spec, 1}, batching, allocator, &request).ok()) {
        FS_CHECK_OP(request.inputs.size(), ==, size_t{1});
        CheckTensor(request.inputs[0].tensor);
      }
    }
  }
}

}  // namespace
}  // namespace fastserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fastserve;  // NOLINT
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t json_bytes = input.find('\0');
  if (json_bytes == std::string_view::npos) {
    FuzzJson(input, nullptr);
  } else {
    const std::string_view tail = input.substr(json_bytes + 1);
    FuzzJson(input.substr(0, json_bytes), &tail);
  }
  FuzzRawBinary(input);
  FuzzAnswer(input);
  FuzzGenerate(input);
  return 0;
}
