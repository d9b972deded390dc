// The first half of the codec: what is read.
#include "protocol/grpc/kserve_grpc.h"

#include <simdjson.h>

#include <algorithm>
#include <protozero/exception.hpp>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <utility>

#include "protocol/grpc/grpc_parameter.h"
#include "protocol/grpc/typed_contents.h"
#include "protocol/shared_memory/shared_memory_fields.h"

namespace fastserve {
namespace {

using Wire = protozero::pbf_wire_type;

std::string_view View(protozero::data_view view) { return {view.data(), view.size()}; }

}  // namespace

// Reads one request, or a response, whose outputs look as inputs do; lives for one Decode.
class GrpcRequestReader {
 public:
  GrpcRequestReader(KserveGrpcDecoder* scratch, TensorAllocator& allocator, bool is_response,
                    InferBody* out)
      : scratch_(*scratch), allocator_(allocator), is_response_(is_response), out_(*out) {}

  Status Read(std::string_view message);

 private:
  // What is known of an output while its fields are read.
  struct OutputFields {
    InferOutput* output;
    size_t index;
    SharedMemoryFields memory = {};
    bool has_classification = false;

    TensorLabel Label() const { return {"output", "outputs", index, output->name}; }
  };

  Status ReadField(protozero::pbf_reader& reader);
  Status ReadRaw(protozero::pbf_reader& reader);
  Status ReadRequestParameter(const GrpcParameter& parameter);
  Status ReadCustomParameter(const GrpcParameter& parameter);
  Status ReadInput(protozero::pbf_reader reader);
  Status ReadShape(protozero::pbf_reader& reader, Tensor* tensor);
  Status AppendDim(int64_t dim, Tensor* tensor);
  Status ReadOutput(protozero::pbf_reader reader);
  Status ReadOutputParameter(const GrpcParameter& parameter, OutputFields* fields);
  Status CheckRawContents();
  Status PlaceTensors();
  Status PlaceTensor(size_t index, std::span<const std::string_view> contents);
  TensorLabel Label(size_t index) const {
    return {"tensor", "inputs", index, out_.inputs[index].name};
  }

