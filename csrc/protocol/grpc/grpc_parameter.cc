#include "protocol/grpc/grpc_parameter.h"

#include <simdjson.h>

#include <string>

namespace fastserve {
namespace {

using Wire = protozero::pbf_wire_type;

std::string_view View(protozero::data_view view) { return {view.data(), view.size()}; }

void ReadParameterValue(protozero::pbf_reader reader, GrpcParameter* out) {
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case protozero::tag_and_type(1, Wire::varint):
        out->kind = GrpcParameter::Kind::kBool;
        out->as_bool = reader.get_uint64() != 0;
        break;
      case protozero::tag_and_type(2, Wire::varint):
        out->kind = GrpcParameter::Kind::kInt64;
        out->as_int64 = reader.get_int64();
        break;
      case protozero::tag_and_type(3, Wire::length_delimited):
        out->kind = GrpcParameter::Kind::kString;
        out->as_string = View(reader.get_view());
        break;
      case protozero::tag_and_type(4, Wire::fixed64):
        out->kind = GrpcParameter::Kind::kDouble;
        out->as_double = reader.get_double();
        break;
      case protozero::tag_and_type(5, Wire::varint):
        out->kind = GrpcParameter::Kind::kUint64;
        out->as_uint64 = reader.get_uint64();
        break;
      default:
        reader.skip();
    }
  }
}

// What came, for messages; texts, which may be no UTF-8, stay out of them.
std::string ReceivedOf(const GrpcParameter& parameter) {
  switch (parameter.kind) {
    case GrpcParameter::Kind::kNone:
      return "no value";
    case GrpcParameter::Kind::kBool:
      return "a bool_param";
    case GrpcParameter::Kind::kInt64:
      return StrCat("int64_param ", parameter.as_int64);
    case GrpcParameter::Kind::kString:
      return "a string_param";
    case GrpcParameter::Kind::kDouble:
      return "a double_param";
    case GrpcParameter::Kind::kUint64:
      return StrCat("uint64_param ", parameter.as_uint64);
  }
  return "";
}

}  // namespace

GrpcParameter ReadGrpcParameter(protozero::pbf_reader reader) {
  GrpcParameter parameter;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case protozero::tag_and_type(1, Wire::length_delimited):
        parameter.key = View(reader.get_view());
        break;
      case protozero::tag_and_type(2, Wire::length_delimited):
        ReadParameterValue(protozero::pbf_reader(reader.get_view()), &parameter);
        break;
      default:
        reader.skip();
    }
  }
  return parameter;
}

Status WrongParameter(const GrpcParameter& parameter, std::string_view expected) {
  return InvalidArgument("parameter '", parameter.key, "': expected ", expected, ", received ",
                         ReceivedOf(parameter));
}

Status ToUint64(const GrpcParameter& parameter, uint64_t* out) {
  if (parameter.kind == GrpcParameter::Kind::kUint64) {
    *out = parameter.as_uint64;
  } else if (parameter.kind == GrpcParameter::Kind::kInt64 && parameter.as_int64 >= 0) {
    *out = static_cast<uint64_t>(parameter.as_int64);
  } else {
    return WrongParameter(parameter, "an integer of at least 0 (int64_param or uint64_param)");
  }
  return {};
}

Status ToBool(const GrpcParameter& parameter, bool* out) {
  if (parameter.kind != GrpcParameter::Kind::kBool)
    return WrongParameter(parameter, "a bool_param");
  *out = parameter.as_bool;
  return {};
}

Status ToSharedMemory(const GrpcParameter& parameter, const TensorLabel& label,
                      SharedMemoryFields* fields) {
  Status status;
  if (parameter.key == kSharedMemoryOffset) {
    status = ToUint64(parameter, &fields->offset.emplace());
  } else if (parameter.key == kSharedMemoryByteSize) {
    status = ToUint64(parameter, &fields->bytes.emplace());
  } else if (parameter.kind != GrpcParameter::Kind::kString) {
    status = WrongParameter(parameter, "a string_param");
  } else if (!simdjson::validate_utf8(parameter.as_string.data(), parameter.as_string.size())) {
    // An answer repeats it.
    status = InvalidArgument("parameter '", parameter.key, "': expected UTF-8");
  } else {
    fields->region = parameter.as_string;
  }
  return status.ok() ? Status() : InvalidArgument(label, ": ", status.message());
}

}  // namespace fastserve
