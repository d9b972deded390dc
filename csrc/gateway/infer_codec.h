// InferCodec: between a body on the wire and a request that fits a model, both ways.
//
// Threads: confined to the event loop's; one codec per loop, reused.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "gateway/exchange.h"
#include "protocol/byte_writer.h"
#include "protocol/kserve_rest.h"

namespace fastserve {

// A piece of what is sent. Without an owner the bytes are good during the call only.
struct OutputPart {
  std::string_view bytes;
  BufferRef owner;
};

// The body of an answer: JSON, then the bytes of the binary outputs.
struct EncodedBody {
  std::string_view json;  // Good until the codec's next Encode.
  std::vector<OutputPart> tensors;
  size_t tensor_bytes = 0;
  bool is_binary = false;  // Then json.size() goes into Inference-Header-Content-Length.
};

class InferCodec {
 public:
  // Reads exchange.body and binds it to exchange.servable: request, wanted outputs, id.
  // `now` is the request's arrival: its deadline counts from there, and is the earlier one of what
  // the body and the head (exchange.timeout) say.
  Status DecodeRequest(Exchange& exchange, Nanos now);

  // The answer of an exchange that ended well. Errors: INVALID_ARGUMENT for a response that JSON
  // cannot say, or when there was not exactly one; UNAVAILABLE without memory for its JSON.
  Status EncodeResponse(Exchange& exchange, EncodedBody* out);

 private:
  Status DecodeBody(Exchange& exchange);
  Status ChooseOutputs(Exchange& exchange);
  Status BindInputs(Exchange& exchange);

  KserveRestDecoder decoder_;
  InferBody body_;
  std::vector<NamedInput> inputs_;
  std::vector<InferResultOutput> results_;
  ByteWriter json_;
};

}  // namespace fastserve