  KserveGrpcDecoder& scratch_;
  TensorAllocator& allocator_;
  const bool is_response_;
  InferBody& out_;
  size_t parameters_ = 0;
  size_t raw_placed_ = 0;
};

Status GrpcRequestReader::Read(std::string_view message) {
  protozero::pbf_reader reader(message.data(), message.size());
  while (reader.next()) FS_RETURN_IF_ERROR(ReadField(reader));
  if (!out_.id.empty()) {
    out_.has_id = true;
    if (!simdjson::validate_utf8(out_.id.data(), out_.id.size())) {
      return InvalidArgument("request 'id': expected UTF-8");
    }
  }
  return PlaceTensors();
}

Status GrpcRequestReader::ReadField(protozero::pbf_reader& reader) {
  switch (reader.tag_and_type()) {
    case protozero::tag_and_type(1, Wire::length_delimited):
      out_.model_name = View(reader.get_view());
      return {};
    case protozero::tag_and_type(2, Wire::length_delimited):
      out_.model_version = View(reader.get_view());
      return {};
    case protozero::tag_and_type(3, Wire::length_delimited):
      out_.id = View(reader.get_view());
      return {};
    case protozero::tag_and_type(4, Wire::length_delimited):
      if (++parameters_ > kMaxRequestParameters) {
        return InvalidArgument("request: more than ", kMaxRequestParameters, " parameters");
      }
      return ReadRequestParameter(ReadGrpcParameter(protozero::pbf_reader(reader.get_view())));
    case protozero::tag_and_type(5, Wire::length_delimited):
      if (out_.inputs.size() == kMaxRequestTensors) {
        return InvalidArgument("request: more than ", kMaxRequestTensors, " inputs");
      }
      return ReadInput(protozero::pbf_reader(reader.get_view()));
    case protozero::tag_and_type(6, Wire::length_delimited):
      if (is_response_) return ReadRaw(reader);
      if (out_.outputs.size() == kMaxRequestTensors) {
        return InvalidArgument("request: more than ", kMaxRequestTensors, " outputs");
      }
      return ReadOutput(protozero::pbf_reader(reader.get_view()));
    case protozero::tag_and_type(7, Wire::length_delimited):
      if (!is_response_) return ReadRaw(reader);
      [[fallthrough]];
    default:
      reader.skip();
      return {};
  }
}

Status GrpcRequestReader::ReadRaw(protozero::pbf_reader& reader) {
  if (scratch_.raw_.size() == kMaxRequestTensors) {
    return InvalidArgument("request: more than ", kMaxRequestTensors, " raw_input_contents");
  }
  scratch_.raw_.push_back(View(reader.get_view()));
  return {};
}

Status GrpcRequestReader::ReadRequestParameter(const GrpcParameter& parameter) {
  if (is_response_) return ReadCustomParameter(parameter);
  const std::string_view key = parameter.key;
  if (key == "binary_data_output") return {};  // Answers are raw, whatever is asked for.
  if (key == "timeout") return ToUint64(parameter, &out_.timeout_us);
  if (key == "priority") return ToUint64(parameter, &out_.priority);
  if (key == "sequence_start") return ToBool(parameter, &out_.sequence.start);
  if (key == "sequence_end") return ToBool(parameter, &out_.sequence.end);
  if (key == "sequence_id") {
    if (parameter.kind != GrpcParameter::Kind::kString)
      return ToUint64(parameter, &out_.sequence.id);
    out_.sequence.name = parameter.as_string;
    return {};
  }
  if (key == "triton_enable_empty_final_response") return ToBool(parameter, &out_.wants_final);
  if (key == "headers" || key.starts_with("triton_")) return {};
  return ReadCustomParameter(parameter);
}

Status GrpcRequestReader::ReadCustomParameter(const GrpcParameter& parameter) {
  InferParameter read{.name = parameter.key, .value = false};
  switch (parameter.kind) {
    case GrpcParameter::Kind::kNone:
      return WrongParameter(parameter, "a value");
    case GrpcParameter::Kind::kBool:
      read.value = parameter.as_bool;
      break;
    case GrpcParameter::Kind::kInt64:
      read.value = parameter.as_int64;
      break;
    case GrpcParameter::Kind::kString:
      read.value = parameter.as_string;
      break;
    case GrpcParameter::Kind::kDouble:
      read.value = parameter.as_double;
      break;
    case GrpcParameter::Kind::kUint64:
      read.value = parameter.as_uint64;
      break;
  }
  // It is a map: of two with one key the last counts.
  for (InferParameter& other : out_.parameters) {
    if (other.name == parameter.key) {
      other = read;
      return {};
    }
  }
  out_.parameters.push_back(read);
  return {};
}

Status GrpcRequestReader::ReadInput(protozero::pbf_reader reader) {
  const size_t index = out_.inputs.size();
  InferInput& input = out_.inputs.emplace_back();
  std::string_view& datatype = scratch_.datatypes_.emplace_back();
  SharedMemoryFields memory;
  size_t parameters = 0;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case protozero::tag_and_type(1, Wire::length_delimited):
        input.name = View(reader.get_view());
        break;
      case protozero::tag_and_type(2, Wire::length_delimited):
        datatype = View(reader.get_view());
        break;
      case protozero::tag_and_type(3, Wire::varint):
      case protozero::tag_and_type(3, Wire::length_delimited):
        FS_RETURN_IF_ERROR(ReadShape(reader, &input.tensor));
        break;
      case protozero::tag_and_type(4, Wire::length_delimited): {
        if (++parameters > kMaxRequestParameters) {
          return InvalidArgument("input: more than ", kMaxRequestParameters, " parameters");
        }
        const GrpcParameter parameter = ReadGrpcParameter(protozero::pbf_reader(reader.get_view()));
        if (!SharedMemoryFields::IsKey(parameter.key)) break;
        if (is_response_) return UnexpectedSharedMemory(Label(index), parameter.key);
        FS_RETURN_IF_ERROR(ToSharedMemory(parameter, Label(index), &memory));
        break;
      }
      case protozero::tag_and_type(5, Wire::length_delimited):
        scratch_.contents_.push_back({index, View(reader.get_view())});
        break;
      default:
        reader.skip();
    }
  }
  if (!memory.any()) return {};
  const bool has_contents = !scratch_.contents_.empty() && scratch_.contents_.back().input == index;
  return memory.ToRange(Label(index), has_contents ? "contents" : "", &input.memory);
}

