// GrpcParameter: an entry of map<string, InferParameter>.
//
// Threads: none.
#pragma once

#include <cstdint>
#include <protozero/pbf_reader.hpp>
#include <string_view>

#include "base/status.h"
#include "protocol/infer_body.h"
#include "protocol/shared_memory/shared_memory_fields.h"

namespace fastserve {

struct GrpcParameter {
  enum class Kind : uint8_t { kNone, kBool, kInt64, kString, kDouble, kUint64 };

  std::string_view key;
  Kind kind = Kind::kNone;
  bool as_bool = false;
  int64_t as_int64 = 0;
  uint64_t as_uint64 = 0;
  double as_double = 0;
  std::string_view as_string;
};

// Throws protozero::exception for what is no protobuf.
GrpcParameter ReadGrpcParameter(protozero::pbf_reader reader);

// Errors: INVALID_ARGUMENT naming the parameter, what is expected and what came.
Status WrongParameter(const GrpcParameter& parameter, std::string_view expected);
Status ToUint64(const GrpcParameter& parameter, uint64_t* out);
Status ToBool(const GrpcParameter& parameter, bool* out);
// One of those of `fields`, of the tensor that errors name `label`. As of any entry of a map the
// last one counts.
Status ToSharedMemory(const GrpcParameter& parameter, const TensorLabel& label,
                      SharedMemoryFields* fields);

}  // namespace fastserve
