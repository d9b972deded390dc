// HTTP/1.1 in: request heads and chunked bodies, sans-IO and strict.
//
//   Http1Head head;
//   Http1HeadReader reader(limits);
//   switch (reader.Read(received, &head)) {          // all bytes since the last request's end
//     case Http1Progress::kNeedMore: ...             // come back with the same bytes and more
//     case Http1Progress::kFailed: Answer(reader.error()); Close();
//     case Http1Progress::kDone: ...                 // head.bytes of `received` are used up
//   }
//
// Everything that proxies and servers have been known to read differently is refused, because a
// request that two of them end at different places carries a hidden second one: Transfer-Encoding
// is exactly "chunked" and never beside Content-Length, Content-Length is one run of digits, lines
// end in CRLF, no line is folded, no space stands before a colon, Host is there once.
//
// Source: RFC 9110, RFC 9112; no stricter reading of them is known that clients in use would not
// pass. Whatever is accepted here Boost.Beast accepts too, and reads alike
// (tests/fuzz/http1_fuzz.cc).
// Threads: none; a reader belongs to one connection.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fastserve {

// A field of a head; views of the bytes that were read, values without surrounding white space.
struct HttpField {
  std::string_view name;  // As written: compare with EqualsIgnoringCase.
  std::string_view value;
};

enum class HttpBody : uint8_t {
  kNone,     // Content-Length is 0, or neither field is there.
  kLength,   // content_length bytes follow.
  kChunked,  // Chunks follow: ChunkedReader.
};

// A day; who may wait longer need not say so.
inline constexpr uint64_t kInferenceTimeoutMsMax = 86'400'000;

// The head of one request. All views are of the bytes given to Read and move with them: a head is
// dealt with, or what is needed of it copied, before the buffer is reused.
struct Http1Head {
  std::string_view method;
  // Path and query in origin form; from an absolute form scheme and authority are taken off.
  // "*" only with OPTIONS. Not percent-decoded.
  std::string_view target;
  std::vector<HttpField> fields;
  HttpBody body = HttpBody::kNone;
  uint64_t content_length = 0;
  // Inference-Header-Content-Length; nothing when it is absent, or is not one run of digits, or is
  // there twice. That says nothing of where the request ends, so it is the request's error, not the
  // connection's: whoever serves it must look at the flag.
  std::optional<uint64_t> inference_header_length;
  bool inference_header_is_valid = true;
  // Inference-Timeout-Ms, 1 to kInferenceTimeoutMsMax; 0 when it is absent. What was said above of
  // a wrong one holds for it as well.
  uint64_t inference_timeout_ms = 0;
  bool inference_timeout_is_valid = true;
  bool wants_timing = false;      // "Fastserve-Timing: 1": the answer shall say where time went.
  bool keep_alive = true;         // HTTP/1.1 without "close", or 1.0 with "keep-alive".
  bool expects_continue = false;  // "Expect: 100-continue" in HTTP/1.1.
  bool is_http10 = false;         // Chunks cannot be sent to it.
  size_t bytes = 0;               // Of the head, blank line included.

  // The value of the first field of that name (given in lower case), or "".
  std::string_view Field(std::string_view lower_case_name) const;
};

struct Http1Limits {
  size_t head_bytes_max = 16 << 10;  // 16 KiB, as node has.
  size_t fields_max = 100;           // Apache's LimitRequestFields.
  size_t target_bytes_max = 8000;    // RFC 9112 asks for at least 8000.
};

// What to answer before the connection is closed: after a broken head nobody knows where the next
// request begins.
struct HttpError {
  int status = 400;  // 400, 414, 417, 431, 501 or 505.
  std::string message;
};

enum class Http1Progress : uint8_t { kNeedMore, kDone, kFailed };

class Http1HeadReader {
 public:
  explicit Http1HeadReader(const Http1Limits& limits = {}) : limits_(limits) {}
  Http1HeadReader(const Http1HeadReader&) = delete;
  Http1HeadReader& operator=(const Http1HeadReader&) = delete;

