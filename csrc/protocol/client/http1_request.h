// HTTP/1.1 out, as a client: the head of a request, appended to a ByteWriter.
//
//   AppendHttp1RequestHead({.method = "POST", .target = "/v2/...", .authority = "host:8000",
//                           .content_length = body.size()}, &out);
//
// Threads: none.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/status.h"
#include "protocol/byte_writer.h"
#include "protocol/http1_response.h"

namespace fastserve {

struct Http1RequestHead {
  std::string_view method = "GET";
  std::string_view target = "/";                // Path and query, percent-encoded by the caller.
  std::string_view authority;                   // host[:port]
  std::string_view content_type = {};           // Left out when empty.
  std::optional<uint64_t> content_length = {};  // Left out when nothing.
  std::optional<uint64_t> inference_header_length = {};  // Left out when nothing.
  std::optional<uint64_t> inference_timeout_ms = {};     // Left out when nothing.
  std::span<const HttpHeader> extra = {};
};

// Appends the head, blank line included. Errors: INVALID_ARGUMENT for what would end a line or the
// head early: nothing is appended then.
Status AppendHttp1RequestHead(const Http1RequestHead& head, ByteWriter* out);

}  // namespace fastserve
