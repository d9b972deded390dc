#include "gateway/infer_codec.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "gateway/classification.h"

namespace fastserve {
namespace {

// What the writer of JSON keeps from one answer to the next: a large one must not hold its memory
// for as long as the server lives.
constexpr size_t kKeptJsonBytes = size_t{1} << 20;

bool IsWithin(std::span<const std::byte> inner, std::span<const std::byte> outer) {
  return inner.data() >= outer.data() && inner.data() < outer.data() + outer.size();
}

// Engines load elements of their size: a tensor that lies across moves to memory where it does not.
Status Align(std::string_view name, Tensor* tensor, TensorArena& arena, BufferRef* owner) {
  const size_t element = ElementBytes(tensor->type);
  if (tensor->bytes.empty()) return {};
  if (element < 2 || reinterpret_cast<uintptr_t>(tensor->bytes.data()) % element == 0) return {};
  const std::span<std::byte> aligned = arena.Allocate(tensor->bytes.size());
  if (aligned.empty()) return Unavailable("no memory for input '", name, "', try again later");
  std::memcpy(aligned.data(), tensor->bytes.data(), aligned.size());
  tensor->bytes = aligned;
  *owner = arena.OwnerOf(aligned);
  return {};
}

OutputPart PartOf(const ResponseOutput& output) {
  const auto* bytes = reinterpret_cast<const char*>(output.tensor.bytes.data());
  return {{bytes, output.tensor.bytes.size()}, output.owner};
}

InferResult ResultOf(const Exchange& exchange) {
  return {.model_name = exchange.servable->name(),
          .model_version = exchange.servable->version_text(),
          .id = exchange.id,
          .has_id = exchange.has_id};
}

}  // namespace

void EncodedMessage::Clear() {
  text.Clear();
  cuts.clear();
  tensors.clear();
  tensor_bytes = 0;
}

Status InferCodec::DecodeBody(Exchange& exchange) {
  const std::span<const std::byte> bytes = exchange.body.bytes();
  const std::optional<uint64_t> header = exchange.inference_header_length;
  if (header && exchange.format != InferFormat::kKserve) {
    return InvalidArgument(
        "Inference-Header-Content-Length: expected none, since 'generate' takes JSON alone");
  }
  if (header == uint64_t{0}) {
    const Servable& servable = *exchange.servable;
    return DecodeRawBinary(bytes, servable.inputs(), servable.has_batch_dimension(), exchange.arena,
                           &body_);
  }
  if (bytes.empty()) return InvalidArgument("request: the body is empty, expected a JSON object");
  if (exchange.format != InferFormat::kKserve) {
    const Servable& servable = *exchange.servable;
    return generate_decoder_.Decode(bytes, servable.inputs(), servable.has_batch_dimension(),
                                    exchange.arena, &body_);
  }
  return decoder_.Decode(bytes, header, exchange.arena, &body_);
}

Status InferCodec::ChooseOutputs(Exchange& exchange) {
  const Servable& servable = *exchange.servable;
  exchange.wanted.clear();
  if (body_.outputs.empty()) {
    for (size_t i = 0; i < servable.outputs().size(); ++i) {
      exchange.wanted.push_back({i, body_.binary_output_default});
    }
    return {};
  }
  for (const InferOutput& output : body_.outputs) {
    FS_RETURN_IF_ERROR(ChooseOutput(exchange, output));
  }
  exchange.shared.OfferPlaces(servable.signature().outputs.size(), &exchange.request);
  return {};
}

Status InferCodec::ChooseOutput(Exchange& exchange, const InferOutput& output) {
  const Servable& servable = *exchange.servable;
  Result<size_t> index = servable.FindOutput(output.name);
  if (!index.ok()) return std::move(index).status();
  const ServedOutput& served = servable.outputs()[*index];
  if (output.classification > 0) {
    FS_RETURN_IF_ERROR(CheckClassifiable(output.name, served.spec.type));
  }
  for (const WantedOutput& other : exchange.wanted) {
    if (other.index == *index) {
      return InvalidArgument("output '", output.name, "' is asked for twice");
    }
  }
  exchange.wanted.push_back({*index, output.binary, output.classification});
  if (!output.memory.is_set()) return {};
  FS_RETURN_IF_ERROR(CheckMayShare(exchange, output.memory.region));
  return exchange.shared.AddOutput(*regions_, output, served.index, served.spec.type);
}

Status InferCodec::CheckMayShare(const Exchange& exchange, std::string_view region) const {
  if (regions_ == nullptr) {
    return MakeStatus(Code::kPermissionDenied, "shared memory is off on this server; send the ",
                      "bytes in the request, or start the server with --shared-memory local");
  }
  // When its head came there was no region at all.
  if (!exchange.may_share) {
    return NotFound("there is no shared-memory region '", region, "', register it first");
  }
  if (*exchange.may_share) return {};
  return MakeStatus(Code::kPermissionDenied,
                    "shared memory is for programs on the server's machine that connect to it "
                    "directly, by a Unix socket or a loopback address");
}

Status InferCodec::BindInputs(Exchange& exchange) {
  const std::span<const std::byte> received = exchange.body.bytes();
  for (InferInput& input : body_.inputs) {
    BufferRef owner;
    if (input.memory.is_set()) {
      FS_RETURN_IF_ERROR(CheckMayShare(exchange, input.memory.region));
      FS_RETURN_IF_ERROR(exchange.shared.FillInput(*regions_, &input, exchange.arena, &owner));
    } else if (IsWithin(input.tensor.bytes, received)) {
      owner = exchange.body.owner();
    }
    FS_RETURN_IF_ERROR(Align(input.name, &input.tensor, exchange.arena, &owner));
    if (!owner) owner = exchange.arena.OwnerOf(input.tensor.bytes);
    inputs_.push_back({input.name, input.tensor, std::move(owner)});
  }
  return exchange.servable->Bind(inputs_, &exchange.request);
}

Status InferCodec::DecodeRequest(Exchange& exchange, Nanos now) {
  body_.Clear();
  FS_RETURN_IF_ERROR(DecodeBody(exchange));
  return Bind(exchange, now);
}

Status InferCodec::DecodeMessage(Exchange& exchange) {
  return grpc_decoder_.Decode(exchange.body.bytes(), exchange.arena, &body_);
}

Status InferCodec::Bind(Exchange& exchange, Nanos now) {
  // A body that does not fit, or for which there is no memory, must not be held until the next one
  // comes.
  struct Forget {
    std::vector<NamedInput>& inputs;
    ~Forget() { inputs.clear(); }
  } const forget{inputs_};
  exchange.has_id = body_.has_id;
  exchange.id = body_.id;
  FS_RETURN_IF_ERROR(ChooseOutputs(exchange));
  FS_RETURN_IF_ERROR(BindInputs(exchange));
  constexpr auto kTimeoutMaxUs = static_cast<uint64_t>(kNever / kMicrosecond / 2);
  Nanos timeout = exchange.timeout;
  if (body_.timeout_us > 0 && body_.timeout_us <= kTimeoutMaxUs) {
    timeout = std::min(timeout, static_cast<Nanos>(body_.timeout_us) * kMicrosecond);
  }
  exchange.request.deadline_ns = timeout == kNever ? kNever : now + timeout;
  return {};
}

Status InferCodec::CheckResponses(const Exchange& exchange) {
  if (exchange.responses == 1) return {};
  return InvalidArgument("model '", exchange.servable->name(), "' gave ", exchange.responses,
                         " responses, but a plain inference request takes exactly one");
}

Status InferCodec::TakeOutput(Exchange& exchange, const WantedOutput& wanted,
                              std::span<const ResponseOutput> response, ResponseOutput* classes,
                              const ResponseOutput** output) {
  const Servable& servable = *exchange.servable;
  const ServedOutput& served = servable.outputs()[wanted.index];
  *output = &response[served.index];
  if (wanted.classification > 0) {
    const Classes made = Classify((*output)->tensor, servable.has_batch_dimension(),
                                  wanted.classification, served.spec.labels);
    const std::span<std::byte> bytes = exchange.arena.Allocate(made.bytes.size());
    if (bytes.size() < made.bytes.size()) {
      return Unavailable("no memory for the classes of '", served.spec.name, "', try again later");
    }
    std::ranges::copy(std::as_bytes(std::span(made.bytes)), bytes.begin());
    classes->tensor = {.type = DataType::kBytes, .shape = made.shape, .bytes = bytes};
    classes->owner = exchange.arena.OwnerOf(bytes);
    *output = classes;
  }
  InferResultOutput& result =
      results_.emplace_back(served.spec.name, (*output)->tensor, wanted.binary);
  if (const SharedOutput* shared = exchange.shared.Find(served.index)) {
    result.memory = {shared->region, shared->offset, result.tensor.bytes.size()};
    result.binary = false;
  }
  return {};
}

Status InferCodec::EncodeResponse(Exchange& exchange, EncodedBody* out) {
  FS_RETURN_IF_ERROR(CheckResponses(exchange));
  FS_RETURN_IF_ERROR(exchange.shared.Check());
  results_.clear();
  out->tensors.clear();
  out->tensor_bytes = 0;
  out->is_binary = false;
  for (const WantedOutput& wanted : exchange.wanted) {
    ResponseOutput classes;
    const ResponseOutput* output = nullptr;
    FS_RETURN_IF_ERROR(TakeOutput(exchange, wanted, exchange.outputs, &classes, &output));
    if (!results_.back().binary) continue;
    out->is_binary = true;
    out->tensors.push_back(PartOf(*output));
    out->tensor_bytes += output->tensor.bytes.size();
  }
  if (json_.capacity() > kKeptJsonBytes) json_ = ByteWriter();
  json_.Clear();
  try {
    const auto encode =
        exchange.format == InferFormat::kKserve ? &EncodeInferResponse : &EncodeGenerateResponse;
    FS_RETURN_IF_ERROR(encode(ResultOf(exchange), results_, &json_));
  } catch (const std::bad_alloc&) {
    json_ = ByteWriter();  // What it had may be what the others lack.
    return Unavailable("no memory for the answer, try again later");
  }
  out->json = json_.view();
  return {};
}

void InferCodec::EncodeEvent(Exchange& exchange, std::span<const ResponseOutput> response,
                             ByteWriter* out) {
  results_.clear();
  json_.Clear();
  Status status;
  for (const WantedOutput& wanted : exchange.wanted) {
    ResponseOutput classes;
    const ResponseOutput* output = nullptr;
    status = TakeOutput(exchange, wanted, response, &classes, &output);
    if (!status.ok()) break;
  }
  if (status.ok()) status = EncodeGenerateResponse(ResultOf(exchange), results_, &json_);
  if (!status.ok()) EncodeError(status.message(), &json_);
  AppendServerSentEvent(json_.view(), out);
}

void InferCodec::EncodeEvents(Exchange& exchange, ByteWriter* out) {
  for (const StreamedResponses::Response& response : std::exchange(exchange.ready, {})) {
    EncodeEvent(exchange, response, out);
  }
}

void InferCodec::EncodeLastEvents(Exchange& exchange, const Status& end, ByteWriter* out) {
  EncodeEvents(exchange, out);
  if (end.ok()) {
    if (exchange.responses > 0) exchange.CountAnswer();
    return;
  }
  ByteWriter error;
  EncodeError(end.message(), &error);
  AppendServerSentEvent(error.view(), out);
}

Status InferCodec::EncodeMessage(Exchange& exchange, std::span<const ResponseOutput> response,
                                 GrpcEnvelope envelope, EncodedMessage* out) {
  results_.clear();
  out->Clear();
  for (const WantedOutput& wanted : exchange.wanted) {
    if (response.empty()) break;  // The end of a stream, without one.
    if (results_.empty()) FS_RETURN_IF_ERROR(exchange.shared.Check());
    ResponseOutput classes;
    const ResponseOutput* output = nullptr;
    FS_RETURN_IF_ERROR(TakeOutput(exchange, wanted, response, &classes, &output));
    results_.back().binary = true;
    if (results_.back().memory.is_set()) {
      out->tensors.emplace_back();  // Clients find the others by their position.
      continue;
    }
    out->tensors.push_back(PartOf(*output));
    out->tensor_bytes += output->tensor.bytes.size();
  }
  return EncodeGrpcInferResponse(ResultOf(exchange), results_, envelope, &out->text, &out->cuts);
}

}  // namespace fastserve
