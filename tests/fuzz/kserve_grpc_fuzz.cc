// The KServe gRPC codec. An input is a ModelInferRequest.
//
// Oracles: what was accepted, as a request or as a response, has tensors that are what their types
// and shapes say, within the message or the allocator's memory, or in shared memory; encoded as a
// response, its fields are where protozero finds them, and made a request again it is the same; no
// answer that a client accepts has tensors in shared memory; where tensors begin is said alike of a
// message and of its beginning; what a client makes of a request is read as the same request.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "limited_allocator.h"
#include "memory_range.h"
#include "protocol/client/kserve_grpc_request.h"
#include "protocol/grpc/grpc_framing.h"
#include "protocol/grpc/kserve_grpc.h"

namespace fastserve {
namespace {

// The inputs are those of the request that `message` is.
void CheckSame(const InferBody& body, std::string_view message) {
  LimitedAllocator allocator;
  KserveGrpcDecoder decoder;
  InferBody again;
  FS_CHECK(decoder.Decode(std::as_bytes(std::span(message)), allocator, &again).ok());
  FS_CHECK_OP(again.inputs.size(), ==, body.inputs.size());
  for (size_t i = 0; i < body.inputs.size(); ++i) {
    FS_CHECK(again.inputs[i].name == body.inputs[i].name);
    FS_CHECK(AreSame(again.inputs[i].memory, body.inputs[i].memory));
    FS_CHECK(again.inputs[i].tensor.type == body.inputs[i].tensor.type);
    FS_CHECK(again.inputs[i].tensor.shape == body.inputs[i].tensor.shape);
    FS_CHECK(std::ranges::equal(again.inputs[i].tensor.bytes, body.inputs[i].tensor.bytes));
  }
}

// Checks the outputs' fields against `body`, whose inputs are the outputs. An output is described
// as an input is, so that with other numbers of fields the response is a request.
void CheckResponseFields(const InferBody& body, protozero::pbf_reader reader) {
  std::string request;
  protozero::pbf_writer writer(request);
  size_t raw = 0;
  while (reader.next()) {
    const uint32_t tag = reader.tag();
    const auto field = reader.get_view();
    if (tag == 5) writer.add_message(5, field);
    if (tag != 6) continue;
    const InferInput& input = body.inputs.at(raw++);
    FS_CHECK_OP(field.size(), ==, input.tensor.bytes.size());
    if (!input.memory.is_set()) writer.add_bytes(7, field);
  }
  FS_CHECK_OP(raw, ==, body.inputs.size());
  CheckSame(body, request);
}

void CheckResponse(const InferBody& body, bool in_stream) {
  std::vector<InferResultOutput> outputs;
  for (const InferInput& input : body.inputs) {
    outputs.push_back({input.name, input.tensor, true, input.memory});
  }
  ByteWriter out;
  std::vector<size_t> cuts;
  const InferResult result{.model_name = body.model_name, .model_version = {}, .id = body.id};
  FS_CHECK(EncodeGrpcInferResponse(result, outputs, {.in_stream = in_stream}, &out, &cuts).ok());
  std::string whole;
  size_t from = 0;
  for (size_t i = 0; i < cuts.size(); ++i) {
    whole += out.view().substr(from, cuts[i] - from);
    const auto bytes = outputs[i].tensor.bytes;
    if (!bytes.empty()) whole.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    from = cuts[i];
  }
  whole += out.view().substr(from);
  const Result<GrpcPrefix> prefix = ParseGrpcPrefix(whole);
  FS_CHECK(prefix.ok() && prefix->length == whole.size() - kGrpcPrefixBytes);
  protozero::pbf_reader reader(whole.data() + kGrpcPrefixBytes, prefix->length);
  if (in_stream) {
    FS_CHECK(reader.next(2));
    reader = reader.get_message();
  }
  CheckResponseFields(body, reader);
}

void CheckInput(const InferInput& input) {
  const Tensor& tensor = input.tensor;
  if (input.memory.is_set()) {
    FS_CHECK(tensor.bytes.empty());
    CheckRange(input.memory);
    FS_CHECK(ValidateTensorSize(input.name, tensor.type, tensor.shape, input.memory.bytes).ok());
    return;
  }
  FS_CHECK(ValidateTensor(input.name, tensor).ok());
  if (tensor.bytes.empty()) return;
  volatile std::byte last = tensor.bytes.back();
  static_cast<void>(last);
}

void CheckOutput(const InferOutput& output) {
  FS_CHECK(output.binary != output.memory.is_set());
  if (!output.memory.is_set()) return;
  CheckRange(output.memory);
  FS_CHECK_OP(output.classification, ==, uint32_t{0});
}

// A request as our own client writes it, which has nothing in shared memory.
void CheckRequest(InferBody body) {
  std::erase_if(body.inputs, [](const InferInput& input) { return input.memory.is_set(); });
  ByteWriter out;
  std::vector<size_t> cuts;
  FS_CHECK(EncodeGrpcInferRequest(body, &out, &cuts).ok());
  std::string whole;
  size_t from = 0;
  for (size_t i = 0; i < cuts.size(); ++i) {
    whole += out.view().substr(from, cuts[i] - from);
    const auto bytes = body.inputs[i].tensor.bytes;
    if (!bytes.empty()) whole.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    from = cuts[i];
  }
  whole += out.view().substr(from);
  LimitedAllocator allocator;
  KserveGrpcDecoder decoder;
  InferBody again;
  const auto message = std::as_bytes(std::span(whole)).subspan(kGrpcPrefixBytes);
  const Status status = decoder.Decode(message, allocator, &again);
  if (!status.ok()) {
    // A client sends its own parameters beside those that the request named.
    FS_CHECK(body.parameters.size() + 6 > kMaxRequestParameters);
    return;
  }
  FS_CHECK(again.model_name == body.model_name && again.id == body.id);
  FS_CHECK_OP(again.inputs.size(), ==, body.inputs.size());
  FS_CHECK_OP(again.outputs.size(), ==, body.outputs.size());
  FS_CHECK_OP(again.parameters.size(), ==, body.parameters.size());
  for (size_t i = 0; i < body.inputs.size(); ++i) {
    FS_CHECK(again.inputs[i].tensor.shape == body.inputs[i].tensor.shape);
    FS_CHECK(std::ranges::equal(again.inputs[i].tensor.bytes, body.inputs[i].tensor.bytes));
  }
}

void CheckBeginnings(std::string_view message) {
  const std::optional<size_t> place = FindRawContents(message);
  if (place) FS_CHECK_OP(*place, <=, message.size());
  const std::string_view half = message.substr(0, message.size() / 2);
  const std::optional<size_t> early = FindRawContents(half);
  if (early) FS_CHECK(place == early);
}

}  // namespace
}  // namespace fastserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fastserve;
  const std::unique_ptr<char[]> copy(new char[size]);  // Of exactly this size.
  if (size > 0) std::memcpy(copy.get(), data, size);
  const std::string_view message(copy.get(), size);
  static_cast<void>(ParseGrpcTimeout(message.substr(0, 12)));
  if (size >= kGrpcPrefixBytes) static_cast<void>(ParseGrpcPrefix(message));
  CheckBeginnings(message);
  static_cast<void>(ParseGrpcStreamResponse(message));
  LimitedAllocator allocator;
  KserveGrpcDecoder decoder;
  InferBody body;
  if (decoder.DecodeResponse(std::as_bytes(std::span(message)), allocator, &body).ok()) {
    for (const InferInput& output : body.inputs) {
      FS_CHECK(!output.memory.is_set());
      FS_CHECK(ValidateTensor(output.name, output.tensor).ok());
    }
  }
  if (!decoder.Decode(std::as_bytes(std::span(message)), allocator, &body).ok()) return 0;
  CheckRequest(body);
  for (const InferInput& input : body.inputs) CheckInput(input);
  for (const InferOutput& output : body.outputs) CheckOutput(output);
  CheckResponse(body, false);
  CheckResponse(body, true);
  return 0;
}
