#include "protocol/http1.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/status.h"

namespace fastserve {
namespace {

// RFC 9112, 2.2 asks for tolerance of one empty line before a request; some clients send one behind
// a body too. More than that is no client.
constexpr size_t kLeadingCrlfMax = 4;
// Of a client's bytes in a message: enough to recognise them.
constexpr size_t kShownBytes = 40;

// RFC 3986, 3.2.2 and 3.2.3: a name, an address in brackets, a port. No "@": who sends user
// information in Host wants to be mistaken.
constexpr HttpByteSet kHostBytes = MakeHttpByteSet("-._~!$&'()*+,;=%:[]");

// `token` in any case against a lower-case name. For tokens setting bit 5 is enough: the bytes that
// it would confuse with letters and "-" are no token's.
bool IsNamed(std::string_view token, std::string_view lower_case_name) {
  if (token.size() != lower_case_name.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < token.size(); ++i) {
    difference |= static_cast<uint8_t>((token[i] | 32) ^ lower_case_name[i]);
  }
  return difference == 0;
}

std::string_view TrimSpace(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Where the first control character at or behind `at` stands, or the end. Eight bytes at a time: a
// head has one control character in thirty.
size_t FindControl(std::string_view text, size_t at) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kTops = 0x80 * kOnes;
  static_assert(std::endian::native == std::endian::little);
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t bytes;
    std::memcpy(&bytes, text.data() + at, sizeof bytes);
    const uint64_t deletes = bytes ^ (0x7F * kOnes);
    // A borrow may mark bytes above a marked one, never below it: the lowest mark is right.
    const uint64_t marks =
        (((bytes - 0x20 * kOnes) & ~bytes) | ((deletes - kOnes) & ~deletes)) & kTops;
    if (marks != 0) return at + static_cast<size_t>(std::countr_zero(marks)) / 8;
  }
  for (; at < text.size(); ++at) {
    const uint8_t byte = static_cast<uint8_t>(text[at]);
    if (byte < 0x20 || byte == 0x7F) return at;
  }
  return at;
}

// One run of digits that fits, e.g. no sign, no list, no space.
bool ParseDigits(std::string_view text, uint64_t* out) {
  if (text.empty()) return false;
  uint64_t value = 0;
  for (char byte : text) {
    if (byte < '0' || byte > '9') return false;
    if (__builtin_mul_overflow(value, uint64_t{10}, &value)) return false;
    if (__builtin_add_overflow(value, static_cast<uint64_t>(byte - '0'), &value)) return false;
  }
  *out = value;
  return true;
}

std::string Shown(std::string_view text) {
  return StrCat("'", text.substr(0, kShownBytes), text.size() > kShownBytes ? "...'" : "'");
}

// Takes a whole head apart: its characters are known to be good and every CR to be a line's end.
class HeadParser {
 public:
  HeadParser(const Http1Limits& limits, Http1Head* head, HttpError* error)
      : limits_(limits), head_(*head), error_(*error) {}

  // `text` ends with the blank line. False: the error is set.
  bool Parse(std::string_view text) {
    const size_t line_bytes = text.find('\r');
    return ParseRequestLine(text.substr(0, line_bytes)) &&
           ParseFields(text.substr(line_bytes + 2)) && CheckTarget() && CheckHost() && CheckBody();
  }

 private:
  bool Fail(int status, std::string message) {
    error_ = {status, std::move(message)};
    return false;
  }
  bool ParseRequestLine(std::string_view line);
  bool ParseVersion(std::string_view version);
  bool ParseFields(std::string_view lines);
  bool TakeField(const HttpField& field);
  bool TakeHost(std::string_view value);
  bool TakeContentLength(std::string_view value);
  bool TakeTransferEncoding(std::string_view value);
  bool TakeExpect(std::string_view value);
  bool TakeInferenceHeaderLength(std::string_view value);
  bool TakeInferenceTimeout(std::string_view value);
  bool TakeConnection(std::string_view value);
  bool CheckTarget();
  bool TakeAuthorityOffTarget(size_t scheme_bytes);
  bool CheckHost();
  bool CheckBody();

