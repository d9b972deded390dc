// HTTP/1.1 out: status line and fields, appended to a ByteWriter.
//
//   Http1ResponseHead head{.status = 200, .content_length = body.size(), .keep_alive = true};
//   AppendHttp1Head(head, &out);
//
// Threads: none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/status.h"
#include "protocol/byte_writer.h"

namespace fastserve {

// The HTTP status of an error over KServe's REST protocol: 200 for OK. The same table as
// python/fastserve/errors.py (a test compares them through the binding).
int HttpStatusOf(Code code);

// "Not Found"; "" for a status that has no standard phrase.
std::string_view ReasonPhrase(int status);

struct HttpHeader {
  std::string_view name;
  std::string_view value;
};

struct Http1ResponseHead {
  int status = 200;
  uint64_t content_length = 0;
  // The length is not known yet: chunks follow (AppendChunk), then kHttp1LastChunk. A client of
  // HTTP/1.0 knows no chunks: it gets the plain bytes, and their end is the connection's.
  bool chunked = false;
  bool keep_alive = true;
  bool is_http10 = false;  // Of the request: such a client waits for the connection's end
                           // unless it is told that it stays open.
  std::string_view content_type = {};                    // Left out when empty.
  std::string_view content_encoding = {};                // Left out, with its Vary, when empty.
  std::optional<uint64_t> inference_header_length = {};  // Left out when nothing.
  std::optional<uint32_t> retry_after_s = {};            // Left out when nothing.
  std::string_view date = {};                            // HttpDate; left out when empty.
  // Further fields, as they are; the caller keeps CR and LF out (HeaderIsSafe).
  std::span<const HttpHeader> extra = {};
  std::span<const HttpHeader> more = {};  // As extra: of somebody else.
};

// Appends the head, blank line included. There is no Content-Length in a 1xx or 204, which have no
// body (RFC 9110, 8.6).
void AppendHttp1Head(const Http1ResponseHead& head, ByteWriter* out);

// Appends one chunk of a chunked body; nothing for no data, because an empty chunk is the last.
void AppendChunk(std::string_view data, ByteWriter* out);
// Behind the last chunk, without trailers.
inline constexpr std::string_view kHttp1LastChunk = "0\r\n\r\n";

// A time, in seconds since 1970, as the Date field says it: "Sun, 06 Nov 1994 08:49:37 GMT". Years
// 1970 to 9999.
using HttpDate = std::array<char, 29>;
HttpDate FormatHttpDate(int64_t unix_time_s);

// Whether a name and a value written by somebody else can go into a head: name a token, value
// without CR, LF, NUL or other control characters but the tab. Fields that the codec itself writes
// (Content-Length, Transfer-Encoding, Connection, Date) are not safe either.
bool HeaderIsSafe(const HttpHeader& header);

// "HTTP/1.1 100 Continue\r\n\r\n"
inline constexpr std::string_view kHttp1Continue = "HTTP/1.1 100 Continue\r\n\r\n";

}  // namespace fastserve
