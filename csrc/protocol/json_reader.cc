#include "protocol/json_reader.h"

#include <bit>
#include <cfloat>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <type_traits>

#include "protocol/decimal_float.h"

namespace fastserve {
namespace {

// An explicit instantiation may name a private member, and a friend of its can hand it out.
const uint8_t* StringsOf(const simdjson::ondemand::parser& parser);
template <auto Member>
struct ShowStrings {
  friend const uint8_t* StringsOf(const simdjson::ondemand::parser& parser) {
    return (parser.*Member).get();
  }
};
template struct ShowStrings<&simdjson::ondemand::parser::string_buf>;

// Long enough to recognise the value, short enough for a message.
constexpr size_t kShownTokenBytes = 40;

// How an element of type T is called in messages; floats are told apart by DataTypeName.
template <typename T>
bool ReadInteger(JsonValue& value, T* out) {
  if constexpr (std::is_signed_v<T>) {
    int64_t wide;
    if (value.get_int64().get(wide)) return false;
    *out = static_cast<T>(wide);
    return *out == wide;
  } else {
    uint64_t wide;
    if (value.get_uint64().get(wide)) return false;
    *out = static_cast<T>(wide);
    return *out == wide;
  }
}

bool ReadElement(JsonValue& value, double* out) {
  return !value.get_double().get(*out) && std::isfinite(*out);
}

// Decimal -> double -> float rounds twice, which is wrong only where the double lies midway between
// two floats; below FLT_MIN floats are coarser and "midway" has other bits. There the text is
// parsed again.
bool ReadElement(JsonValue& value, float* out) {
  // The array's iterator skips a value that was not asked for.
  if (ReadDecimalFloat(value.raw_json_token().data(), out)) [[likely]]
    return true;
  double wide;
  if (value.get_double().get(wide)) return false;
  constexpr uint64_t kDroppedBits = (uint64_t{1} << 29) - 1;
  constexpr uint64_t kMidway = uint64_t{1} << 28;
  *out = static_cast<float>(wide);
  const bool is_tie = (std::bit_cast<uint64_t>(wide) & kDroppedBits) == kMidway;
  if (is_tie || (std::abs(wide) < FLT_MIN && wide != 0)) [[unlikely]] {
    const std::string_view token = JsonToken(value);
    float once;
    const auto parsed = std::from_chars(token.data(), token.data() + token.size(), once);
    if (parsed.ec == std::errc()) *out = once;
  }
  return std::isfinite(*out);
}

bool ReadElement(JsonValue& value, bool* out) { return !value.get_bool().get(*out); }
bool ReadElement(JsonValue& value, std::string_view* out) { return !value.get_string().get(*out); }
template <typename T>
  requires std::is_integral_v<T>
bool ReadElement(JsonValue& value, T* out) {
  return ReadInteger(value, out);
}

std::string_view ExpectedElement(DataType type) {
  switch (type) {
    case DataType::kBool:
      return "true or false";
    case DataType::kBytes:
      return "a string";
    case DataType::kFp32:
    case DataType::kFp64:
      return "a finite number in the type's range";
    default:
      return "an integer in the type's range";
  }
}

// Fills one tensor, level by level; levels are at most Shape::kMaxRank.
template <typename T>
class TensorReader {
 public:
  TensorReader(std::string_view name, const Tensor& tensor, int64_t elements, T* out)
      : name_(name), tensor_(tensor), elements_(elements), out_(out) {}

  Status Read(JsonValue& data, const char* text_end) {
    const std::string_view token = JsonToken(data);
    if (token.empty() || token[0] != '[') {
      if (tensor_.shape.rank() == 0) return Element(data);
      return UnexpectedJson(Label(), "an array as data", data);
    }
    JsonArray array;
    if (auto error = data.get_array().get(array)) return JsonError(error, Label());
    const char* next = token.data() + 1;
    while (next != text_end && (*next == ' ' || *next == '\t' || *next == '\n' || *next == '\r')) {
      ++next;
    }
    const bool is_nested = tensor_.shape.rank() > 1 && next != text_end && *next == '[';
    return is_nested ? Level(array, 0) : Elements(array, elements_);
  }

 private:
  std::string Label() const { return StrCat("tensor '", name_, "'"); }

  Status Element(JsonValue& value) {
    if (!ReadElement(value, out_ + next_)) [[unlikely]] {
      return UnexpectedJson(
          StrCat(Label(), " element ", next_),
          StrCat(DataTypeName(tensor_.type), " (", ExpectedElement(tensor_.type), ")"), value);
    }
    ++next_;
    return {};
  }

  Status Elements(JsonArray& array, int64_t expected) {
    const int64_t end = next_ + expected;
    for (auto result : array) {
      JsonValue value;
      if (auto error = std::move(result).get(value)) return JsonError(error, Label());
      if (next_ == end) return WrongCount("more", expected);
      FS_RETURN_IF_ERROR(Element(value));
    }
    return next_ == end ? Status() : WrongCount("fewer", expected);
  }