  const Http1Limits& limits_;
  Http1Head& head_;
  HttpError& error_;
  std::optional<std::string_view> host_;
  std::optional<std::string_view> transfer_encoding_;
  bool has_content_length_ = false;
  bool says_close_ = false;
  bool says_keep_alive_ = false;
};

bool HeadParser::ParseRequestLine(std::string_view line) {
  constexpr std::string_view kExpected =
      "request line: expected METHOD /target HTTP/1.1, received ";
  const size_t method_bytes = line.find(' ');
  const size_t version_at = line.rfind(' ');
  if (method_bytes == std::string_view::npos || method_bytes == version_at) {
    return Fail(400, StrCat(kExpected, Shown(line)));
  }
  head_.method = line.substr(0, method_bytes);
  head_.target = line.substr(method_bytes + 1, version_at - method_bytes - 1);
  if (head_.method.empty() || !AllIn(kHttpTokenBytes, head_.method)) {
    return Fail(400, StrCat(kExpected, Shown(line)));
  }
  if (head_.target.size() > limits_.target_bytes_max) {
    return Fail(414, StrCat("request target: expected at most ", limits_.target_bytes_max,
                            " bytes, received ", head_.target.size()));
  }
  for (char byte : head_.target) {
    // Not a URI's: space, "#" (a fragment stays with the client), what is not ASCII.
    if (byte <= ' ' || byte == '#') return Fail(400, StrCat(kExpected, Shown(line)));
  }
  return ParseVersion(line.substr(version_at + 1));
}

bool HeadParser::ParseVersion(std::string_view version) {
  head_.is_http10 = version == "HTTP/1.0";
  if (head_.is_http10 || version == "HTTP/1.1") return true;
  const auto is_digit = [&](size_t at) { return version[at] >= '0' && version[at] <= '9'; };
  const bool is_version = version.size() == 8 && version.starts_with("HTTP/") && is_digit(5) &&
                          version[6] == '.' && is_digit(7);
  return Fail(is_version ? 505 : 400,
              StrCat("request line: expected HTTP/1.1 or HTTP/1.0, received ", Shown(version)));
}

bool HeadParser::ParseFields(std::string_view lines) {
  while (lines[0] != '\r') {
    size_t name_bytes = 0;
    while (kHttpTokenBytes[static_cast<uint8_t>(lines[name_bytes])]) ++name_bytes;
    const size_t line_bytes = lines.find('\r', name_bytes);
    if (name_bytes == 0 || lines[name_bytes] != ':') [[unlikely]] {
      const bool is_fold = lines[0] == ' ' || lines[0] == '\t';
      return Fail(400, StrCat(is_fold ? "header: a line must not begin with white space, received "
                                      : "header: expected 'name: value', received ",
                              Shown(lines.substr(0, line_bytes))));
    }
    if (head_.fields.size() == limits_.fields_max) {
      return Fail(431, StrCat("head: expected at most ", limits_.fields_max, " header fields"));
    }
    const HttpField field{lines.substr(0, name_bytes),
                          TrimSpace(lines.substr(name_bytes + 1, line_bytes - name_bytes - 1))};
    head_.fields.push_back(field);
    if (!TakeField(field)) return false;
    lines.remove_prefix(line_bytes + 2);
  }
  head_.keep_alive = !says_close_ && (!head_.is_http10 || says_keep_alive_);
  return true;
}

// The fields that say where the message ends and what becomes of the connection.
bool HeadParser::TakeField(const HttpField& field) {
  const auto [name, value] = field;
  switch (name.size()) {
    case 4:
      return !IsNamed(name, "host") || TakeHost(value);
    case 6:
      return !IsNamed(name, "expect") || TakeExpect(value);
    case 10:
      return !IsNamed(name, "connection") || TakeConnection(value);
    case 14:
      return !IsNamed(name, "content-length") || TakeContentLength(value);
    case 16:
      if (IsNamed(name, "fastserve-timing")) head_.wants_timing = value == "1";
      return true;
    case 17:
      return !IsNamed(name, "transfer-encoding") || TakeTransferEncoding(value);
    case 20:
      return !IsNamed(name, "inference-timeout-ms") || TakeInferenceTimeout(value);
    case 31:
      return !IsNamed(name, "inference-header-content-length") || TakeInferenceHeaderLength(value);
    default:
      return true;
  }
}

bool HeadParser::TakeHost(std::string_view value) {
  if (host_) return Fail(400, "Host: expected once, received twice");
  host_ = value;
  if (AllIn(kHostBytes, value)) return true;
  return Fail(400, StrCat("Host: expected a host and a port, received ", Shown(value)));
}

bool HeadParser::TakeContentLength(std::string_view value) {
  if (has_content_length_) return Fail(400, "Content-Length: expected once, received twice");
  has_content_length_ = true;
  if (ParseDigits(value, &head_.content_length)) return true;
  return Fail(400, StrCat("Content-Length: expected digits below 2^64, received ", Shown(value)));
}

bool HeadParser::TakeTransferEncoding(std::string_view value) {
  if (transfer_encoding_) return Fail(400, "Transfer-Encoding: expected once, received twice");
  transfer_encoding_ = value;
  return true;
}

bool HeadParser::TakeExpect(std::string_view value) {
  if (!EqualsIgnoringCase(value, "100-continue")) {
    return Fail(417, StrCat("Expect: expected 100-continue, received ", Shown(value)));
  }
  head_.expects_continue = !head_.is_http10;  // RFC 9110, 10.1.1: ignored in HTTP/1.0.
  return true;
}

bool HeadParser::TakeInferenceHeaderLength(std::string_view value) {
  const bool is_first = !head_.inference_header_length;
  if (!ParseDigits(value, &head_.inference_header_length.emplace()) || !is_first) {
    head_.inference_header_is_valid = false;
  }
  return true;
}

bool HeadParser::TakeInferenceTimeout(std::string_view value) {
  uint64_t& timeout_ms = head_.inference_timeout_ms;
  const bool is_first = timeout_ms == 0;
  const bool is_valid = ParseDigits(value, &timeout_ms) && timeout_ms > 0;
  if (!is_first || !is_valid || timeout_ms > kInferenceTimeoutMsMax) {
    head_.inference_timeout_is_valid = false;
  }
  return true;
}

bool HeadParser::TakeConnection(std::string_view value) {
  while (true) {
    const size_t comma = value.find(',');
    const std::string_view option = TrimSpace(value.substr(0, comma));
    if (EqualsIgnoringCase(option, "close")) says_close_ = true;
    if (EqualsIgnoringCase(option, "keep-alive")) says_keep_alive_ = true;
    if (!AllIn(kHttpTokenBytes, option)) {
      return Fail(400, StrCat("Connection: expected a list of tokens, received ", Shown(value)));
    }
    if (comma == std::string_view::npos) return true;
    value.remove_prefix(comma + 1);
  }
}

bool HeadParser::CheckTarget() {
  // Readers that know tunnels end such a request with its head, whatever its fields say of a body.
  if (head_.method == "CONNECT") {
    return Fail(400, "request line: expected a method but CONNECT, this is no proxy");
  }
  if (head_.target.starts_with('/')) return true;
  if (head_.target == "*" && head_.method == "OPTIONS") return true;
  for (std::string_view scheme : {"http://", "https://"}) {
    if (EqualsIgnoringCase(head_.target.substr(0, scheme.size()), scheme)) {
      return TakeAuthorityOffTarget(scheme.size());
    }
  }
  return Fail(400, StrCat("request target: expected a path that begins with '/', received ",
                          Shown(head_.target)));
}

// The authority must be what Host says: servers differ in which of the two they believe.
bool HeadParser::TakeAuthorityOffTarget(size_t scheme_bytes) {
  const std::string_view rest = head_.target.substr(scheme_bytes);
  const size_t authority_bytes = std::min(rest.find_first_of("/?"), rest.size());
  const std::string_view authority = rest.substr(0, authority_bytes);
  const std::string_view path = rest.substr(authority_bytes);
  if (authority.empty() || !AllIn(kHostBytes, authority) || path.starts_with('?')) {
    return Fail(
        400, StrCat("request target: expected http://host/path, received ", Shown(head_.target)));
  }
  if (host_ && !EqualsIgnoringCase(*host_, authority)) {
    return Fail(400, StrCat("Host: expected the target's authority ", Shown(authority),
                            ", received ", Shown(*host_)));
  }
  // "http://host" asks for "/", which is the view of one of the scheme's own slashes.
  head_.target = path.empty() ? head_.target.substr(scheme_bytes - 1, 1) : path;
  return true;
}

bool HeadParser::CheckHost() {
  if (host_ || head_.is_http10) return true;
  return Fail(400, "Host: expected in a request of HTTP/1.1, received none");
}

bool HeadParser::CheckBody() {
  if (!transfer_encoding_) {
    head_.body = head_.content_length > 0 ? HttpBody::kLength : HttpBody::kNone;
    return true;
  }
  if (has_content_length_) {
    return Fail(400, "Transfer-Encoding: expected no Content-Length beside it");
  }
  if (head_.is_http10) return Fail(400, "Transfer-Encoding: expected HTTP/1.1, received HTTP/1.0");
  if (!EqualsIgnoringCase(*transfer_encoding_, "chunked")) {
    return Fail(
        transfer_encoding_->empty() ? 400 : 501,
        StrCat("Transfer-Encoding: expected chunked, received ", Shown(*transfer_encoding_)));
  }
  head_.body = HttpBody::kChunked;
  return true;
}

// Whether a head that is too large is so because of its target.
bool HasLongTarget(std::string_view head, size_t target_bytes_max) {
  const std::string_view line = head.substr(0, head.find('\r'));
  const size_t method_bytes = line.find(' ');
  if (method_bytes == std::string_view::npos) return false;
  const std::string_view target = line.substr(method_bytes + 1);
  return std::min(target.find(' '), target.size()) > target_bytes_max;
}

}  // namespace

