// The KserveGrpc codec: ModelInferRequest in, ModelInferResponse out, in protobuf's wire format.
//
//   KserveGrpcDecoder decoder;              // one per event loop, reused
//   InferBody request;                      // reused too
//   Status status = decoder.Decode(message, allocator, &request);
//   ...
//   EncodeGrpcInferResponse(result, outputs, {}, &text, &cuts);   // the raw bytes go in between
//
// The message is read where it lies: raw contents become tensors without a copy, typed contents are
// built in the allocator's memory. As in the REST codec each request is checked against itself, and
// whether it suits a model is the caller's to check.
//
// Answers carry raw contents alone, as Triton's do: every client reads those first. A client's side
// is DecodeResponse and client/kserve_grpc_request.h.
//
// Lifetime: as InferBody's of the REST codec; the message must outlive what was read from it.
// Source: Open Inference Protocol v2 (gRPC), Triton's grpc_service.proto; field numbers are there.
// Threads: none; a decoder belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "protocol/byte_writer.h"
#include "protocol/infer_body.h"
#include "protocol/tensor_allocator.h"

namespace fastserve {

class KserveGrpcDecoder {
 public:
  // Errors: INVALID_ARGUMENT that names the field or tensor; RESOURCE_EXHAUSTED when the allocator
  // gives nothing. `*out` is then unspecified.
  Status Decode(std::span<const std::byte> message, TensorAllocator& allocator, InferBody* out);

  // Of a ModelInferResponse; its outputs become `out->inputs`. Errors: INTERNAL, naming the field;
  // so is an output in shared memory, which our client never asks for.
  Status DecodeResponse(std::span<const std::byte> message, TensorAllocator& allocator,
                        InferBody* out);

 private:
  friend class GrpcRequestReader;

  Status DecodeEither(std::span<const std::byte> message, TensorAllocator& allocator,
                      bool is_response, InferBody* out);

  // Typed contents of an input, each time that the field came.
  struct Contents {
    size_t input;
    std::string_view message;
  };

  std::vector<Contents> contents_;
  std::vector<std::string_view> datatypes_;  // One per input.
  std::vector<std::string_view> raw_;
};

// The fields of raw contents.
inline constexpr uint32_t kRawInputContents = 7;
inline constexpr uint32_t kRawOutputContents = 6;

// Where the bytes of the first raw contents, of that field, begin in a message of which `begin` is
// the beginning. Nothing if that is not to be seen there.
std::optional<size_t> FindRawContents(std::string_view begin, uint32_t field = kRawInputContents);

// A ModelStreamInferResponse, taken apart. Errors: INTERNAL for what is none.
struct GrpcStreamResponse {
  std::string_view error;     // "" when there is none.
  std::string_view response;  // A ModelInferResponse; may be empty.
};
Result<GrpcStreamResponse> ParseGrpcStreamResponse(std::string_view message);

// Around a response.
struct GrpcEnvelope {
  bool in_stream = false;  // As ModelStreamInferResponse.infer_response.
  // The parameter triton_final_response: whether no other response follows.
  std::optional<bool> is_final = {};
};

// Appends a gRPC message (prefix and all) but for the bytes of the outputs: those of outputs[i]
// follow the first (*cuts)[i] bytes of what was appended. Of an output in shared memory none do:
// its raw contents are empty, since clients find an output's by its place.
//
// Errors: RESOURCE_EXHAUSTED for an answer of 4 GiB and more, which no prefix can tell.
Status EncodeGrpcInferResponse(const InferResult& result,
                               std::span<const InferResultOutput> outputs, GrpcEnvelope envelope,
                               ByteWriter* out, std::vector<size_t>* cuts);

// Appends a ModelStreamInferResponse with an error: its message, and the id of the request that it
// belongs to.
void EncodeGrpcStreamError(std::string_view message, const InferResult& result, ByteWriter* out);

}  // namespace fastserve