Status GrpcRequestReader::ReadShape(protozero::pbf_reader& reader, Tensor* tensor) {
  if (reader.wire_type() == Wire::varint) return AppendDim(reader.get_int64(), tensor);
  const std::string_view packed = View(reader.get_view());
  const char* at = packed.data();
  const char* const end = at + packed.size();
  while (at < end) {
    FS_RETURN_IF_ERROR(AppendDim(static_cast<int64_t>(protozero::decode_varint(&at, end)), tensor));
  }
  return {};
}

Status GrpcRequestReader::AppendDim(int64_t dim, Tensor* tensor) {
  const size_t index = out_.inputs.size() - 1;
  if (dim < 0) {
    return InvalidArgument(Label(index), " dimension ", tensor->shape.rank(),
                           " of 'shape': expected an integer of at least 0, received ", dim);
  }
  if (tensor->shape.Append(dim)) return {};
  return InvalidArgument(Label(index), ": shape has more than ", Shape::kMaxRank, " dimensions");
}

Status GrpcRequestReader::ReadOutput(protozero::pbf_reader reader) {
  InferOutput& output = out_.outputs.emplace_back();
  OutputFields fields{.output = &output, .index = out_.outputs.size() - 1};
  size_t parameters = 0;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case protozero::tag_and_type(1, Wire::length_delimited):
        output.name = View(reader.get_view());
        break;
      case protozero::tag_and_type(2, Wire::length_delimited):
        if (++parameters > kMaxRequestParameters) {
          return InvalidArgument("output: more than ", kMaxRequestParameters, " parameters");
        }
        FS_RETURN_IF_ERROR(ReadOutputParameter(
            ReadGrpcParameter(protozero::pbf_reader(reader.get_view())), &fields));
        break;
      default:
        reader.skip();
    }
  }
  output.binary = !fields.memory.any();
  if (output.binary) return {};
  return fields.memory.ToRange(fields.Label(), fields.has_classification ? "classification" : "",
                               &output.memory);
}

Status GrpcRequestReader::ReadOutputParameter(const GrpcParameter& parameter,
                                              OutputFields* fields) {
  if (SharedMemoryFields::IsKey(parameter.key)) {
    return ToSharedMemory(parameter, fields->Label(), &fields->memory);
  }
  if (parameter.key != "classification") return {};
  fields->has_classification = true;
  uint64_t count = 0;
  FS_RETURN_IF_ERROR(ToUint64(parameter, &count));
  fields->output->classification = static_cast<uint32_t>(count);
  if (fields->output->classification == count) return {};
  return WrongParameter(parameter, "an integer below 4294967296");
}

// If there are any, each input has one but for those in shared memory.
Status GrpcRequestReader::CheckRawContents() {
  if (scratch_.raw_.empty()) return {};
  if (!scratch_.contents_.empty()) {
    return InvalidArgument(Label(scratch_.contents_.front().input),
                           " has 'contents' beside raw_input_contents: a request takes either");
  }
  const auto in_memory = static_cast<size_t>(std::ranges::count_if(
      out_.inputs, [](const InferInput& input) { return input.memory.is_set(); }));
  if (scratch_.raw_.size() == out_.inputs.size() - in_memory) return {};
  return InvalidArgument("request: ", out_.inputs.size() - in_memory, " inputs",
                         in_memory > 0 ? " that are not in shared memory" : "", ", but ",
                         scratch_.raw_.size(), " raw_input_contents");
}

// Types, shapes and contents may come in any order, so tensors are made when all is read.
Status GrpcRequestReader::PlaceTensors() {
  FS_RETURN_IF_ERROR(CheckRawContents());
  std::vector<std::string_view> contents;
  size_t next = 0;  // contents_ is in the inputs' order.
  for (size_t i = 0; i < out_.inputs.size(); ++i) {
    contents.clear();
    while (next < scratch_.contents_.size() && scratch_.contents_[next].input == i) {
      contents.push_back(scratch_.contents_[next++].message);
    }
    FS_RETURN_IF_ERROR(PlaceTensor(i, contents));
  }
  return {};
}

