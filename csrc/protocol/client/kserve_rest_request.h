// The KserveRest codec as a client needs it: inference requests out.
//
//   EncodeInferRequest(request, /*binary=*/true, &out);   // then the inputs' bytes, in order
//
// What is written here KserveRestDecoder reads; answers are read by its DecodeResponse.
//
// Source: as protocol/kserve_rest.h.
// Threads: none.
#pragma once

#include "base/status.h"
#include "protocol/byte_writer.h"
#include "protocol/infer_body.h"

namespace fastserve {

// Appends the JSON part of `request` (the model's name and version stand in the path). `binary`:
// all inputs, whose bytes are for the caller to send behind it, and all outputs; otherwise numbers.
//
// Errors: INVALID_ARGUMENT for what JSON cannot say (json_writer.h); nothing is appended then.
Status EncodeInferRequest(const InferBody& request, bool binary, ByteWriter* out);

}  // namespace fastserve
