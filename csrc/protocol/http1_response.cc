#include "protocol/http1_response.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "protocol/http1.h"

namespace fastserve {
namespace {

// The status line and the fields of this file, their values in full length.
constexpr size_t kOwnBytesMax = 256;

char* Put(std::string_view text, char* at) {
  if (!text.empty()) std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

char* PutNumber(uint64_t number, char* at) { return std::to_chars(at, at + 20, number).ptr; }

bool HasNoBody(int status) { return status < 200 || status == 204; }

}  // namespace

int HttpStatusOf(Code code) {
  switch (code) {
    case Code::kOk:
      return 200;
    case Code::kInvalidArgument:
    case Code::kAlreadyExists:
    case Code::kFailedPrecondition:
    case Code::kOutOfRange:
      return 400;
    case Code::kUnauthenticated:
      return 401;
    case Code::kPermissionDenied:
      return 403;
    case Code::kNotFound:
      return 404;
    case Code::kAborted:
      return 409;
    case Code::kResourceExhausted:
      return 429;
    case Code::kCancelled:
      return 499;
    case Code::kUnimplemented:
      return 501;
    case Code::kUnavailable:
      return 503;
    case Code::kDeadlineExceeded:
      return 504;
    case Code::kUnknown:
    case Code::kInternal:
    case Code::kDataLoss:
      break;
  }
  return 500;
}

std::string_view ReasonPhrase(int status) {
  // RFC 9110, 15 and RFC 6585, by number.
  struct Phrase {
    int status;
    std::string_view text;
  };
  static constexpr Phrase kPhrases[] = {
      {100, "Continue"},
      {101, "Switching Protocols"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {206, "Partial Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Content Too Large"},
      {414, "URI Too Long"},
      {415, "Unsupported Media Type"},
      {416, "Range Not Satisfiable"},
      {417, "Expectation Failed"},
      {421, "Misdirected Request"},
      {422, "Unprocessable Content"},
      {426, "Upgrade Required"},
      {428, "Precondition Required"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
  };
  if (status == 200) return kPhrases[2].text;
  const auto* const found = std::ranges::lower_bound(kPhrases, status, {}, &Phrase::status);
  return found != std::end(kPhrases) && found->status == status ? found->text : "";
}

void AppendHttp1Head(const Http1ResponseHead& head, ByteWriter* out) {
  FS_CHECK(head.status >= 100 && head.status <= 999);
  size_t bytes_max = kOwnBytesMax + head.content_type.size();
  for (const auto& [name, value] : head.extra) bytes_max += name.size() + value.size() + 4;
  char* const start = out->Reserve(bytes_max);
  char* at = Put("HTTP/1.1 ", start);
  at = PutNumber(static_cast<uint64_t>(head.status), at);
  *at++ = ' ';  // Also before no phrase (RFC 9112, 4).
  at = Put(ReasonPhrase(head.status), at);
  if (!HasNoBody(head.status)) {
    at = PutNumber(head.content_length, Put("\r\nContent-Length: ", at));
  }
  if (!head.content_type.empty()) at = Put(head.content_type, Put("\r\nContent-Type: ", at));
  if (head.inference_header_length) {
    at = PutNumber(*head.inference_header_length, Put("\r\nInference-Header-Content-Length: ", at));
  }
  if (head.retry_after_s) at = PutNumber(*head.retry_after_s, Put("\r\nRetry-After: ", at));
  if (!head.keep_alive) {
    at = Put("\r\nConnection: close", at);
  } else if (head.is_http10) {
    at = Put("\r\nConnection: keep-alive", at);
  }
  for (const auto& [name, value] : head.extra) {
    at = Put(value, Put(": ", Put(name, Put("\r\n", at))));
  }
  at = Put("\r\n\r\n", at);
  out->Advance(static_cast<size_t>(at - start));
}

bool HeaderIsSafe(const HttpHeader& header) {
  if (header.name.empty() || !AllIn(kHttpTokenBytes, header.name)) return false;
  for (std::string_view own : {"content-length", "transfer-encoding", "connection"}) {
    if (EqualsIgnoringCase(header.name, own)) return false;
  }
  return std::ranges::all_of(header.value, [](char byte) {
    const uint8_t code = static_cast<uint8_t>(byte);
    return (code >= 0x20 && code != 0x7F) || byte == '\t';
  });
}

}  // namespace fastserve
