// RequestReader: the walk over the JSON of one inference request, or of a response, whose outputs
// look as inputs do; the inner half of KserveRestDecoder (kserve_rest.h), which owns what outlives
// the walk.
//
// Every field is visited, known ones once: a key of ours that appears twice is an error, because
// two readers of the same bytes would disagree on which one counts.
// Threads: none; one reader reads one request.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "protocol/json_reader.h"
#include "protocol/kserve_rest.h"
#include "protocol/shared_memory/shared_memory_fields.h"

namespace fastserve {

// The known keys of one object that have been seen.
class SeenKeys {
 public:
  Status Add(int bit, std::string_view where, std::string_view key) {
    const uint32_t mask = uint32_t{1} << bit;
    if (bits_ & mask) return InvalidArgument(where, ": '", key, "' appears twice");
    bits_ |= mask;
    return {};
  }

 private:
  uint32_t bits_ = 0;
};

// What is known of an input while its fields are read, in whatever order they come.
struct InputFields {
  InferInput* input;
  size_t index;
  SeenKeys keys = {};
  SharedMemoryFields memory = {};
  bool has_name = false;
  bool has_shape = false;
  bool has_type = false;
  bool has_data = false;
  // Where the key of data stands that came before what it takes to read it.
  const char* postponed_data = nullptr;

  bool can_read_data() const { return has_name && has_shape && has_type; }
  TensorLabel Label() const {
    return {"tensor", "inputs", index, has_name ? input->name : std::string_view()};
  }
};

// The same of an output that is asked for.
struct OutputFields {
  InferOutput* output;
  size_t index;
  SeenKeys keys = {};
  SeenKeys parameter_keys = {};
  SharedMemoryFields memory = {};
  bool has_name = false;
  bool has_classification = false;

  TensorLabel Label() const { return {"output", "outputs", index, output->name}; }
};

// Reads one request; lives for one Decode.
class RequestReader {
 public:
  RequestReader(const char* text_end, TensorAllocator& allocator, bool is_response,
                RestScratch* scratch, InferBody* out)
      : text_end_(text_end),
        allocator_(allocator),
        is_response_(is_response),
        scratch_(*scratch),
        out_(*out) {}

  Status Read(JsonObject& root);
  // A member of "parameters": one of the protocol's, or one for the model.
  Status ReadRequestParameter(const JsonKey& raw_key, JsonValue& value);

 private:
  Status ReadRootField(std::string_view key, JsonValue& value);
  Status ReadResponseField(std::string_view key, JsonValue& value);
  Status ReadResponseParameter(const JsonKey& raw_key, JsonValue& value);
  Status ReadSequenceId(JsonValue& value);
  Status ReadCustomParameter(const JsonKey& raw_key, JsonValue& value);
  Status ReadInput(JsonValue& value);
  Status ReadInputField(const JsonKey& raw_key, JsonValue& value, InputFields* fields);
  Status ReadInputParameters(JsonValue& value, InputFields* fields);
  Status ReadShape(JsonValue& value, const InputFields& fields);
  Status ReadDatatype(JsonValue& value, const InputFields& fields);
  Status ReadPostponedData(JsonObject& object, const InputFields& fields);
  Status ReadData(JsonValue& value, const InputFields& fields) {
    InferInput& input = *fields.input;
    return ReadJsonTensor(input.name, value, text_end_, allocator_, &scratch_.strings,
                          &input.tensor);
  }
  Status PlaceInput(const InputFields& fields);
  Status ReadOutput(JsonValue& value);
  Status ReadOutputField(std::string_view key, JsonValue& value, OutputFields* fields);
  Status ReadOutputParameter(std::string_view key, JsonValue& value, OutputFields* fields);
  Status PlaceOutput(const OutputFields& fields);
  Status ReadSharedMemory(std::string_view key, JsonValue& value, const TensorLabel& label,
                          SharedMemoryFields* fields);
  Status ReadString(JsonValue& value, std::string_view what, std::string_view* out) {
    return ReadJsonString(value, what, &scratch_.unescaped, out);
  }

  template <typename ReadOne>
  Status ReadTensorList(JsonValue& value, std::string_view what, ReadOne&& read_one);
  template <typename ReadOne>
  Status ReadParameters(JsonValue& value, std::string_view where, ReadOne&& read_one);

  const char* const text_end_;
  TensorAllocator& allocator_;
  const bool is_response_;
  RestScratch& scratch_;
  InferBody& out_;
  SeenKeys root_keys_;
  SeenKeys request_parameter_keys_;
  bool has_inputs_ = false;
};

// ---------------------------------------------------------------------------------------------
// Implementation below, callers may stop here.

// simdjson keeps about 7 bytes per byte of the largest document it has seen. Up to here that
// memory stays for the next request; beyond, it goes back (a 224x224x3 image in FP32 is 1-3 MB of
// JSON and 20 ms of parsing: an allocation does not show).
inline constexpr size_t kKeptDocumentBytes = 1 << 20;

// Calls `read(root)` -> Status on the object that `text` is; no view of what was read points into
// `*parser`, which is made when there is none.
template <typename Read>
Status ReadJsonDocument(std::string_view text, std::unique_ptr<JsonParser>* parser,
                        RestScratch* scratch, Read&& read) {
  if (!*parser) *parser = std::make_unique<JsonParser>();
  const auto whole = [&]() -> Status {
    JsonObject root;
    FS_RETURN_IF_ERROR((*parser)->Open(text, &root));
    FS_RETURN_IF_ERROR(read(root));
    return (*parser)->Close();
  };
  Status status = whole();
  if (text.size() > kKeptDocumentBytes) {
    parser->reset();
    scratch->strings = {};
  }
  return status;
}

}  // namespace fastserve
