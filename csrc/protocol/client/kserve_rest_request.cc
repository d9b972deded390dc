#include "protocol/client/kserve_rest_request.h"

#include <charconv>
#include <cmath>
#include <string_view>
#include <type_traits>

#include "protocol/json_writer.h"

namespace fastserve {
namespace {

// Commas between the fields of an object.
class Fields {
 public:
  explicit Fields(ByteWriter* out) : out_(*out) { out_.Append('{'); }
  // The value is the caller's to append.
  ByteWriter* Begin(std::string_view key) {
    if (!is_first_) out_.Append(',');
    is_first_ = false;
    AppendJsonString(key, &out_);
    out_.Append(':');
    return &out_;
  }
  void End() { out_.Append('}'); }

 private:
  ByteWriter& out_;
  bool is_first_ = true;
};

std::string_view JsonBool(bool value) { return value ? "true" : "false"; }

Status AppendNumber(std::string_view name, double value, ByteWriter* out) {
  if (!std::isfinite(value)) {
    return InvalidArgument("parameter '", name, "': JSON has no NaN and no infinity");
  }
  constexpr size_t kDoubleBytesMax = 32;
  char* const at = out->Reserve(kDoubleBytesMax);
  const char* const end = std::to_chars(at, at + kDoubleBytesMax, value).ptr;
  const std::string_view text(at, static_cast<size_t>(end - at));
  const bool shows_it = text.find_first_of(".e") != std::string_view::npos;
  out->Advance(text.size());
  if (!shows_it) out->Append(".0");
  return {};
}

Status AppendParameter(const InferParameter& parameter, ByteWriter* out) {
  return std::visit(
      [&](const auto& value) -> Status {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, bool>) {
          out->Append(JsonBool(value));
        } else if constexpr (std::is_same_v<T, double>) {
          return AppendNumber(parameter.name, value, out);
        } else if constexpr (std::is_same_v<T, std::string_view>) {
          AppendJsonString(value, out);
        } else {
          if (value < T{0}) out->Append('-');
          const auto bits = static_cast<uint64_t>(value);
          AppendJsonInteger(value < T{0} ? 0 - bits : bits, out);
        }
        return {};
      },
      parameter.value);
}

Status AppendParameters(const InferBody& request, bool binary, ByteWriter* out) {
  Fields fields(out);
  if (binary) fields.Begin("binary_data_output")->Append("true");
  if (request.timeout_us > 0) AppendJsonInteger(request.timeout_us, fields.Begin("timeout"));
  if (request.priority > 0) AppendJsonInteger(request.priority, fields.Begin("priority"));
  const InferSequence& sequence = request.sequence;
  if (!sequence.name.empty()) AppendJsonString(sequence.name, fields.Begin("sequence_id"));
  if (sequence.id > 0) AppendJsonInteger(sequence.id, fields.Begin("sequence_id"));
  if (sequence.id > 0 || !sequence.name.empty()) {
    fields.Begin("sequence_start")->Append(JsonBool(sequence.start));
    fields.Begin("sequence_end")->Append(JsonBool(sequence.end));
  }
  for (const InferParameter& parameter : request.parameters) {
    FS_RETURN_IF_ERROR(AppendParameter(parameter, fields.Begin(parameter.name)));
  }
  fields.End();
  return {};
}

Status AppendInput(const InferInput& input, bool binary, ByteWriter* out) {
  Fields fields(out);
  AppendJsonString(input.name, fields.Begin("name"));
  AppendJsonString(DataTypeName(input.tensor.type), fields.Begin("datatype"));
  fields.Begin("shape")->Append('[');
  for (size_t axis = 0; axis < input.tensor.shape.rank(); ++axis) {
    if (axis > 0) out->Append(',');
    AppendJsonInteger(static_cast<uint64_t>(input.tensor.shape[axis]), out);
  }
  out->Append(']');
  if (binary) {
    fields.Begin("parameters")->Append("{\"binary_data_size\":");
    AppendJsonInteger(input.tensor.bytes.size(), out);
    out->Append('}');
  } else {
    FS_RETURN_IF_ERROR(AppendJsonElements(input.name, input.tensor, fields.Begin("data")));
  }
  fields.End();
  return {};
}

void AppendOutput(const InferOutput& output, bool binary, ByteWriter* out) {
  Fields fields(out);
  AppendJsonString(output.name, fields.Begin("name"));
  fields.Begin("parameters");
  Fields parameters(out);
  if (binary) parameters.Begin("binary_data")->Append("true");
  if (output.classification > 0) {
    AppendJsonInteger(output.classification, parameters.Begin("classification"));
  }
  parameters.End();
  fields.End();
}

Status AppendRequest(const InferBody& request, bool binary, ByteWriter* out) {
  Fields fields(out);
  if (!request.id.empty()) AppendJsonString(request.id, fields.Begin("id"));
  fields.Begin("parameters");
  FS_RETURN_IF_ERROR(AppendParameters(request, binary, out));
  fields.Begin("inputs")->Append('[');
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    if (i > 0) out->Append(',');
    FS_RETURN_IF_ERROR(AppendInput(request.inputs[i], binary, out));
  }
  out->Append(']');
  if (!request.outputs.empty()) {
    fields.Begin("outputs")->Append('[');
    for (size_t i = 0; i < request.outputs.size(); ++i) {
      if (i > 0) out->Append(',');
      AppendOutput(request.outputs[i], binary, out);
    }
    out->Append(']');
  }
  fields.End();
  return {};
}

}  // namespace

Status EncodeInferRequest(const InferBody& request, bool binary, ByteWriter* out) {
  const size_t size_before = out->size();
  Status status = AppendRequest(request, binary, out);
  if (!status.ok()) out->Truncate(size_before);
  return status;
}

}  // namespace fastserve
