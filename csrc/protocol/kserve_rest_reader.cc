#include "protocol/kserve_rest_reader.h"

#include <optional>

namespace fastserve {
namespace {

// The depths of what Decode visits: the root is 1, `inputs` 2, an input 3.
constexpr int kRootFieldDepth = 2;
constexpr int kTensorFieldDepth = 4;
constexpr int kTensorParameterDepth = 5;

}  // namespace

Status RequestReader::Read(JsonObject& root) {
  FS_RETURN_IF_ERROR(ForEachField(root, "request", [&](const JsonKey& key, JsonValue& member) {
    return is_response_ ? ReadResponseField(key.text, member) : ReadRootField(key.text, member);
  }));
  if (!has_inputs_) {
    return InvalidArgument("request: '", is_response_ ? "outputs" : "inputs", "' is missing");
  }
  for (size_t i = 0; i < out_.outputs.size(); ++i) {
    out_.outputs[i].binary = scratch_.binary_output[i].value_or(out_.binary_output_default);
  }
  return {};
}

Status RequestReader::ReadRootField(std::string_view key, JsonValue& value) {
  if (key == "id") {
    FS_RETURN_IF_ERROR(root_keys_.Add(0, "request", key));
    out_.has_id = true;
    return ReadString(value, "request 'id'", &out_.id);
  }
  if (key == "inputs") {
    FS_RETURN_IF_ERROR(root_keys_.Add(1, "request", key));
    has_inputs_ = true;
    return ReadTensorList(value, key, [&](JsonValue& element) { return ReadInput(element); });
  }
  if (key == "outputs") {
    FS_RETURN_IF_ERROR(root_keys_.Add(2, "request", key));
    return ReadTensorList(value, key, [&](JsonValue& element) { return ReadOutput(element); });
  }
  if (key == "parameters") {
    FS_RETURN_IF_ERROR(root_keys_.Add(3, "request", key));
    return ReadParameters(value, "request", [&](const JsonKey& name, JsonValue& parameter) {
      return ReadRequestParameter(name, parameter);
    });
  }
  return WalkJson(value, kRootFieldDepth, "request");
}

Status RequestReader::ReadResponseField(std::string_view key, JsonValue& value) {
  if (key == "model_name") {
    FS_RETURN_IF_ERROR(root_keys_.Add(4, "response", key));
    return ReadString(value, "'model_name'", &out_.model_name);
  }
  if (key == "model_version") {
    FS_RETURN_IF_ERROR(root_keys_.Add(5, "response", key));
    // KServe's own server says null where there are no versions.
    if (JsonToken(value).starts_with('n')) return WalkJson(value, kRootFieldDepth, "response");
    return ReadString(value, "'model_version'", &out_.model_version);
  }
  if (key == "id") {
    if (JsonToken(value).starts_with('n')) return WalkJson(value, kRootFieldDepth, "response");
    return ReadRootField(key, value);
  }
  if (key == "outputs") {
    FS_RETURN_IF_ERROR(root_keys_.Add(2, "response", key));
    has_inputs_ = true;
    return ReadTensorList(value, key, [&](JsonValue& element) { return ReadInput(element); });
  }
  if (key == "parameters") {
    FS_RETURN_IF_ERROR(root_keys_.Add(3, "response", key));
    if (JsonToken(value).starts_with('n')) return WalkJson(value, kRootFieldDepth, "response");
    return ReadParameters(value, "response", [&](const JsonKey& name, JsonValue& parameter) {
      return ReadResponseParameter(name, parameter);
    });
  }
  return WalkJson(value, kRootFieldDepth, "response");
}

// What a client has no use for (objects, null) is passed over.
Status RequestReader::ReadResponseParameter(const JsonKey& raw_key, JsonValue& value) {
  const std::string_view token = JsonToken(value);
  const char first = token.empty() ? '\0' : token[0];
  if (first == '{' || first == '[' || first == 'n') {
    return WalkJson(value, kRootFieldDepth + 1, "response");
  }
  return ReadCustomParameter(raw_key, value);
}

template <typename ReadOne>
Status RequestReader::ReadTensorList(JsonValue& value, std::string_view what, ReadOne&& read_one) {
  JsonArray array;
  if (value.get_array().get(array)) {
    return UnexpectedJson(StrCat("request '", what, "'"), "an array", value);
  }
  size_t count = 0;
  return ForEachElement(array, what, [&](JsonValue& element) -> Status {
    if (++count > kMaxRequestTensors) {
      return InvalidArgument("request: more than ", kMaxRequestTensors, " ", what);
    }
    return read_one(element);
  });
}

template <typename ReadOne>
Status RequestReader::ReadParameters(JsonValue& value, std::string_view where, ReadOne&& read_one) {
  JsonObject object;
  if (value.get_object().get(object)) {
    return UnexpectedJson(StrCat(where, " 'parameters'"), "an object", value);
  }
  size_t count = 0;
  return ForEachField(object, where, [&](const JsonKey& key, JsonValue& member) -> Status {
    if (++count > kMaxRequestParameters) {
      return InvalidArgument(where, ": more than ", kMaxRequestParameters, " parameters");
    }
    return read_one(key, member);
  });
}

Status RequestReader::ReadRequestParameter(const JsonKey& raw_key, JsonValue& value) {
  const std::string_view key = raw_key.text;
  const auto add = [&](int bit) { return request_parameter_keys_.Add(bit, "parameters", key); };
  if (key == "binary_data_output") {
    FS_RETURN_IF_ERROR(add(0));
    return ReadJsonBool(value, key, &out_.binary_output_default);
  }
  if (key == "timeout") {
    FS_RETURN_IF_ERROR(add(1));
    return ReadJsonUint64(value, key, &out_.timeout_us);
  }
  if (key == "priority") {
    FS_RETURN_IF_ERROR(add(2));
    return ReadJsonUint64(value, key, &out_.priority);
  }
  if (key == "sequence_id") {
    FS_RETURN_IF_ERROR(add(3));
    return ReadSequenceId(value);
  }
  if (key == "sequence_start") {
    FS_RETURN_IF_ERROR(add(4));
    return ReadJsonBool(value, key, &out_.sequence.start);
  }
  if (key == "sequence_end") {
    FS_RETURN_IF_ERROR(add(5));
    return ReadJsonBool(value, key, &out_.sequence.end);
  }
  if (key == "headers" || key.starts_with("triton_")) {
    return WalkJson(value, kRootFieldDepth + 1, "parameters");
  }
  return ReadCustomParameter(raw_key, value);
}

Status RequestReader::ReadSequenceId(JsonValue& value) {
  if (JsonToken(value).starts_with('"')) {
    return ReadString(value, "sequence_id", &out_.sequence.name);
  }
  return ReadJsonUint64(value, "sequence_id", &out_.sequence.id);
}

Status RequestReader::ReadCustomParameter(const JsonKey& raw_key, JsonValue& value) {
  const std::string_view key = raw_key.text;
  for (const InferParameter& other : out_.parameters) {
    if (other.name == key) return InvalidArgument("parameters: '", key, "' appears twice");
  }
  InferParameter& parameter = out_.parameters.emplace_back();
  parameter.name = StableKey(raw_key, &scratch_.unescaped);
  const std::string_view token = JsonToken(value);
  const char first = token.empty() ? '\0' : token[0];
  if (first == '"') {
    return ReadString(value, "parameters", &parameter.value.emplace<std::string_view>());
  }
  if (first == 't' || first == 'f') {
    return ReadJsonBool(value, "parameters", &parameter.value.emplace<bool>());
  }
  if (token.find_first_of(".eE") == std::string_view::npos) {
    if (!value.get_int64().get(parameter.value.emplace<int64_t>())) return {};
    if (!value.get_uint64().get(parameter.value.emplace<uint64_t>())) return {};
  }
  if (!value.get_double().get(parameter.value.emplace<double>())) return {};
  return UnexpectedJson(StrCat("parameter '", key, "'"), "a bool, a number or a string", value);
}

Status RequestReader::ReadInput(JsonValue& value) {
  InputFields fields{.input = nullptr, .index = out_.inputs.size()};
  JsonObject object;
  if (value.get_object().get(object)) {
    return UnexpectedJson(StrCat(fields.Label()), "an object", value);
  }
  fields.input = &out_.inputs.emplace_back();
  scratch_.binary_data_size.emplace_back();
  FS_RETURN_IF_ERROR(ForEachField(object, "inputs", [&](const JsonKey& key, JsonValue& member) {
    return ReadInputField(key, member, &fields);
  }));
  if (!fields.can_read_data()) {
    return InvalidArgument(fields.Label(), ": '",
                           !fields.has_name    ? "name"
                           : !fields.has_shape ? "shape"
                                               : "datatype",
                           "' is missing");
  }
  FS_RETURN_IF_ERROR(PlaceInput(fields));
  return fields.postponed_data == nullptr ? Status() : ReadPostponedData(object, fields);
}

// Where the bytes of an input are, all of whose fields have been read: in exactly one place.
Status RequestReader::PlaceInput(const InputFields& fields) {
  InferInput& input = *fields.input;
  const bool is_binary = scratch_.binary_data_size.back().has_value();
  if (fields.memory.any()) {
    const std::string_view beside = fields.has_data ? "data" : is_binary ? "binary_data_size" : "";
    FS_RETURN_IF_ERROR(fields.memory.ToRange(fields.Label(), beside, &input.memory));
    return ValidateTensorSize(input.name, input.tensor.type, input.tensor.shape,
                              input.memory.bytes);
  }
  if (fields.has_data != is_binary) return {};
  return InvalidArgument(
      fields.Label(),
      ": expected either 'data' or 'binary_data_size' or 'shared_memory_region', received ",
      is_binary ? "both 'data' and 'binary_data_size'" : "none of them");
}

Status RequestReader::ReadInputField(const JsonKey& raw_key, JsonValue& value,
                                     InputFields* fields) {
  const std::string_view key = raw_key.text;
  if (key == "name") {
    FS_RETURN_IF_ERROR(fields->keys.Add(0, "inputs", key));
    FS_RETURN_IF_ERROR(ReadString(value, "input 'name'", &fields->input->name));
    fields->has_name = true;
    return {};
  }
  if (key == "shape") {
    FS_RETURN_IF_ERROR(fields->keys.Add(1, "inputs", key));
    fields->has_shape = true;
    return ReadShape(value, *fields);
  }
  if (key == "datatype") {
    FS_RETURN_IF_ERROR(fields->keys.Add(2, "inputs", key));
    fields->has_type = true;
    return ReadDatatype(value, *fields);
  }
  if (key == "parameters") {
    FS_RETURN_IF_ERROR(fields->keys.Add(3, "inputs", key));
    if (is_response_ && JsonToken(value).starts_with('n')) {
      return WalkJson(value, kTensorFieldDepth, "outputs");
    }
    return ReadInputParameters(value, fields);
  }
  if (key == "data") {
    FS_RETURN_IF_ERROR(fields->keys.Add(4, "inputs", key));
    fields->has_data = true;
    if (fields->can_read_data()) return ReadData(value, *fields);
    fields->postponed_data = raw_key.raw;
    return {};
  }
  return WalkJson(value, kTensorFieldDepth, "inputs");
}

// The second pass over an input, for its data alone: all else was read (and validated) in the
// first, which skipped the data.
Status RequestReader::ReadPostponedData(JsonObject& object, const InputFields& fields) {
  if (auto error = object.reset().error()) return JsonError(error, "inputs");
  for (auto result : object) {
    simdjson::ondemand::field field;
    if (auto error = std::move(result).get(field)) return JsonError(error, "inputs");
    if (field.key().raw() != fields.postponed_data) continue;
    FS_RETURN_IF_ERROR(ReadData(field.value(), fields));
  }
  return {};
}

Status RequestReader::ReadShape(JsonValue& value, const InputFields& fields) {
  JsonArray dims;
  if (value.get_array().get(dims)) {
    return UnexpectedJson(StrCat(fields.Label(), " 'shape'"), "an array of integers", value);
  }
  Shape& shape = fields.input->tensor.shape;
  FS_RETURN_IF_ERROR(ForEachElement(dims, "shape", [&](JsonValue& element) -> Status {
    int64_t dim;
    if (element.get_int64().get(dim) || dim < 0) {
      return UnexpectedJson(StrCat(fields.Label(), " dimension ", shape.rank(), " of 'shape'"),
                            "an integer of at least 0", element);
    }
    if (shape.Append(dim)) return {};
    return InvalidArgument(fields.Label(), ": shape has more than ", Shape::kMaxRank,
                           " dimensions");
  }));
  if (shape.Elements()) return {};
  return InvalidArgument(fields.Label(), ": shape ", shape.ToString(), " has too many elements");
}

Status RequestReader::ReadDatatype(JsonValue& value, const InputFields& fields) {
  std::string_view name;
  FS_RETURN_IF_ERROR(ReadString(value, "input 'datatype'", &name));
  const std::optional<DataType> type = ParseDataType(name);
  if (!type) return InvalidArgument(fields.Label(), ": datatype '", name, "' does not exist");
  fields.input->tensor.type = *type;
  return {};
}

Status RequestReader::ReadInputParameters(JsonValue& value, InputFields* fields) {
  std::optional<uint64_t>& binary_data_size = scratch_.binary_data_size.back();
  return ReadParameters(value, "input", [&](const JsonKey& raw_key, JsonValue& member) -> Status {
    const std::string_view key = raw_key.text;
    if (key == "binary_data_size") {
      if (binary_data_size) return InvalidArgument("input: '", key, "' appears twice");
      return ReadJsonUint64(member, key, &binary_data_size.emplace());
    }
    if (SharedMemoryFields::IsKey(key)) {
      return ReadSharedMemory(key, member, fields->Label(), &fields->memory);
    }
    return WalkJson(member, kTensorParameterDepth, "inputs");
  });
}

Status RequestReader::ReadOutput(JsonValue& value) {
  JsonObject object;
  if (value.get_object().get(object)) {
    return UnexpectedJson(StrCat("outputs[", out_.outputs.size(), "]"), "an object", value);
  }
  OutputFields fields{.output = &out_.outputs.emplace_back(), .index = out_.outputs.size() - 1};
  scratch_.binary_output.emplace_back();
  FS_RETURN_IF_ERROR(ForEachField(object, "outputs", [&](const JsonKey& key, JsonValue& member) {
    return ReadOutputField(key.text, member, &fields);
  }));
  if (fields.has_name) return PlaceOutput(fields);
  return InvalidArgument("outputs[", fields.index, "]: 'name' is missing");
}

Status RequestReader::ReadOutputField(std::string_view key, JsonValue& value,
                                      OutputFields* fields) {
  if (key == "name") {
    FS_RETURN_IF_ERROR(fields->keys.Add(0, "outputs", key));
    fields->has_name = true;
    return ReadString(value, "output 'name'", &fields->output->name);
  }
  if (key == "parameters") {
    FS_RETURN_IF_ERROR(fields->keys.Add(1, "outputs", key));
    return ReadParameters(value, "output", [&](const JsonKey& name, JsonValue& parameter) {
      return ReadOutputParameter(name.text, parameter, fields);
    });
  }
  return WalkJson(value, kTensorFieldDepth, "outputs");
}

Status RequestReader::ReadOutputParameter(std::string_view key, JsonValue& value,
                                          OutputFields* fields) {
  if (key == "binary_data") {
    FS_RETURN_IF_ERROR(fields->parameter_keys.Add(0, "output", key));
    return ReadJsonBool(value, key, &scratch_.binary_output.back().emplace());
  }
  if (key == "classification") {
    FS_RETURN_IF_ERROR(fields->parameter_keys.Add(1, "output", key));
    fields->has_classification = true;
    uint64_t count;
    FS_RETURN_IF_ERROR(ReadJsonUint64(value, key, &count));
    fields->output->classification = static_cast<uint32_t>(count);
    if (fields->output->classification == count) return {};
    return UnexpectedJson(key, "an integer below 4294967296", value);
  }
  if (SharedMemoryFields::IsKey(key)) {
    return ReadSharedMemory(key, value, fields->Label(), &fields->memory);
  }
  return WalkJson(value, kTensorParameterDepth, "outputs");
}

Status RequestReader::PlaceOutput(const OutputFields& fields) {
  if (!fields.memory.any()) return {};
  std::optional<bool>& binary = scratch_.binary_output.back();
  const std::string_view beside = fields.has_classification ? "classification"
                                  : binary.value_or(false)  ? "binary_data"
                                                            : "";
  binary = false;  // Even where the request wants all its outputs so.
  return fields.memory.ToRange(fields.Label(), beside, &fields.output->memory);
}

Status RequestReader::ReadSharedMemory(std::string_view key, JsonValue& value,
                                       const TensorLabel& label, SharedMemoryFields* fields) {
  if (is_response_) return UnexpectedSharedMemory(label, key);
  const auto twice = [&] { return InvalidArgument(label, ": '", key, "' appears twice"); };
  if (key == kSharedMemoryRegion) {
    if (fields->region) return twice();
    if (JsonToken(value).starts_with('"')) return ReadString(value, key, &fields->region.emplace());
    return UnexpectedJson(StrCat(label, " '", key, "'"), "a string", value);
  }
  std::optional<uint64_t>& number = key == kSharedMemoryOffset ? fields->offset : fields->bytes;
  if (number) return twice();
  if (!value.get_uint64().get(number.emplace())) return {};
  return UnexpectedJson(StrCat(label, " '", key, "'"), "an integer of at least 0", value);
}

}  // namespace fastserve
