// Triton's "generate" extension: an inference as a flat object of JSON, in and out.
//
//   {"text": "a", "count": [1, 2], "temperature": 0.5}
//   {"model_name": "m", "model_version": "1", "reply": "b"}
//
// A key that is an input's name is that input: one value is one element, a list is as many. Its
// shape is the model's, whose batch is 1 and whose last open dimension takes what there is. All
// other keys are parameters of the request, and so are the members of "parameters" that are no
// inputs.
//
// Source: Triton's generate extension, and what its server makes of it.
// Threads: none; a decoder belongs to one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "protocol/byte_writer.h"
#include "protocol/infer_body.h"
#include "protocol/kserve_rest.h"
#include "protocol/tensor_allocator.h"
#include "tensor/tensor.h"

namespace fastserve {

class JsonParser;

class GenerateDecoder {
 public:
  GenerateDecoder();
  ~GenerateDecoder();
  GenerateDecoder(const GenerateDecoder&) = delete;
  GenerateDecoder& operator=(const GenerateDecoder&) = delete;

  // `body` is followed in memory by at least 64 readable bytes. `inputs` are the model's; in a
  // batching model dimension 0 is the batch. Views last as those of KserveRestDecoder; names of
  // inputs view `inputs`.
  //
  // Errors: INVALID_ARGUMENT that names the key; RESOURCE_EXHAUSTED when the allocator gives
  // nothing.
  Status Decode(std::span<const std::byte> body, std::span<const TensorSpec> inputs, bool batching,
                TensorAllocator& allocator, InferBody* out);

 private:
  std::unique_ptr<JsonParser> parser_;
  RestScratch scratch_;
};

// Appends the object that answers. Errors: INVALID_ARGUMENT for what JSON cannot say
// (json_writer.h); nothing is appended then.
Status EncodeGenerateResponse(const InferResult& result, std::span<const InferResultOutput> outputs,
                              ByteWriter* out);

// An event of a stream: "data: " and `json`, which has no line's end in it, and an empty line.
void AppendServerSentEvent(std::string_view json, ByteWriter* out);

}  // namespace fastserve
