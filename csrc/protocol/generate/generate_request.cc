#include "protocol/generate/generate_request.h"

#include <algorithm>
#include <string>

#include "protocol/json_reader.h"
#include "protocol/json_writer.h"
#include "protocol/kserve_rest_reader.h"

namespace fastserve {
namespace {

// Reads one object; lives for one Decode.
class GenerateReader {
 public:
  GenerateReader(const char* text_end, std::span<const TensorSpec> inputs, bool batching,
                 TensorAllocator& allocator, RestScratch* scratch, InferBody* out)
      : text_end_(text_end),
        inputs_(inputs),
        batching_(batching),
        allocator_(allocator),
        scratch_(*scratch),
        out_(*out),
        parameters_(text_end, allocator, /*is_response=*/false, scratch, out) {}

  Status Read(JsonObject& root) {
    return ForEachField(root, "request", [&](const JsonKey& key, JsonValue& value) -> Status {
      if (key.text == "id" && FindInput("id") == nullptr) {
        if (out_.has_id) return InvalidArgument("request: 'id' appears twice");
        out_.has_id = true;
        return ReadJsonString(value, "request 'id'", &scratch_.unescaped, &out_.id);
      }
      if (key.text == "parameters" && FindInput("parameters") == nullptr) {
        return ReadParameters(value);
      }
      return ReadField(key, value);
    });
  }

 private:
  const TensorSpec* FindInput(std::string_view name) const {
    const auto found = std::ranges::find(inputs_, name, &TensorSpec::name);
    return found == inputs_.end() ? nullptr : &*found;
  }

  Status ReadParameters(JsonValue& value) {
    if (has_parameters_) return InvalidArgument("request: 'parameters' appears twice");
    has_parameters_ = true;
    JsonObject object;
    if (value.get_object().get(object)) {
      return UnexpectedJson("request 'parameters'", "an object", value);
    }
    return ForEachField(object, "parameters", [&](const JsonKey& key, JsonValue& member) {
      return ReadField(key, member);
    });
  }

  Status ReadField(const JsonKey& key, JsonValue& value) {
    const TensorSpec* const spec = FindInput(key.text);
    if (spec != nullptr) return ReadInput(*spec, value);
    if (++parameter_count_ > kMaxRequestParameters) {
      return InvalidArgument("request: more than ", kMaxRequestParameters, " parameters");
    }
    const std::string_view token = JsonToken(value);
    const char first = token.empty() ? '\0' : token[0];
    if (first == '{' || first == '[' || first == 'n') {
      return UnexpectedJson(StrCat("'", key.text, "', which is no input of the model"),
                            "a bool, a number or a string", value);
    }
    return parameters_.ReadRequestParameter(key, value);
  }

  Status ReadInput(const TensorSpec& spec, JsonValue& value) {
    for (const InferInput& other : out_.inputs) {
      if (other.name == spec.name) return InvalidArgument("input '", spec.name, "' appears twice");
    }
    Tensor tensor{.type = spec.type, .shape = {}, .bytes = {}};
    size_t elements = 1;
    if (JsonToken(value).starts_with('[')) {
      if (value.count_elements().get(elements)) {
        return UnexpectedJson(StrCat("input '", spec.name, "'"), "a list of values", value);
      }
      tensor.shape = {static_cast<int64_t>(elements)};
    }
    Shape shape;
    FS_RETURN_IF_ERROR(ShapeOf(spec, elements, &shape));
    FS_RETURN_IF_ERROR(
        ReadJsonTensor(spec.name, value, text_end_, allocator_, &scratch_.strings, &tensor));
    tensor.shape = shape;
    out_.inputs.push_back({spec.name, tensor});
    return {};
  }

  // The last open dimension takes what there is, others are 1.
  Status ShapeOf(const TensorSpec& spec, size_t elements, Shape* shape) const {
    *shape = spec.shape;
    size_t open = shape->rank();
    size_t known = 1;
    for (size_t axis = 0; axis < shape->rank(); ++axis) {
      const bool is_batch = batching_ && axis == 0;
      if (is_batch || (*shape)[axis] < 0) {
        shape->Set(axis, 1);
        if (!is_batch) open = axis;
      } else if (__builtin_mul_overflow(known, static_cast<size_t>((*shape)[axis]), &known)) {
        known = 0;  // More than any list has.
        break;
      }
    }
    const bool is_open = open < shape->rank();
    const bool fits = is_open ? known > 0 && elements % known == 0 : elements == known;
    if (!fits) {
      return InvalidArgument("input '", spec.name, "': ", elements, " elements do not fit shape ",
                             spec.shape.ToString(), batching_ ? " with a batch of 1" : "");
    }
    if (is_open) shape->Set(open, static_cast<int64_t>(elements / known));
    return {};
  }

  const char* const text_end_;
  const std::span<const TensorSpec> inputs_;
  const bool batching_;
  TensorAllocator& allocator_;
  RestScratch& scratch_;
  InferBody& out_;
  RequestReader parameters_;
  bool has_parameters_ = false;
  size_t parameter_count_ = 0;
};

// A single element is a value, more are a list.
Status AppendValue(const InferResultOutput& output, ByteWriter* out) {
  const size_t begin = out->size();
  FS_RETURN_IF_ERROR(AppendJsonElements(output.name, output.tensor, out));
  if (output.tensor.shape.Elements() != 1) return {};
  const std::string value(out->view().substr(begin + 1, out->size() - begin - 2));
  out->Truncate(begin);
  out->Append(value);
  return {};
}

}  // namespace

GenerateDecoder::GenerateDecoder() = default;
GenerateDecoder::~GenerateDecoder() = default;

Status GenerateDecoder::Decode(std::span<const std::byte> body, std::span<const TensorSpec> inputs,
                               bool batching, TensorAllocator& allocator, InferBody* out) {
  out->Clear();
  scratch_.unescaped.clear();
  const std::string_view text(reinterpret_cast<const char*>(body.data()), body.size());
  return ReadJsonDocument(text, &parser_, &scratch_, [&](JsonObject& root) {
    return GenerateReader(text.data() + text.size(), inputs, batching, allocator, &scratch_, out)
        .Read(root);
  });
}

Status EncodeGenerateResponse(const InferResult& result, std::span<const InferResultOutput> outputs,
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
  for (const InferResultOutput& output : outputs) {
    out->Append(',');
    AppendJsonString(output.name, out);
    out->Append(':');
    if (Status status = AppendValue(output, out); !status.ok()) {
      out->Truncate(size_before);
      return status;
    }
  }
  out->Append('}');
  return {};
}

void AppendServerSentEvent(std::string_view json, ByteWriter* out) {
  out->Append("data: ");
  out->Append(json);
  out->Append("\n\n");
}

}  // namespace fastserve
