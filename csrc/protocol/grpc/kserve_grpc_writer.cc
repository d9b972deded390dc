// The second half of the codec: answers.
#include <array>
#include <limits>

#include "protocol/grpc/grpc_framing.h"
#include "protocol/grpc/kserve_grpc.h"
#include "protocol/grpc/proto_writer.h"

namespace fastserve {
namespace {

// ModelInferResponse.
constexpr uint32_t kModelName = 1;
constexpr uint32_t kModelVersion = 2;
constexpr uint32_t kId = 3;
constexpr uint32_t kParameters = 4;
constexpr std::string_view kFinalResponse = "triton_final_response";
constexpr uint32_t kOutputs = 5;
// InferOutputTensor.
constexpr uint32_t kName = 1;
constexpr uint32_t kDatatype = 2;
constexpr uint32_t kShape = 3;
// ModelStreamInferResponse.
constexpr uint32_t kErrorMessage = 1;
constexpr uint32_t kInferResponse = 2;

size_t ShapeBytes(const Shape& shape) {
  size_t bytes = 0;
  for (const int64_t dim : shape.dims()) bytes += VarintBytes(static_cast<uint64_t>(dim));
  return bytes;
}

size_t OutputBytes(const InferResultOutput& output) {
  const Shape& shape = output.tensor.shape;
  return StringFieldBytes(output.name) + StringFieldBytes(DataTypeName(output.tensor.type)) +
         (shape.rank() == 0 ? 0 : LengthFieldBytes(ShapeBytes(shape)));
}

void AppendOutput(const InferResultOutput& output, ByteWriter* out) {
  AppendLengthHead(kOutputs, OutputBytes(output), out);
  AppendStringField(kName, output.name, out);
  AppendStringField(kDatatype, DataTypeName(output.tensor.type), out);
  const Shape& shape = output.tensor.shape;
  if (shape.rank() == 0) return;
  AppendLengthHead(kShape, ShapeBytes(shape), out);
  for (const int64_t dim : shape.dims()) AppendVarint(static_cast<uint64_t>(dim), out);
}

// An entry of map<string, InferParameter>: the key, and a bool_param.
size_t FinalBytes() {
  constexpr size_t kValueBytes = 2;
  return StringFieldBytes(kFinalResponse) + LengthFieldBytes(kValueBytes);
}

void AppendFinal(bool is_final, ByteWriter* out) {
  AppendLengthHead(kParameters, FinalBytes(), out);
  AppendStringField(1, kFinalResponse, out);
  AppendLengthHead(2, 2, out);
  out->Append('\x08');
  out->Append(is_final ? '\x01' : '\x00');
}

size_t ResponseBytes(const InferResult& result, std::span<const InferResultOutput> outputs,
                     GrpcEnvelope envelope) {
  size_t bytes = envelope.is_final ? LengthFieldBytes(FinalBytes()) : 0;
  bytes += StringFieldBytes(result.model_name) + StringFieldBytes(result.model_version) +
           StringFieldBytes(result.id);
  for (const InferResultOutput& output : outputs) {
    bytes += LengthFieldBytes(OutputBytes(output)) + LengthFieldBytes(output.tensor.bytes.size());
  }
  return bytes;
}

void AppendPrefix(size_t length, ByteWriter* out) {
  const std::array prefix = FormatGrpcPrefix({.length = static_cast<uint32_t>(length)});
  out->Append({prefix.data(), prefix.size()});
}

}  // namespace

Status EncodeGrpcInferResponse(const InferResult& result,
                               std::span<const InferResultOutput> outputs, GrpcEnvelope envelope,
                               ByteWriter* out, std::vector<size_t>* cuts) {
  const size_t begin = out->size();
  cuts->clear();
  const size_t response = ResponseBytes(result, outputs, envelope);
  const size_t message = envelope.in_stream ? LengthFieldBytes(response) : response;
  if (message > std::numeric_limits<uint32_t>::max()) {
    return ResourceExhausted("the answer has ", message,
                             " bytes, and a gRPC message has less than 4 GiB");
  }
  AppendPrefix(message, out);
  if (envelope.in_stream) AppendLengthHead(kInferResponse, response, out);
  AppendStringField(kModelName, result.model_name, out);
  AppendStringField(kModelVersion, result.model_version, out);
  AppendStringField(kId, result.id, out);
  if (envelope.is_final) AppendFinal(*envelope.is_final, out);
  for (const InferResultOutput& output : outputs) AppendOutput(output, out);
  for (const InferResultOutput& output : outputs) {
    AppendLengthHead(kRawOutputContents, output.tensor.bytes.size(), out);
    cuts->push_back(out->size() - begin);
  }
  return {};
}

void EncodeGrpcStreamError(std::string_view message, const InferResult& result, ByteWriter* out) {
  const size_t response = ResponseBytes(result, {}, {});
  const size_t size = StringFieldBytes(message) + (response == 0 ? 0 : LengthFieldBytes(response));
  AppendPrefix(size, out);
  AppendStringField(kErrorMessage, message, out);
  if (response == 0) return;
  AppendLengthHead(kInferResponse, response, out);
  AppendStringField(kModelName, result.model_name, out);
  AppendStringField(kModelVersion, result.model_version, out);
  AppendStringField(kId, result.id, out);
}

}  // namespace fastserve
