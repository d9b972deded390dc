// The KServe gRPC codec. An input is a ModelInferRequest.
//
// Oracles: what was accepted, as a request or as a response, has tensors that are what their types
// and shapes say, within the message or the allocator's memory; encoded as a response, its fields
// are where protozero finds them; where tensors begin is said alike of a message and of its
// beginning; what a client makes of a request is read as the same request.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "limited_allocator.h"
#include "protocol/client/kserve_grpc_request.h"
#include "protocol/grpc/grpc_framing.h"
#include "protocol/grpc/kserve_grpc.h"

namespace fastserve {
namespace {

void CheckResponse(const InferBody& body, bool in_stream) {
  std::vector<InferResultOutput> outputs;
  for (const InferInput& input : body.inputs) outputs.push_back({input.name, input.tensor, true});
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
  size_t raw = 0;
  while (reader.next()) {
    const bool is_raw = reader.tag() == 6;
    const auto field = reader.get_view();
    if (!is_raw) continue;
    FS_CHECK_OP(field.size(), ==, outputs[raw].tensor.bytes.size());
    ++raw;
  }
  FS_CHECK_OP(raw, ==, outputs.size());
}

// A request as our own client writes it.
void CheckRequest(const InferBody& body) {
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
      FS_CHECK(ValidateTensor(output.name, output.tensor).ok());
    }
  }
  if (!decoder.Decode(std::as_bytes(std::span(message)), allocator, &body).ok()) return 0;
  CheckRequest(body);
  for (const InferInput& input : body.inputs) {
    FS_CHECK(ValidateTensor(input.name, input.tensor).ok());
    if (input.tensor.bytes.empty()) continue;
    volatile std::byte last = input.tensor.bytes.back();
    static_cast<void>(last);
  }
  CheckResponse(body, false);
  CheckResponse(body, true);
  return 0;
}
