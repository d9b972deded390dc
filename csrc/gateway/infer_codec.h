// InferCodec: between a body on the wire and a request that fits a model, both ways: KServe's REST
// and gRPC.
//
// Threads: confined to the event loop's; one codec per loop, reused.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "gateway/exchange.h"
#include "protocol/byte_writer.h"
#include "protocol/generate/generate_request.h"
#include "protocol/grpc/kserve_grpc.h"
#include "protocol/kserve_rest.h"
#include "protocol/output_part.h"

namespace fastserve {

// The body of an answer: JSON, then the bytes of the binary outputs.
struct EncodedBody {
  std::string_view json;  // Good until the codec's next Encode.
  std::vector<OutputPart> tensors;
  size_t tensor_bytes = 0;
  bool is_binary = false;  // Then json.size() goes into Inference-Header-Content-Length.
};

// A gRPC message: the bytes of tensors[i] follow the first cuts[i] bytes of the text.
struct EncodedMessage {
  ByteWriter text;
  std::vector<size_t> cuts;
  std::vector<OutputPart> tensors;
  size_t tensor_bytes = 0;

  // As new, with the capacity; the owners are let go.
  void Clear();
};

// A message that is shared for its capacity, while one is encoded and sent. Whatever happens, what
// it refers to is let go at the end.
class EncodedMessageScope {
 public:
  explicit EncodedMessageScope(EncodedMessage& message) : message_(message) {}
  ~EncodedMessageScope() { message_.Clear(); }
  EncodedMessageScope(const EncodedMessageScope&) = delete;
  EncodedMessageScope& operator=(const EncodedMessageScope&) = delete;

 private:
  EncodedMessage& message_;
};

class InferCodec {
 public:
  // `regions`: null where clients share no memory.
  explicit InferCodec(const RegionRegistry* regions = nullptr) : regions_(regions) {}

  // REST: reads exchange.body and binds it to exchange.servable: request, wanted outputs, id.
  // `now` is the request's arrival: its deadline counts from there, and is the earlier one of what
  // the body and the head (exchange.timeout) say.
  Status DecodeRequest(Exchange& exchange, Nanos now);

  // gRPC, where the message names the model: reads exchange.body. Then whoever calls finds
  // body().model_name's servable, and Bind does the rest of DecodeRequest.
  Status DecodeMessage(Exchange& exchange);
  const InferBody& body() const { return body_; }
  Status Bind(Exchange& exchange, Nanos now);

  // The answer of an exchange that ended well. Errors: INVALID_ARGUMENT for a response that JSON
  // cannot say, or when there was not exactly one; UNAVAILABLE without memory for its JSON.
  Status EncodeResponse(Exchange& exchange, EncodedBody* out);
  // Takes the responses of a stream that are ready, and appends each as a server-sent event:
  // itself, or why JSON cannot say it.
  void EncodeEvents(Exchange& exchange, ByteWriter* out);
  // The last of them, and why there are no more if that is an error.
  void EncodeLastEvents(Exchange& exchange, const Status& end, ByteWriter* out);
  // A response over gRPC. `out` is cleared first. Errors: those of EncodeGrpcInferResponse.
  Status EncodeMessage(Exchange& exchange, std::span<const ResponseOutput> response,
                       GrpcEnvelope envelope, EncodedMessage* out);
  // Errors: INVALID_ARGUMENT when there was not exactly one response.
  static Status CheckResponses(const Exchange& exchange);

 private:
  Status DecodeBody(Exchange& exchange);
  Status ChooseOutputs(Exchange& exchange);
  Status ChooseOutput(Exchange& exchange, const InferOutput& output);
  // Errors: why the client of that exchange may not refer to that region.
  Status CheckMayShare(const Exchange& exchange, std::string_view region) const;
  void EncodeEvent(Exchange& exchange, std::span<const ResponseOutput> response, ByteWriter* out);
  Status BindInputs(Exchange& exchange);
  // What is said of an output: itself, or `classes`, which are built in the exchange's memory.
  Status TakeOutput(Exchange& exchange, const WantedOutput& wanted,
                    std::span<const ResponseOutput> response, ResponseOutput* classes,
                    const ResponseOutput** output);

  const RegionRegistry* const regions_;
  KserveRestDecoder decoder_;
  KserveGrpcDecoder grpc_decoder_;
  GenerateDecoder generate_decoder_;
  InferBody body_;
  std::vector<NamedInput> inputs_;
  std::vector<InferResultOutput> results_;
  ByteWriter json_;
};

}  // namespace fastserve
