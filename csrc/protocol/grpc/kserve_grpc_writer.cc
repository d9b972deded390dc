// The second half of the codec: answers.
#include <array>
#include <limits>

#include "protocol/grpc/grpc_framing.h"
#include "protocol/grpc/kserve_grpc.h"
#include "protocol/grpc/proto_writer.h"
#include "protocol/shared_memory/shared_memory_fields.h"

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
constexpr uint32_t kOutputParameters = 4;
// A map's entry.
constexpr uint32_t kKey = 1;
constexpr uint32_t kValue = 2;
// InferParameter.
constexpr uint32_t kBoolParam = 1;
constexpr uint32_t kInt64Param = 2;
constexpr uint32_t kStringParam = 3;
constexpr uint32_t kUint64Param = 5;
// ModelStreamInferResponse.
constexpr uint32_t kErrorMessage = 1;
constexpr uint32_t kInferResponse = 2;

size_t ShapeBytes(const Shape& shape) {
  size_t bytes = 0;
  for (const int64_t dim : shape.dims()) bytes += VarintBytes(static_cast<uint64_t>(dim));
  return bytes;
}

// An entry of map<string, InferParameter>, whose value takes so many bytes.
size_t EntryBytes(std::string_view key, size_t value_bytes) {
  return StringFieldBytes(key) + LengthFieldBytes(value_bytes);
}

// Such an entry as `field`, up to its value.
void AppendEntryHead(uint32_t field, std::string_view key, size_t value_bytes, ByteWriter* out) {
  AppendLengthHead(field, EntryBytes(key, value_bytes), out);
  AppendStringField(kKey, key, out);
  AppendLengthHead(kValue, value_bytes, out);
}

size_t SharedMemoryBytes(const SharedMemoryRange& memory) {
  if (!memory.is_set()) return 0;
  const auto entry = [](std::string_view key, size_t value_bytes) {
    return LengthFieldBytes(EntryBytes(key, value_bytes));
  };
  return entry(kSharedMemoryRegion, LengthFieldBytes(memory.region.size())) +
         entry(kSharedMemoryOffset, VarintFieldBytes(memory.offset)) +
         entry(kSharedMemoryByteSize, VarintFieldBytes(memory.bytes));
}

void AppendSharedMemory(const SharedMemoryRange& memory, ByteWriter* out) {
  if (!memory.is_set()) return;
  AppendEntryHead(kOutputParameters, kSharedMemoryRegion, LengthFieldBytes(memory.region.size()),
                  out);
  AppendLengthHead(kStringParam, memory.region.size(), out);
  out->Append(memory.region);
  // int64_param, as Triton's clients have them, but for what it cannot tell.
  const auto append_number = [out](std::string_view key, uint64_t number) {
    const bool fits = number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    AppendEntryHead(kOutputParameters, key, VarintFieldBytes(number), out);
    AppendVarintField(fits ? kInt64Param : kUint64Param, number, out);
  };
  append_number(kSharedMemoryOffset, memory.offset);
  append_number(kSharedMemoryByteSize, memory.bytes);
}

// The bytes of an output in shared memory are there.
size_t RawBytes(const InferResultOutput& output) {
  return output.memory.is_set() ? 0 : output.tensor.bytes.size();
}

size_t OutputBytes(const InferResultOutput& output) {
  const Shape& shape = output.tensor.shape;
  return StringFieldBytes(output.name) + StringFieldBytes(DataTypeName(output.tensor.type)) +
         (shape.rank() == 0 ? 0 : LengthFieldBytes(ShapeBytes(shape))) +
         SharedMemoryBytes(output.memory);
}

void AppendOutput(const InferResultOutput& output, ByteWriter* out) {
  AppendLengthHead(kOutputs, OutputBytes(output), out);
  AppendStringField(kName, output.name, out);
  AppendStringField(kDatatype, DataTypeName(output.tensor.type), out);
  const Shape& shape = output.tensor.shape;
  if (shape.rank() > 0) {
    AppendLengthHead(kShape, ShapeBytes(shape), out);
    for (const int64_t dim : shape.dims()) AppendVarint(static_cast<uint64_t>(dim), out);
  }
  AppendSharedMemory(output.memory, out);
}

constexpr size_t kFinalValueBytes = VarintFieldBytes(1);

void AppendFinal(bool is_final, ByteWriter* out) {
  AppendEntryHead(kParameters, kFinalResponse, kFinalValueBytes, out);
  AppendVarintField(kBoolParam, is_final ? 1 : 0, out);
}

size_t ResponseBytes(const InferResult& result, std::span<const InferResultOutput> outputs,
                     GrpcEnvelope envelope) {
  size_t bytes =
      envelope.is_final ? LengthFieldBytes(EntryBytes(kFinalResponse, kFinalValueBytes)) : 0;
  bytes += StringFieldBytes(result.model_name) + StringFieldBytes(result.model_version) +
           StringFieldBytes(result.id);
  for (const InferResultOutput& output : outputs) {
    bytes += LengthFieldBytes(OutputBytes(output)) + LengthFieldBytes(RawBytes(output));
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
    AppendLengthHead(kRawOutputContents, RawBytes(output), out);
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
