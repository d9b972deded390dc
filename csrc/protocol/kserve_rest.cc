#include "protocol/kserve_rest.h"

#include <cstring>
#include <limits>

#include "protocol/json_reader.h"
#include "protocol/json_writer.h"
#include "protocol/kserve_rest_reader.h"

namespace fastserve {
namespace {

// Hands the tail's bytes to the inputs that asked for some, in order.
Status AssignTail(std::span<const std::byte> tail, const RestScratch& scratch, InferBody* out) {
  std::span<const std::byte> rest = tail;
  for (size_t i = 0; i < out->inputs.size(); ++i) {
    const std::optional<uint64_t>& size = scratch.binary_data_size[i];
    if (!size) continue;
    InferInput& input = out->inputs[i];
    if (*size > rest.size()) {
      return InvalidArgument("tensor '", input.name, "': binary_data_size is ", *size,
                             ", but only ", rest.size(), " of the body's ", tail.size(),
                             " binary bytes are left");
    }
    input.tensor.bytes = rest.first(*size);
    rest = rest.subspan(*size);
    FS_RETURN_IF_ERROR(ValidateTensor(input.name, input.tensor));
  }
  if (rest.empty()) return {};
  return InvalidArgument("request: ", rest.size(), " of the body's ", tail.size(),
                         " binary bytes belong to no input (sum of binary_data_size: ",
                         tail.size() - rest.size(), ")");
}

// The shape of the one tensor that `bytes` bytes of `spec` are; dimensions of any length are -1.
Status ShapeOfRawBinary(const TensorSpec& spec, bool batching, size_t bytes, Shape* out) {
  *out = spec.shape;
  if (batching && out->rank() > 0) out->Set(0, 1);
  size_t variable_axis = out->rank();
  int64_t fixed_elements = 1;
  for (size_t axis = 0; axis < out->rank(); ++axis) {
    if ((*out)[axis] < 0) {
      if (variable_axis != out->rank()) {
        return InvalidArgument("tensor '", spec.name, "': shape ", spec.shape.ToString(),
                               " has several dimensions of any length, a body without JSON cannot "
                               "say them");
      }
      variable_axis = axis;
    } else if (__builtin_mul_overflow(fixed_elements, (*out)[axis], &fixed_elements)) {
      return InvalidArgument("tensor '", spec.name, "': shape ", spec.shape.ToString(),
                             " has too many elements");
    }
  }
  if (variable_axis == out->rank()) return {};
  // BYTES: the body is one element.
  if (spec.type == DataType::kBytes) {
    out->Set(variable_axis, 1);
    return {};
  }
  uint64_t row_bytes;
  if (__builtin_mul_overflow(static_cast<uint64_t>(fixed_elements), ElementBytes(spec.type),
                             &row_bytes) ||
      row_bytes == 0 || bytes % row_bytes != 0) {
    return InvalidArgument("tensor '", spec.name, "': ", bytes, " bytes do not divide into shape ",
                           spec.shape.ToString(), " of ", DataTypeName(spec.type));
  }
  out->Set(variable_axis, static_cast<int64_t>(bytes / row_bytes));
  return {};
}

// Copies `body` behind a length prefix, which makes it a BYTES tensor of one element.
Status MakeBytesElement(std::string_view name, std::span<const std::byte> body,
                        TensorAllocator& allocator, Tensor* tensor) {
  if (tensor->shape.Elements() != 1) {
    return InvalidArgument("tensor '", name, "': a body without JSON is one BYTES element, shape ",
                           tensor->shape.ToString(), " holds another number");
  }
  if (body.size() > std::numeric_limits<uint32_t>::max()) {
    return InvalidArgument("tensor '", name, "': ", body.size(),
                           " bytes are too many for one BYTES element");
  }
  const uint32_t length = static_cast<uint32_t>(body.size());
  const std::span<std::byte> memory = allocator.Allocate(sizeof length + body.size());
  if (memory.data() == nullptr) {
    return ResourceExhausted("tensor '", name, "': no memory for ", body.size(),
                             " bytes, the server's limit is reached");
  }
  std::memcpy(memory.data(), &length, sizeof length);
  if (!body.empty()) std::memcpy(memory.data() + sizeof length, body.data(), body.size());
  tensor->bytes = memory.first(sizeof length + body.size());
  return {};
}

// The end of an output, from its shape's.
void AppendSharedMemory(const SharedMemoryRange& memory, ByteWriter* out) {
  out->Append("],\"parameters\":{\"shared_memory_region\":");
  AppendJsonString(memory.region, out);
  out->Append(",\"shared_memory_offset\":");
  AppendJsonInteger(memory.offset, out);
  out->Append(",\"shared_memory_byte_size\":");
  AppendJsonInteger(memory.bytes, out);
  out->Append("}}");
}

Status AppendOutput(const InferResultOutput& output, ByteWriter* out) {
  out->Append("{\"name\":");
  AppendJsonString(output.name, out);
  out->Append(",\"datatype\":\"");
  out->Append(DataTypeName(output.tensor.type));
  out->Append("\",\"shape\":[");
  for (size_t axis = 0; axis < output.tensor.shape.rank(); ++axis) {
    if (axis > 0) out->Append(',');
    AppendJsonInteger(static_cast<uint64_t>(output.tensor.shape[axis]), out);
  }
  if (output.memory.is_set()) {
    AppendSharedMemory(output.memory, out);
    return {};
  }
  if (output.binary) {
    out->Append("],\"parameters\":{\"binary_data_size\":");
    AppendJsonInteger(output.tensor.bytes.size(), out);
    out->Append("}}");
    return {};
  }
  out->Append("],\"data\":");
  FS_RETURN_IF_ERROR(AppendJsonElements(output.name, output.tensor, out));
  out->Append('}');
  return {};
}

}  // namespace

KserveRestDecoder::KserveRestDecoder() = default;
KserveRestDecoder::~KserveRestDecoder() = default;

Status KserveRestDecoder::Decode(std::span<const std::byte> body,
                                 std::optional<uint64_t> header_bytes, TensorAllocator& allocator,
                                 InferBody* out) {
  return DecodeEither(body, header_bytes, allocator, /*is_response=*/false, out);
}

Status KserveRestDecoder::DecodeResponse(std::span<const std::byte> body,
                                         std::optional<uint64_t> header_bytes,
                                         TensorAllocator& allocator, InferBody* out) {
  Status status = DecodeEither(body, header_bytes, allocator, /*is_response=*/true, out);
  if (status.ok() || status.code() != Code::kInvalidArgument) return status;
  return Internal("the server's answer: ", status.message());
}

Status KserveRestDecoder::DecodeEither(std::span<const std::byte> body,
                                       std::optional<uint64_t> header_bytes,
                                       TensorAllocator& allocator, bool is_response,
                                       InferBody* out) {
  out->Clear();
  scratch_.unescaped.clear();
  scratch_.binary_data_size.clear();
  scratch_.binary_output.clear();
  const uint64_t json_bytes = header_bytes.value_or(body.size());
  if (json_bytes > body.size()) {
    return InvalidArgument("Inference-Header-Content-Length is ", json_bytes,
                           ", but the body has only ", body.size(), " bytes");
  }
  const std::string_view text(reinterpret_cast<const char*>(body.data()), json_bytes);
  FS_RETURN_IF_ERROR(ReadJsonDocument(text, &parser_, &scratch_, [&](JsonObject& root) {
    return RequestReader(text.data() + text.size(), allocator, is_response, &scratch_, out)
        .Read(root);
  }));
  return AssignTail(body.subspan(json_bytes), scratch_, out);
}

Status DecodeRawBinary(std::span<const std::byte> body, std::span<const TensorSpec> inputs,
                       bool batching, TensorAllocator& allocator, InferBody* out) {
  out->Clear();
  out->binary_output_default = true;
  if (inputs.size() != 1) {
    return InvalidArgument(
        "a body without JSON (Inference-Header-Content-Length: 0) needs a model with one input, "
        "this one has ",
        inputs.size());
  }
  const TensorSpec& spec = inputs[0];
  InferInput& input = out->inputs.emplace_back();
  input.name = spec.name;
  input.tensor.type = spec.type;
  FS_RETURN_IF_ERROR(ShapeOfRawBinary(spec, batching, body.size(), &input.tensor.shape));
  if (spec.type == DataType::kBytes) {
    return MakeBytesElement(spec.name, body, allocator, &input.tensor);
  }
  input.tensor.bytes = body;
  return ValidateTensor(spec.name, input.tensor);
}

Status EncodeInferResponse(const InferResult& result, std::span<const InferResultOutput> outputs,
                           ByteWriter* out) {
  const size_t size_before = out->size();
  out->Append('{');
  if (result.has_id) {
    out->Append("\"id\":");
    AppendJsonString(result.id, out);
    out->Append(',');
  }
  out->Append("\"model_name\":");
  AppendJsonString(result.model_name, out);
  out->Append(",\"model_version\":");
  AppendJsonString(result.model_version, out);
  out->Append(",\"outputs\":[");
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (i > 0) out->Append(',');
    if (Status status = AppendOutput(outputs[i], out); !status.ok()) {
      out->Truncate(size_before);
      return status;
    }
  }
  out->Append("]}");
  return {};
}

void EncodeError(std::string_view message, ByteWriter* out) {
  out->Append("{\"error\":");
  AppendJsonString(message, out);
  out->Append('}');
}

}  // namespace fastserve
