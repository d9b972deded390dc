// JSON in: a strict reading of simdjson's on-demand mode, and JSON arrays into typed tensors.
//
// On-demand parsing validates only what is visited: `"x":tru`, `01` and `"\ud800"` pass in a field
// that nobody reads. So whoever uses this file visits every field (ForEachField) and gives those it
// does not know to WalkJson; JsonParser checks both ends of the document. Together they accept
// nothing that simdjson's DOM parser refuses (tests/fuzz/kserve_rest_fuzz.cc), except integers of
// more than 64 bits where a floating-point number is expected.
//
// Of simdjson only what 3.0 and 3.12 share is used; fields' keys are compared unescaped, so that
// "n\u0061me" cannot pass a check that "name" fails.
#pragma once

#include <simdjson.h>

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "protocol/tensor_allocator.h"
#include "tensor/tensor.h"

namespace fastserve {

using JsonValue = simdjson::ondemand::value;
using JsonArray = simdjson::ondemand::array;
using JsonObject = simdjson::ondemand::object;

// The key of a field. `text` is unescaped and lives until the parser's next document; `raw` is its
// first character in the document, where it may be escaped.
struct JsonKey {
  std::string_view text;
  const char* raw;
};

// Arrays and objects inside each other; Triton's limit.
inline constexpr int kMaxJsonDepth = 100;
// Readable bytes that must follow the text in memory; their values do not matter.
inline constexpr size_t kJsonPadding = 64;
static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

// One document at a time. The parser's buffers grow with the largest document and stay.
class JsonParser {
 public:
  // Starts reading `text`, whose root must be an object.
  Status Open(std::string_view text, JsonObject* root);
  // To be called when the root has been read: nothing but white space may follow it.
  Status Close();

 private:
  simdjson::ondemand::parser parser_;
  simdjson::ondemand::document document_;
};

// "<where>: not valid JSON: <reason>".
Status JsonError(simdjson::error_code error, std::string_view where);

// "<what>: expected <expected>, received <the value's text, shortened>".
Status UnexpectedJson(std::string_view what, std::string_view expected, JsonValue& value);

// The text of a value's first token without white space: `[`, `"abc"`, `1.5`.
std::string_view JsonToken(JsonValue& value);

// Visits a value that nobody needs, because only what is visited is validated. `depth` is that of
// the value itself: the root has depth 1.
Status WalkJson(JsonValue& value, int depth, std::string_view where);

Status ReadJsonBool(JsonValue& value, std::string_view what, bool* out);
Status ReadJsonUint64(JsonValue& value, std::string_view what, uint64_t* out);

// Strings that were written with escapes and so cannot be views of the document. A deque: views of
// its elements survive growth.
using UnescapedStrings = std::deque<std::string>;

// `*out` views the document itself, or `unescaped` when the string contains escapes: it outlives
// the parser's next document.
Status ReadJsonString(JsonValue& value, std::string_view what, UnescapedStrings* unescaped,
                      std::string_view* out);
// The same for a key.
std::string_view StableKey(const JsonKey& key, UnescapedStrings* unescaped);

// Reads `data` into memory from `allocator` and sets tensor->bytes; type and shape are set already
// and Elements() of the shape exists. `data` is flat in row-major order, or nested exactly as the
// shape says; a scalar's may be bare. `text_end` is the document's end: the number of elements is
// checked against the text that is left before anything is allocated. `strings` is scratch.
//
// Accepts: BOOL true and false (Triton accepts no numbers either); integers within the type's
// range, without fraction or exponent; FP32 and FP64 any finite number of any length, rounded once;
// BYTES strings. FP16 and BF16 have no JSON form.
// Errors: INVALID_ARGUMENT that names the tensor, the element, what was expected and what came;
// RESOURCE_EXHAUSTED when the allocator gives nothing.
Status ReadJsonTensor(std::string_view name, JsonValue& data, const char* text_end,
                      TensorAllocator& allocator, std::vector<std::string_view>* strings,
                      Tensor* tensor);

// ---------------------------------------------------------------------------------------------
// Implementation below, callers may stop here.

// Calls `visit(key, value)` -> Status for each field of `object`, in order.
template <typename Visit>
Status ForEachField(JsonObject& object, std::string_view where, Visit&& visit) {
  for (auto result : object) {
    simdjson::ondemand::field field;
    if (auto error = std::move(result).get(field)) return JsonError(error, where);
    // In this order: unescaping a key takes it away from the field.
    JsonKey key{.text = {}, .raw = field.key().raw()};
    if (auto error = field.unescaped_key().get(key.text)) return JsonError(error, where);
    FS_RETURN_IF_ERROR(visit(key, field.value()));
  }
  return {};
}

// Calls `visit(value)` -> Status for each element of `array`, in order.
template <typename Visit>
Status ForEachElement(JsonArray& array, std::string_view where, Visit&& visit) {
  for (auto result : array) {
    JsonValue value;
    if (auto error = std::move(result).get(value)) return JsonError(error, where);
    FS_RETURN_IF_ERROR(visit(value));
  }
  return {};
}

}  // namespace fastserve