  Status Level(JsonArray& array, size_t axis) {
    if (axis + 1 == tensor_.shape.rank()) return Elements(array, tensor_.shape[axis]);
    int64_t rows = 0;
    FS_RETURN_IF_ERROR(ForEachElement(array, name_, [&](JsonValue& value) -> Status {
      if (rows++ == tensor_.shape[axis]) return WrongCount("more", tensor_.shape[axis]);
      JsonArray row;
      if (value.get_array().get(row)) {
        return UnexpectedJson(StrCat(Label(), " data nested as shape ", tensor_.shape.ToString()),
                              "an array", value);
      }
      return Level(row, axis + 1);
    }));
    return rows == tensor_.shape[axis] ? Status() : WrongCount("fewer", tensor_.shape[axis]);
  }

  Status WrongCount(std::string_view comparison, int64_t expected) const {
    return InvalidArgument(Label(), ": expected data for shape ", tensor_.shape.ToString(),
                           " (flat, or nested as the shape says), received an array of ",
                           comparison, " than ", expected, " elements");
  }

  const std::string_view name_;
  const Tensor& tensor_;
  const int64_t elements_;
  T* const out_;
  int64_t next_ = 0;
};

// `bytes` from the allocator; an empty result without an error only for 0 bytes.
Status Allocate(std::string_view name, size_t bytes, TensorAllocator& allocator,
                std::span<std::byte>* out) {
  *out = {};
  if (bytes == 0) return {};
  *out = allocator.Allocate(bytes);
  if (out->data() == nullptr) {
    return ResourceExhausted("tensor '", name, "': no memory for ", bytes,
                             " bytes, the server's limit is reached");
  }
  return {};
}

struct ReadArgs {
  std::string_view name;
  JsonValue& data;
  const char* text_end;
  TensorAllocator& allocator;
  int64_t elements;
  Tensor* tensor;
};

template <typename T>
Status ReadFixed(const ReadArgs& args) {
  const size_t bytes = static_cast<size_t>(args.elements) * sizeof(T);
  std::span<std::byte> memory;
  FS_RETURN_IF_ERROR(Allocate(args.name, bytes, args.allocator, &memory));
  T* const out = reinterpret_cast<T*>(memory.data());
  args.tensor->bytes = memory.first(bytes);
  return TensorReader<T>(args.name, *args.tensor, args.elements, out)
      .Read(args.data, args.text_end);
}

// Two passes: the sum of the lengths is known only when all strings have been unescaped.
Status ReadBytes(const ReadArgs& args, std::vector<std::string_view>* strings) {
  strings->resize(static_cast<size_t>(args.elements));
  FS_RETURN_IF_ERROR(
      TensorReader<std::string_view>(args.name, *args.tensor, args.elements, strings->data())
          .Read(args.data, args.text_end));
  size_t bytes = 0;
  for (std::string_view string : *strings) bytes += sizeof(uint32_t) + string.size();
  std::span<std::byte> memory;
  FS_RETURN_IF_ERROR(Allocate(args.name, bytes, args.allocator, &memory));
  std::byte* out = memory.data();
  for (std::string_view string : *strings) {
    const uint32_t length = static_cast<uint32_t>(string.size());  // A document is below 4 GiB.
    std::memcpy(out, &length, sizeof length);
    if (length > 0) std::memcpy(out + sizeof length, string.data(), length);
    out += sizeof length + length;
  }
  args.tensor->bytes = memory.first(bytes);
  return {};
}

// A string without escapes is its own text; `raw` points behind its opening quote.
std::string_view StableView(const char* raw, std::string_view unescaped,
                            UnescapedStrings* storage) {
  const size_t size = unescaped.size();
  if (raw[size] == '"' && (size == 0 || std::memchr(raw, '\\', size) == nullptr)) {
    return {raw, size};
  }
  return storage->emplace_back(unescaped);
}

}  // namespace

Status JsonParser::Open(std::string_view text, JsonObject* root) {
  // simdjson 3.0 refuses a byte order mark, 3.12 skips it.
  if (text.starts_with("\xEF\xBB\xBF")) {
    return InvalidArgument("request: not valid JSON: it begins with a byte order mark");
  }
  const simdjson::padded_string_view padded(text.data(), text.size(), text.size() + kJsonPadding);
  const auto error = parser_.iterate(padded).get(document_);
  // simdjson does not look whether it got the memory for strings, and would write to null.
  if (error == simdjson::MEMALLOC || (!error && StringsOf(parser_) == nullptr)) {
    return Unavailable("no memory to read JSON of ", text.size(), " bytes, try again later");
  }
  if (error) return JsonError(error, "request");
  if (auto no_object = document_.get_object().get(*root)) {
    if (no_object != simdjson::INCORRECT_TYPE) return JsonError(no_object, "request");
    return InvalidArgument("request: expected a JSON object");
  }
  return {};
}

Status JsonParser::Close() {
  const char* rest;
  if (document_.current_location().get(rest) == simdjson::SUCCESS) {
    return InvalidArgument("request: not valid JSON: something follows the JSON object");
  }
  return {};
}

Status JsonError(simdjson::error_code error, std::string_view where) {
  return InvalidArgument(where, ": not valid JSON: ", simdjson::error_message(error));
}

std::string_view JsonToken(JsonValue& value) {
  std::string_view token = value.raw_json_token();
  // Where a value should stand but "," does: perhaps the byte behind a text whose array is not
  // closed. simdjson knows no length for that token and gives one of 4 GiB.
  if (token.starts_with(',')) return token.substr(0, 1);
  while (!token.empty() && (token.back() == ' ' || token.back() == '\t' || token.back() == '\n' ||
                            token.back() == '\r')) {
    token.remove_suffix(1);
  }
  return token;
}

Status UnexpectedJson(std::string_view what, std::string_view expected, JsonValue& value) {
  const std::string_view token = JsonToken(value);
  if (token.empty()) return InvalidArgument(what, ": expected ", expected);
  return InvalidArgument(what, ": expected ", expected, ", received ",
                         token.substr(0, kShownTokenBytes),
                         token.size() > kShownTokenBytes ? "..." : "");
}

Status WalkJson(JsonValue& value, int depth, std::string_view where) {
  const std::string_view token = JsonToken(value);
  const char first = token.empty() ? '\0' : token[0];
  if ((first == '{' || first == '[') && depth > kMaxJsonDepth) {
    return InvalidArgument(where, ": nested more than ", kMaxJsonDepth, " levels deep");
  }
  simdjson::error_code error = simdjson::SUCCESS;
  switch (first) {
    case '{': {
      JsonObject object;
      if ((error = value.get_object().get(object))) break;
      return ForEachField(object, where, [&](const JsonKey&, JsonValue& member) {
        return WalkJson(member, depth + 1, where);
      });
    }
    case '[': {
      JsonArray array;
      if ((error = value.get_array().get(array))) break;
      return ForEachElement(
          array, where, [&](JsonValue& element) { return WalkJson(element, depth + 1, where); });
    }
    case '"':
      error = value.get_string().error();
      break;
    case 't':
    case 'f':
      error = value.get_bool().error();
      break;
    case 'n':
      error = value.is_null().error();
      break;
    default:
      error = value.get_double().error();
  }
  return error ? JsonError(error, where) : Status();
}

Status ReadJsonBool(JsonValue& value, std::string_view what, bool* out) {
  return value.get_bool().get(*out) ? UnexpectedJson(what, "true or false", value) : Status();
}

Status ReadJsonUint64(JsonValue& value, std::string_view what, uint64_t* out) {
  return value.get_uint64().get(*out) ? UnexpectedJson(what, "an integer of at least 0", value)
                                      : Status();
}

Status ReadJsonString(JsonValue& value, std::string_view what, UnescapedStrings* unescaped,
                      std::string_view* out) {
  std::string_view text;
  if (auto error = value.get_string().get(text)) {
    if (error == simdjson::INCORRECT_TYPE) return UnexpectedJson(what, "a string", value);
    return JsonError(error, what);
  }
  *out = StableView(JsonToken(value).data() + 1, text, unescaped);
  return {};
}

std::string_view StableKey(const JsonKey& key, UnescapedStrings* unescaped) {
  return StableView(key.raw, key.text, unescaped);
}

Status ReadJsonTensor(std::string_view name, JsonValue& data, const char* text_end,
                      TensorAllocator& allocator, std::vector<std::string_view>* strings,
                      Tensor* tensor) {
  const int64_t elements = tensor->shape.Elements().value_or(-1);
  FS_CHECK_OP(elements, >=, 0);
  // An element takes at least a digit and the comma or bracket behind it.
  const int64_t text_left = text_end - JsonToken(data).data();
  if (elements > text_left / 2) {
    return InvalidArgument("tensor '", name, "': shape ", tensor->shape.ToString(), " calls for ",
                           elements, " elements, but only ", text_left,
                           " bytes of JSON are left to hold them");
  }
  const ReadArgs args{name, data, text_end, allocator, elements, tensor};
  switch (tensor->type) {
    case DataType::kBool:
      return ReadFixed<bool>(args);
    case DataType::kUint8:
      return ReadFixed<uint8_t>(args);
    case DataType::kUint16:
      return ReadFixed<uint16_t>(args);
    case DataType::kUint32:
      return ReadFixed<uint32_t>(args);
    case DataType::kUint64:
      return ReadFixed<uint64_t>(args);
    case DataType::kInt8:
      return ReadFixed<int8_t>(args);
    case DataType::kInt16:
      return ReadFixed<int16_t>(args);
    case DataType::kInt32:
      return ReadFixed<int32_t>(args);
    case DataType::kInt64:
      return ReadFixed<int64_t>(args);
    case DataType::kFp32:
      return ReadFixed<float>(args);
    case DataType::kFp64:
      return ReadFixed<double>(args);
    case DataType::kBytes:
      return ReadBytes(args, strings);
    case DataType::kFp16:
    case DataType::kBf16:
      break;
  }
  return InvalidArgument("tensor '", name, "': ", DataTypeName(tensor->type),
                         " has no JSON form, send it as binary data (binary_data_size)");
}

}  // namespace fastserve