  // `received` starts where the request starts (CRLFs before the request line are skipped and
  // counted in head->bytes) and may end anywhere, also behind the head. After kNeedMore call again
  // with the same bytes, wherever they lie now, and more behind them: what was searched once is not
  // searched again. After kDone the reader is ready for the next request. `head` is reused: its
  // vector keeps its capacity.
  Http1Progress Read(std::string_view received, Http1Head* head);

  // After kFailed.
  const HttpError& error() const { return error_; }

 private:
  Http1Progress Fail(int status, std::string message);
  Http1Progress FindEnd(std::string_view received, size_t start, size_t* end);

  const Http1Limits limits_;
  size_t searched_ = 0;  // Up to here `received` has good characters and no blank line.
  HttpError error_;
};

// Takes a chunked body apart. Chunk extensions are skipped, trailers are checked and dropped.
class ChunkedReader {
 public:
  struct Step {
    Http1Progress progress = Http1Progress::kNeedMore;
    size_t consumed = 0;    // Bytes of `received` that are used up, `data` included.
    std::string_view data;  // Bytes of the body, a view of `received`; may be empty.
  };

  // Starts anew for the next body. `body_bytes_max` limits the data of all chunks together,
  // `trailer_bytes_max` the trailers, and the same number all chunk extensions.
  void Reset(uint64_t body_bytes_max, size_t trailer_bytes_max = 4096);

  // Call in a loop until everything is consumed or the progress is not kNeedMore; lines that arrive
  // in pieces are kept inside.
  Step Read(std::string_view received);

  // After kFailed: 400, 413 or 431; close after the answer.
  const HttpError& error() const { return error_; }

 private:
  enum class State : uint8_t {
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailerStart,
    kTrailerName,
    kTrailerValue,
    kTrailerLf,
    kEndLf,
    kDone,
    kFailed
  };
  bool TakeByte(char byte);
  bool TakeSizeByte(char byte);
  bool TakeTrailerByte(char byte);
  bool TakeSideByte(char byte, std::string_view where);
  bool Expect(char expected, char received, State next, std::string_view where);
  bool Fail(int status, std::string message);

  State state_ = State::kDone;
  uint64_t chunk_left_ = 0;
  uint64_t body_bytes_max_ = 0;
  uint64_t body_bytes_left_ = 0;
  size_t trailer_bytes_max_ = 0;
  size_t trailer_bytes_left_ = 0;
  size_t extension_bytes_left_ = 0;
  int digits_ = 0;
  HttpError error_;
};

// ASCII only: field names and the tokens of HTTP.
bool EqualsIgnoringCase(std::string_view a, std::string_view b);

// Appends `text` percent-decoded to `out` (a path segment: "+" stays); false, and nothing is
// appended, for a "%" without two hexadecimal digits behind it.
bool PercentDecode(std::string_view text, std::string* out);

// ---------------------------------------------------------------------------------------------
// Implementation below, callers may stop here.

using HttpByteSet = std::array<bool, 256>;

// Letters, digits and `others`.
constexpr HttpByteSet MakeHttpByteSet(std::string_view others) {
  HttpByteSet set{};
  for (char byte : others) set[static_cast<uint8_t>(byte)] = true;
  for (int byte = '0'; byte <= '9'; ++byte) set[byte] = true;
  for (int byte = 'a'; byte <= 'z'; ++byte) set[byte] = set[byte - 'a' + 'A'] = true;
  return set;
}
// RFC 9110, 5.6.2.
inline constexpr HttpByteSet kHttpTokenBytes = MakeHttpByteSet("!#$%&'*+-.^_`|~");

inline bool AllIn(const HttpByteSet& set, std::string_view text) {
  for (char byte : text) {
    if (!set[static_cast<uint8_t>(byte)]) return false;
  }
  return true;
}

inline char AsciiLower(char byte) {
  return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte | 32) : byte;
}

inline bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (AsciiLower(a[i]) != AsciiLower(b[i])) return false;
  }
  return true;
}

// The value of a hexadecimal digit, or -1.
inline int HexDigit(char byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  const char lower = AsciiLower(byte);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

inline bool PercentDecode(std::string_view text, std::string* out) {
  const size_t size_before = out->size();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out->push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      out->resize(size_before);
      return false;
    }
    out->push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return true;
}

}  // namespace fastserve
