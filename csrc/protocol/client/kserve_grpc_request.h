// The KserveGrpc codec as a client needs it: ModelInferRequest out.
//
// What is written here KserveGrpcDecoder reads; answers are read by its DecodeResponse.
//
// Source: as protocol/grpc/kserve_grpc.h.
// Threads: none.
#pragma once

#include <cstddef>
#include <vector>

#include "base/status.h"
#include "protocol/byte_writer.h"
#include "protocol/infer_body.h"

namespace fastserve {

// Appends a gRPC message (prefix and all) but for the bytes of the inputs: those of inputs[i]
// follow the first (*cuts)[i] bytes of what was appended.
//
// Errors: RESOURCE_EXHAUSTED for a request of 4 GiB and more, which no prefix can tell.
Status EncodeGrpcInferRequest(const InferBody& request, ByteWriter* out, std::vector<size_t>* cuts);

}  // namespace fastserve
