#include "protocol/http1_response.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "protocol/http1.h"

namespace fastserve {
namespace {

// The status line and the fields of this file, their values in full length.
constexpr size_t kOwnBytesMax = 320;

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
  size_t bytes_max =
      kOwnBytesMax + head.content_type.size() + head.content_encoding.size() + head.date.size();
  for (const std::span<const HttpHeader> fields : {head.extra, head.more}) {
    for (const auto& [name, value] : fields) bytes_max += name.size() + value.size() + 4;
  }
  char* const start = out->Reserve(bytes_max);
  char* at = Put("HTTP/1.1 ", start);
  at = PutNumber(static_cast<uint64_t>(head.status), at);
  *at++ = ' ';  // Also before no phrase (RFC 9112, 4).
  at = Put(ReasonPhrase(head.status), at);
  const bool ends_with_connection = head.chunked && head.is_http10;
  if (head.chunked) {
    if (!ends_with_connection) at = Put("\r\nTransfer-Encoding: chunked", at);
  } else if (!HasNoBody(head.status)) {
    at = PutNumber(head.content_length, Put("\r\nContent-Length: ", at));
  }
  if (!head.date.empty()) at = Put(head.date, Put("\r\nDate: ", at));
  if (!head.content_type.empty()) at = Put(head.content_type, Put("\r\nContent-Type: ", at));
  if (!head.content_encoding.empty()) {
    at = Put(head.content_encoding, Put("\r\nVary: Accept-Encoding\r\nContent-Encoding: ", at));
  }
  if (head.inference_header_length) {
    at = PutNumber(*head.inference_header_length, Put("\r\nInference-Header-Content-Length: ", at));
  }
  if (head.retry_after_s) at = PutNumber(*head.retry_after_s, Put("\r\nRetry-After: ", at));
  if (!head.keep_alive || ends_with_connection) {
    at = Put("\r\nConnection: close", at);
  } else if (head.is_http10) {
    at = Put("\r\nConnection: keep-alive", at);
  }
  for (const std::span<const HttpHeader> fields : {head.extra, head.more}) {
    for (const auto& [name, value] : fields) {
      at = Put(value, Put(": ", Put(name, Put("\r\n", at))));
    }
  }
  at = Put("\r\n\r\n", at);
  out->Advance(static_cast<size_t>(at - start));
}

void AppendChunk(std::string_view data, ByteWriter* out) {
  if (data.empty()) return;
  constexpr size_t kSizeBytesMax = 16;
  char* const start = out->Reserve(kSizeBytesMax + data.size() + 4);
  char* at = std::to_chars(start, start + kSizeBytesMax, data.size(), 16).ptr;
  at = Put("\r\n", Put(data, Put("\r\n", at)));
  out->Advance(static_cast<size_t>(at - start));
}

HttpDate FormatHttpDate(int64_t unix_time_s) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const time_t time = unix_time_s;
  tm parts{};
  FS_CHECK(gmtime_r(&time, &parts) != nullptr && parts.tm_year >= 70 && parts.tm_year < 8100);
  const auto digits = [](int number, int count, char* at) {
    for (int i = count; i-- > 0; number /= 10) at[i] = static_cast<char>('0' + number % 10);
    return at + count;
  };
  HttpDate date;
  char* at = Put(", ", Put(kDays[parts.tm_wday], date.data()));
  at = Put(kMonths[parts.tm_mon], Put(" ", digits(parts.tm_mday, 2, at)));
  at = Put(" ", digits(parts.tm_year + 1900, 4, Put(" ", at)));
  at = digits(parts.tm_min, 2, Put(":", digits(parts.tm_hour, 2, at)));
  Put(" GMT", digits(parts.tm_sec, 2, Put(":", at)));
  return date;
}

bool HeaderIsSafe(const HttpHeader& header) {
  if (header.name.empty() || !AllIn(kHttpTokenBytes, header.name)) return false;
  for (std::string_view own : {"content-length", "transfer-encoding", "connection", "date"}) {
    if (EqualsIgnoringCase(header.name, own)) return false;
  }
  return std::ranges::all_of(header.value, [](char byte) {
    const uint8_t code = static_cast<uint8_t>(byte);
    return (code >= 0x20 && code != 0x7F) || byte == '\t';
  });
}

}  // namespace fastserve
