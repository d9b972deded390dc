// HTTP/1.1 in, as a client: the head of an answer.
//
//   Http1Answer answer;
//   switch (reader.Read(received, &answer)) { ... }   // as Http1HeadReader of http1.h
//
// Stricter than most clients where two readers could see different ends: a Content-Length beside
// Transfer-Encoding, or twice with another value, is refused, and so are bare line feeds.
//
// Source: RFC 9110, RFC 9112.
// Threads: none; a reader belongs to one connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/http1.h"

namespace fastserve {

enum class HttpAnswerBody : uint8_t {
  kNone,
  kLength,    // content_length bytes follow.
  kChunked,   // Chunks follow: ChunkedReader.
  kUntilEnd,  // What follows until the connection ends.
};

// Views are of the bytes given to Read.
struct Http1Answer {
  int status = 0;
  std::vector<HttpField> fields;
  HttpAnswerBody body = HttpAnswerBody::kNone;  // As if it were none to HEAD.
  uint64_t content_length = 0;
  std::optional<uint64_t> inference_header_length;
  bool keep_alive = true;
  size_t bytes = 0;  // Of the head, blank line included.

  // The value of the first field of that name, in any case; "" without one.
  std::string_view Field(std::string_view name) const;
};

class Http1ResponseReader {
 public:
  explicit Http1ResponseReader(const Http1Limits& limits = {}) : limits_(limits) {}

  // `received` starts where the answer starts. After kNeedMore call again with the same bytes and
  // more behind them; after kDone the reader is ready for the next answer.
  Http1Progress Read(std::string_view received, Http1Answer* answer);

  // After kFailed: the connection is of no more use.
  const std::string& error() const { return error_; }

 private:
  Http1Progress Fail(std::string message);

  const Http1Limits limits_;
  size_t searched_ = 0;  // No blank line begins before.
  std::string error_;
};

}  // namespace fastserve
