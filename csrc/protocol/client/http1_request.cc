#include "protocol/client/http1_request.h"

#include <algorithm>

#include "protocol/http1.h"
#include "protocol/json_writer.h"

namespace fastserve {
namespace {

// Printable ASCII without spaces: neither the target nor the authority can hold more.
bool IsVisible(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char byte) { return byte > ' ' && byte < '\x7f'; });
}

// What the codec writes itself, and what would say where the request ends.
bool IsOwn(std::string_view name) {
  constexpr std::string_view kFields[] = {
      "host",       "content-length", "transfer-encoding",
      "connection", "expect",         "inference-header-content-length"};
  return std::ranges::any_of(kFields,
                             [&](std::string_view own) { return EqualsIgnoringCase(name, own); });
}

Status CheckHead(const Http1RequestHead& head) {
  if (head.method.empty() || !AllIn(kHttpTokenBytes, head.method)) {
    return InvalidArgument("method '", head.method, "': expected a token");
  }
  if (!IsVisible(head.target) || !head.target.starts_with('/')) {
    return InvalidArgument("target '", head.target, "': expected a percent-encoded path");
  }
  if (!IsVisible(head.authority)) {
    return InvalidArgument("authority '", head.authority, "': expected host:port");
  }
  for (const HttpHeader& field : head.extra) {
    if (IsOwn(field.name) || !HeaderIsSafe(field)) {
      return InvalidArgument("header '", field.name,
                             "': expected a token that the client does not write itself, and a "
                             "value without control characters");
    }
  }
  return {};
}

void AppendField(std::string_view name, std::string_view value, ByteWriter* out) {
  out->Append(name);
  out->Append(": ");
  out->Append(value);
  out->Append("\r\n");
}

void AppendField(std::string_view name, std::optional<uint64_t> value, ByteWriter* out) {
  if (!value) return;
  out->Append(name);
  out->Append(": ");
  AppendJsonInteger(*value, out);
  out->Append("\r\n");
}

}  // namespace

Status AppendHttp1RequestHead(const Http1RequestHead& head, ByteWriter* out) {
  FS_RETURN_IF_ERROR(CheckHead(head));
  out->Append(head.method);
  out->Append(' ');
  out->Append(head.target);
  out->Append(" HTTP/1.1\r\n");
  AppendField("Host", head.authority, out);
  if (!head.content_type.empty()) AppendField("Content-Type", head.content_type, out);
  AppendField("Content-Length", head.content_length, out);
  AppendField("Inference-Header-Content-Length", head.inference_header_length, out);
  AppendField("Inference-Timeout-Ms", head.inference_timeout_ms, out);
  for (const HttpHeader& field : head.extra) AppendField(field.name, field.value, out);
  out->Append("\r\n");
  return {};
}

}  // namespace fastserve