std::string_view Http1Head::Field(std::string_view lower_case_name) const {
  for (const HttpField& field : fields) {
    if (IsNamed(field.name, lower_case_name)) return field.value;
  }
  return {};
}

Http1Progress Http1HeadReader::Read(std::string_view received, Http1Head* head) {
  size_t start = 0;
  while (received.substr(start).starts_with("\r\n")) start += 2;
  if (start > 2 * kLeadingCrlfMax) {
    return Fail(400, "head: expected a request line, received empty lines");
  }
  if (start == received.size()) return Http1Progress::kNeedMore;
  size_t end = 0;
  const auto found = FindEnd(received, start, &end);
  if (found != Http1Progress::kDone) return found;
  searched_ = 0;
  std::vector<HttpField> fields = std::move(head->fields);  // For the capacity.
  fields.clear();
  *head = Http1Head();
  head->fields = std::move(fields);
  head->bytes = end;
  HeadParser parser(limits_, head, &error_);
  return parser.Parse(received.substr(start, end - start)) ? Http1Progress::kDone
                                                           : Http1Progress::kFailed;
}

// Looks for the blank line, and at the characters on the way there. Everything that depends on how
// the bytes arrive is in here: what is said about a head does not.
Http1Progress Http1HeadReader::FindEnd(std::string_view received, size_t start, size_t* end) {
  const std::string_view searchable = received.substr(0, limits_.head_bytes_max);
  start = std::min(start, searchable.size());
  for (size_t at = std::max(searched_, start);; ++at) {
    at = FindControl(searchable, at);
    if (at == searchable.size() || (searchable[at] == '\r' && at + 1 == searchable.size())) {
      searched_ = at;
      if (searchable.size() < limits_.head_bytes_max) return Http1Progress::kNeedMore;
      if (HasLongTarget(searchable.substr(start), limits_.target_bytes_max)) {
        return Fail(414, StrCat("request target: expected at most ", limits_.target_bytes_max,
                                " bytes, received more"));
      }
      return Fail(431, StrCat("head: expected at most ", limits_.head_bytes_max, " bytes"));
    }
    if (searchable[at] == '\t') continue;
    if (searchable[at] != '\r' || searchable[at + 1] != '\n') {
      return Fail(400, searchable[at] == '\r' || searchable[at] == '\n'
                           ? "head: expected lines to end in CR LF, received one without the other"
                           : StrCat("head: expected no control characters, received byte ",
                                    static_cast<int>(static_cast<uint8_t>(searchable[at]))));
    }
    if (at > start && searchable[at - 1] == '\n') {
      *end = at + 2;
      return Http1Progress::kDone;
    }
    ++at;
  }
}

Http1Progress Http1HeadReader::Fail(int status, std::string message) {
  searched_ = 0;
  error_ = {status, std::move(message)};
  return Http1Progress::kFailed;
}

}  // namespace fastserve
