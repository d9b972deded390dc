#include "protocol/client/kserve_grpc_request.h"

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

#include "protocol/grpc/grpc_framing.h"
#include "protocol/grpc/kserve_grpc.h"
#include "protocol/grpc/proto_writer.h"

namespace fastserve {
namespace {

// ModelInferRequest.
constexpr uint32_t kModelName = 1;
constexpr uint32_t kModelVersion = 2;
constexpr uint32_t kId = 3;
constexpr uint32_t kParameters = 4;
constexpr uint32_t kInputs = 5;
constexpr uint32_t kOutputs = 6;
// Of an input.
constexpr uint32_t kName = 1;
constexpr uint32_t kDatatype = 2;
constexpr uint32_t kShape = 3;
// Of an output.
constexpr uint32_t kOutputParameters = 2;
// InferParameter.
constexpr uint32_t kBoolParam = 1;
constexpr uint32_t kInt64Param = 2;
constexpr uint32_t kStringParam = 3;
constexpr uint32_t kDoubleParam = 4;
constexpr uint32_t kUint64Param = 5;
// A map's entry.
constexpr uint32_t kKey = 1;
constexpr uint32_t kValue = 2;

void AppendDoubleField(uint32_t field, double value, ByteWriter* out) {
  out->Append(static_cast<char>(field << 3 | 1));
  const auto bytes = std::bit_cast<std::array<char, sizeof value>>(value);
  out->Append({bytes.data(), bytes.size()});
}

// An InferParameter: a member of a oneof is written whatever its value.
void AppendParameterValue(const InferParameter& parameter, ByteWriter* out) {
  std::visit(
      [&](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, bool>) {
          AppendVarintField(kBoolParam, value ? 1 : 0, out);
        } else if constexpr (std::is_same_v<T, int64_t>) {
          AppendVarintField(kInt64Param, static_cast<uint64_t>(value), out);
        } else if constexpr (std::is_same_v<T, uint64_t>) {
          AppendVarintField(kUint64Param, value, out);
        } else if constexpr (std::is_same_v<T, double>) {
          AppendDoubleField(kDoubleParam, value, out);
        } else {
          AppendLengthHead(kStringParam, value.size(), out);
          out->Append(value);
        }
      },
      parameter.value);
}

void AppendParameter(uint32_t field, const InferParameter& parameter, ByteWriter* out) {
  ByteWriter value;
  AppendParameterValue(parameter, &value);
  AppendLengthHead(field, StringFieldBytes(parameter.name) + LengthFieldBytes(value.size()), out);
  AppendStringField(kKey, parameter.name, out);
  AppendLengthHead(kValue, value.size(), out);
  out->Append(value.view());
}

void AppendParameters(const InferBody& request, ByteWriter* out) {
  const auto append = [out](std::string_view name, auto value) {
    AppendParameter(kParameters, {.name = name, .value = value}, out);
  };
  // The types that Triton's own clients use.
  if (request.timeout_us > 0) append("timeout", static_cast<int64_t>(request.timeout_us));
  if (request.priority > 0) append("priority", request.priority);
  const InferSequence& sequence = request.sequence;
  if (!sequence.name.empty()) append("sequence_id", sequence.name);
  if (sequence.id > 0) append("sequence_id", static_cast<int64_t>(sequence.id));
  if (sequence.id > 0 || !sequence.name.empty()) {
    append("sequence_start", sequence.start);
    append("sequence_end", sequence.end);
  }
  if (request.wants_final) append("triton_enable_empty_final_response", true);
  for (const InferParameter& parameter : request.parameters) {
    AppendParameter(kParameters, parameter, out);
  }
}

void AppendInput(const InferInput& input, ByteWriter* out) {
  const Shape& shape = input.tensor.shape;
  const std::string_view datatype = DataTypeName(input.tensor.type);
  size_t dims = 0;
  for (const int64_t dim : shape.dims()) dims += VarintBytes(static_cast<uint64_t>(dim));
  AppendLengthHead(kInputs,
                   StringFieldBytes(input.name) + StringFieldBytes(datatype) +
                       (shape.rank() == 0 ? 0 : LengthFieldBytes(dims)),
                   out);
  AppendStringField(kName, input.name, out);
  AppendStringField(kDatatype, datatype, out);
  if (shape.rank() == 0) return;
  AppendLengthHead(kShape, dims, out);
  for (const int64_t dim : shape.dims()) AppendVarint(static_cast<uint64_t>(dim), out);
}

void AppendOutput(const InferOutput& output, ByteWriter* out) {
  ByteWriter text;
  AppendStringField(kName, output.name, &text);
  if (output.classification > 0) {
    AppendParameter(kOutputParameters,
                    {.name = "classification", .value = int64_t{output.classification}}, &text);
  }
  AppendLengthHead(kOutputs, text.size(), out);
  out->Append(text.view());
}

}  // namespace

Status EncodeGrpcInferRequest(const InferBody& request, ByteWriter* out,
                              std::vector<size_t>* cuts) {
  const size_t begin = out->size();
  cuts->clear();
  out->Append(std::string_view("\0\0\0\0\0", kGrpcPrefixBytes));  // Known at the end.
  AppendStringField(kModelName, request.model_name, out);
  AppendStringField(kModelVersion, request.model_version, out);
  AppendStringField(kId, request.id, out);
  AppendParameters(request, out);
  for (const InferInput& input : request.inputs) AppendInput(input, out);
  for (const InferOutput& output : request.outputs) AppendOutput(output, out);
  size_t raw = 0;
  for (const InferInput& input : request.inputs) {
    AppendLengthHead(kRawInputContents, input.tensor.bytes.size(), out);
    cuts->push_back(out->size() - begin);
    raw += input.tensor.bytes.size();
  }
  const size_t message = out->size() - begin - kGrpcPrefixBytes + raw;
  if (message > std::numeric_limits<uint32_t>::max()) {
    out->Truncate(begin);
    return ResourceExhausted("the request has ", message,
                             " bytes, and a gRPC message has less than 4 GiB");
  }
  const std::array prefix = FormatGrpcPrefix({.length = static_cast<uint32_t>(message)});
  out->Overwrite(begin, {prefix.data(), prefix.size()});
  return {};
}

}  // namespace fastserve