Status GrpcRequestReader::PlaceTensor(size_t index, std::span<const std::string_view> contents) {
  InferInput& input = out_.inputs[index];
  if (input.name.empty()) return InvalidArgument("inputs[", index, "]: 'name' is missing");
  const std::string_view datatype = scratch_.datatypes_[index];
  const std::optional<DataType> type = ParseDataType(datatype);
  if (!type) return InvalidArgument(Label(index), ": datatype '", datatype, "' does not exist");
  input.tensor.type = *type;
  if (!input.tensor.shape.Elements()) {
    return InvalidArgument(Label(index), ": shape ", input.tensor.shape.ToString(),
                           " has too many elements");
  }
  if (input.memory.is_set()) {
    return ValidateTensorSize(input.name, *type, input.tensor.shape, input.memory.bytes);
  }
  if (scratch_.raw_.empty()) {
    return ReadTypedContents(input.name, contents, allocator_, &input.tensor);
  }
  input.tensor.bytes = std::as_bytes(std::span(scratch_.raw_[raw_placed_++]));
  return ValidateTensor(input.name, input.tensor);
}

Status KserveGrpcDecoder::Decode(std::span<const std::byte> message, TensorAllocator& allocator,
                                 InferBody* out) {
  return DecodeEither(message, allocator, /*is_response=*/false, out);
}

Status KserveGrpcDecoder::DecodeResponse(std::span<const std::byte> message,
                                         TensorAllocator& allocator, InferBody* out) {
  Status status = DecodeEither(message, allocator, /*is_response=*/true, out);
  if (status.ok() || status.code() != Code::kInvalidArgument) return status;
  return Internal("the server's answer: ", status.message());
}

Status KserveGrpcDecoder::DecodeEither(std::span<const std::byte> message,
                                       TensorAllocator& allocator, bool is_response,
                                       InferBody* out) {
  out->Clear();
  out->binary_output_default = true;
  contents_.clear();
  datatypes_.clear();
  raw_.clear();
  try {
    return GrpcRequestReader(this, allocator, is_response, out)
        .Read({reinterpret_cast<const char*>(message.data()), message.size()});
  } catch (const protozero::exception& error) {
    return InvalidArgument(is_response ? "no protobuf of ModelInferResponse: "
                                       : "request: the message is no protobuf of "
                                         "ModelInferRequest: ",
                           error.what());
  }
}

Result<GrpcStreamResponse> ParseGrpcStreamResponse(std::string_view message) {
  GrpcStreamResponse parsed;
  try {
    protozero::pbf_reader reader(message.data(), message.size());
    while (reader.next()) {
      switch (reader.tag_and_type()) {
        case protozero::tag_and_type(1, Wire::length_delimited):
          parsed.error = View(reader.get_view());
          break;
        case protozero::tag_and_type(2, Wire::length_delimited):
          parsed.response = View(reader.get_view());
          break;
        default:
          reader.skip();
      }
    }
  } catch (const protozero::exception& error) {
    return Internal("the server's answer: no protobuf of ModelStreamInferResponse: ", error.what());
  }
  return parsed;
}

std::optional<size_t> FindRawContents(std::string_view begin, uint32_t field) {
  const char* at = begin.data();
  const char* const end = at + begin.size();
  try {
    while (at < end) {
      const uint64_t key = protozero::decode_varint(&at, end);
      if ((key & 7) != static_cast<uint64_t>(Wire::length_delimited)) return std::nullopt;
      const uint64_t length = protozero::decode_varint(&at, end);
      if (key >> 3 == field) return static_cast<size_t>(at - begin.data());
      if (length > static_cast<size_t>(end - at)) return std::nullopt;
      at += length;
    }
  } catch (const protozero::exception&) {
    return std::nullopt;  // It is not all there.
  }
  return std::nullopt;
}

}  // namespace fastserve
