#include "gateway/http/infer_head.h"

#include <string_view>
#include <utility>

#include "gateway/http/router.h"

namespace fastserve {
namespace {

// Of a field's value, in messages.
constexpr size_t kShownBytes = 40;

}  // namespace

HttpError TakeCodings(const Http1Head& head, Exchange* exchange) {
  exchange->accepted = ChooseCoding(head.Field("accept-encoding"));
  const std::string_view name = head.Field("content-encoding");
  const std::optional<ContentCoding> coding = ParseCoding(name);
  if (!coding) {
    return {415, StrCat("Content-Encoding '", name.substr(0, kShownBytes),
                        "' is not available, send the body as it is, as gzip or as deflate")};
  }
  exchange->coding = *coding;
  return {.status = 0, .message = {}};
}

HttpError TakeInferHead(const Http1Head& head, Exchange* exchange) {
  exchange->inference_header_length = head.inference_header_length;
  exchange->wants_timing = head.wants_timing;
  if (!head.inference_header_is_valid) {
    const std::string_view value = head.Field("inference-header-content-length");
    return {400, StrCat("Inference-Header-Content-Length: expected one number, received '",
                        value.substr(0, kShownBytes), "'")};
  }
  if (!head.inference_timeout_is_valid) {
    const std::string_view value = head.Field("inference-timeout-ms");
    return {400, StrCat("Inference-Timeout-Ms: expected one number from 1 to ",
                        kInferenceTimeoutMsMax, ", received '", value.substr(0, kShownBytes), "'")};
  }
  if (head.inference_timeout_ms > 0) {
    exchange->timeout = static_cast<Nanos>(head.inference_timeout_ms) * kMillisecond;
  }
  return {.status = 0, .message = {}};
}

int HttpStatusOfBody(Code code) { return code == Code::kOutOfRange ? 413 : HttpStatusOf(code); }

std::shared_ptr<ControlRequest> MakeControlRequest(const Http1Head& head, BodyReceiver&& received) {
  auto control = std::make_shared<ControlRequest>(std::move(received));
  control->method = head.method;
  control->target = head.target;
  control->query = QueryOf(head.target);
  if (!PercentDecode(PathOf(head.target), &control->path)) control->path = PathOf(head.target);
  for (const HttpField& field : head.fields) control->headers.emplace_back(field.name, field.value);
  return control;
}

}  // namespace fastserve
