// The KServe v2 ("Open Inference Protocol") REST codec: inference requests in, responses out.
//
//   KserveRestDecoder decoder;              // one per event loop, reused
//   InferBody request;                      // reused too
//   Status status = decoder.Decode(body, header_bytes, allocator, &request);
//   ...
//   EncodeInferResponse(result, outputs, &out);   // then the bytes of the binary outputs, in order
//
// A client's side is DecodeResponse and client/kserve_rest_request.h.
//
// A body is JSON, or JSON followed by the raw bytes of the inputs that say so (binary tensor
// extension), or raw bytes alone (DecodeRawBinary). The codec checks each request against itself;
// whether names, types and shapes suit a model is the caller's to check, and so is an input that is
// named twice.
//
// Lifetime: tensors view the body or the allocator's memory. Every string_view of an InferBody
// (names, id, parameters) is valid until the decoder's next Decode or until the body's bytes go
// away, whichever is first: what must outlive that, copy.
//
// Source: Open Inference Protocol v2 (REST), Triton's extensions "binary data", "classification",
// "sequence", "schedule policy", "parameters" and "shared memory".
// Threads: none; a decoder belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "protocol/byte_writer.h"
#include "protocol/infer_body.h"
#include "protocol/tensor_allocator.h"
#include "tensor/tensor.h"

namespace fastserve {

class JsonParser;

// What a Decode needs besides its result, kept for the capacity.
struct RestScratch {
  std::deque<std::string> unescaped;
  std::vector<std::string_view> strings;
  // One entry per input: the size of its part of the tail, or nothing.
  std::vector<std::optional<uint64_t>> binary_data_size;
  // One entry per output: what it says itself, or nothing.
  std::vector<std::optional<bool>> binary_output;
};

class KserveRestDecoder {
 public:
  KserveRestDecoder();
  ~KserveRestDecoder();
  KserveRestDecoder(const KserveRestDecoder&) = delete;
  KserveRestDecoder& operator=(const KserveRestDecoder&) = delete;

  // `body` is the whole body, followed in memory by at least 64 readable bytes. `header_bytes` is
  // the value of Inference-Header-Content-Length (at least 1), nothing when the body is all JSON.
  //
  // Errors: INVALID_ARGUMENT that names the field or tensor; RESOURCE_EXHAUSTED when the allocator
  // gives nothing. `*out` is then unspecified.
  Status Decode(std::span<const std::byte> body, std::optional<uint64_t> header_bytes,
                TensorAllocator& allocator, InferBody* out);

  // The same of a response, as a client reads it; its outputs become `out->inputs`. Errors:
  // INTERNAL, naming the field; so is an output in shared memory, which our client never asks for.
  Status DecodeResponse(std::span<const std::byte> body, std::optional<uint64_t> header_bytes,
                        TensorAllocator& allocator, InferBody* out);

 private:
  Status DecodeEither(std::span<const std::byte> body, std::optional<uint64_t> header_bytes,
                      TensorAllocator& allocator, bool is_response, InferBody* out);

  std::unique_ptr<JsonParser> parser_;
  RestScratch scratch_;
};

// Decodes a body without any JSON (Inference-Header-Content-Length: 0). The model takes exactly one
// input with at most one dimension of any length, which the body's size decides; in a batching
// model (dimension 0 of the spec is the batch) it is one row. A BYTES input must have room for
// exactly one element, which is the whole body: its length prefix is added in allocated memory.
// All outputs are binary. out->inputs[0].name views `inputs`.
Status DecodeRawBinary(std::span<const std::byte> body, std::span<const TensorSpec> inputs,
                       bool batching, TensorAllocator& allocator, InferBody* out);

// Appends the JSON part of a response. A binary output carries its size; its bytes are for the
// caller to send behind the JSON, in order. An output in shared memory carries its range.
//
// Errors: INVALID_ARGUMENT for what JSON cannot say (json_writer.h); nothing is appended then.
Status EncodeInferResponse(const InferResult& result, std::span<const InferResultOutput> outputs,
                           ByteWriter* out);

// Appends {"error":"..."}.
void EncodeError(std::string_view message, ByteWriter* out);

}  // namespace fastserve
