// InferBody: one inference request as a client spelled it, in whatever format it came; InferResult:
// what is said back. The codecs of all formats read and write these.
//
// Threads: values; the views are somebody else's bytes, as each codec says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string_view>
#include <variant>
#include <vector>

#include "tensor/tensor.h"

namespace fastserve {

// Inputs, and outputs, of one request: Linux's IOV_MAX, so that a response with a part per tensor
// still fits one writev.
inline constexpr size_t kMaxRequestTensors = 1024;
// Parameters of one request: as many as Apache allows header fields (LimitRequestFields).
inline constexpr size_t kMaxRequestParameters = 100;

// A range of a region of shared memory that the client has registered: whether there is such a
// region, and the range is within it, is not said. offset + bytes does not overflow.
struct SharedMemoryRange {
  std::string_view region;
  uint64_t offset = 0;
  uint64_t bytes = 0;

  bool is_set() const { return !region.empty(); }
};

struct InferInput {
  std::string_view name;
  // Its bytes have been checked against type and shape. JSON data is aligned to 64 bytes, binary
  // data lies wherever the body put it.
  Tensor tensor;
  // When set, tensor.bytes is empty: whoever has the region fills them in, and validates. The
  // number of bytes is right for type and shape, but for BYTES.
  SharedMemoryRange memory = {};
};

struct InferOutput {
  std::string_view name;
  bool binary = false;
  uint32_t classification = 0;  // Top k as "value:index:label"; 0 asks for the tensor itself.
  // When set, the output's bytes go there, memory.bytes at most, and are not in the answer; it is
  // then neither binary nor to be classified.
  SharedMemoryRange memory = {};
};

// How messages name a tensor: "tensor 'x'", or "inputs[2]" while it has no name. It is written
// where a message is made, so that a label costs nothing where none is.
struct TensorLabel {
  std::string_view word;  // "tensor", "output".
  std::string_view list;  // "inputs", "outputs".
  size_t index;
  std::string_view name;
};
std::ostream& operator<<(std::ostream& out, const TensorLabel& label);

struct InferParameter {
  std::string_view name;
  std::variant<bool, int64_t, uint64_t, double, std::string_view> value;
};

// The sequence that a request belongs to: a number or a name; 0 and "" mean none.
struct InferSequence {
  uint64_t id = 0;
  std::string_view name;
  bool start = false;
  bool end = false;
};

struct InferBody {
  // Over gRPC; over HTTP the path says it.
  std::string_view model_name;
  std::string_view model_version;
  std::string_view id;
  bool has_id = false;
  std::vector<InferInput> inputs;
  std::vector<InferOutput> outputs;  // Empty: all that the model has.
  // For outputs that the request does not list; those listed have it resolved in `binary`.
  bool binary_output_default = false;
  uint64_t timeout_us = 0;  // 0: none.
  uint64_t priority = 0;    // 0: the model's default.
  InferSequence sequence;
  bool wants_final = false;  // Of a stream: which response is the last (Triton's
                             // triton_enable_empty_final_response).
  // The custom parameters: reserved ones ("headers", "triton_...") are dropped, as Triton does
  // before a model sees them.
  std::vector<InferParameter> parameters;

  // Keeps the vectors' capacity: the steady path allocates nothing.
  void Clear();
};

struct InferResult {
  std::string_view model_name;
  std::string_view model_version;
  std::string_view id;
  bool has_id = false;
};

struct InferResultOutput {
  std::string_view name;
  Tensor tensor;
  bool binary = false;
  // When set, its bytes went there and are not in the answer, which says the range: memory.bytes
  // as the size.
  SharedMemoryRange memory = {};
};

}  // namespace fastserve
