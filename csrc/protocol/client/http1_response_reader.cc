#include "protocol/client/http1_response_reader.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/status.h"

namespace fastserve {
namespace {

constexpr size_t kShownBytes = 40;

std::string Shown(std::string_view text) {
  return StrCat("'", text.substr(0, kShownBytes), text.size() > kShownBytes ? "...'" : "'");
}

std::string_view TrimSpace(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool ParseDigits(std::string_view text, uint64_t* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

// A control character where none belongs; CR and LF end lines.
bool HasControl(std::string_view text) {
  return std::ranges::any_of(text, [](char c) {
    const auto byte = static_cast<uint8_t>(c);
    return (byte < 0x20 && byte != '\t') || byte == 0x7F;
  });
}

// Takes a whole head apart; returns why not, or "".
class AnswerParser {
 public:
  AnswerParser(const Http1Limits& limits, Http1Answer* answer)
      : limits_(limits), answer_(*answer) {}

  std::string Parse(std::string_view text) {
    bool is_first = true;
    while (true) {
      const size_t line_bytes = text.find("\r\n");
      const std::string_view line = text.substr(0, line_bytes);
      text.remove_prefix(line_bytes + 2);
      if (line.empty()) break;
      if (HasControl(line)) return StrCat("a control character in ", Shown(line));
      std::string why = is_first ? ParseStatusLine(line) : ParseField(line);
      if (!why.empty()) return why;
      is_first = false;
    }
    return Finish();
  }

 private:
  std::string ParseStatusLine(std::string_view line) {
    const bool is_http1 = line.starts_with("HTTP/1.0 ") || line.starts_with("HTTP/1.1 ");
    constexpr size_t kStatusAt = 9;
    uint64_t status = 0;
    const bool has_status = is_http1 && line.size() >= kStatusAt + 3 &&
                            ParseDigits(line.substr(kStatusAt, 3), &status) && status >= 100 &&
                            (line.size() == kStatusAt + 3 || line[kStatusAt + 3] == ' ');
    if (!has_status) return StrCat("expected HTTP/1.1 and a status, received ", Shown(line));
    answer_.status = static_cast<int>(status);
    is_http10_ = line[7] == '0';
    return {};
  }

  std::string ParseField(std::string_view line) {
    const size_t name_bytes = line.find(':');
    const std::string_view name = line.substr(0, name_bytes);
    if (name_bytes == std::string_view::npos || name.empty() || !AllIn(kHttpTokenBytes, name)) {
      return StrCat("expected 'name: value', received ", Shown(line));
    }
    if (answer_.fields.size() == limits_.fields_max) {
      return StrCat("more than ", limits_.fields_max, " header fields");
    }
    const HttpField field{name, TrimSpace(line.substr(name_bytes + 1))};
    answer_.fields.push_back(field);
    if (EqualsIgnoringCase(name, "content-length")) return TakeLength(field.value);
    if (EqualsIgnoringCase(name, "transfer-encoding")) {
      if (is_chunked_ || !EqualsIgnoringCase(field.value, "chunked")) {
        return StrCat("Transfer-Encoding: expected chunked, received ", Shown(field.value));
      }
      is_chunked_ = true;
    } else if (EqualsIgnoringCase(name, "connection")) {
      TakeConnection(field.value);
    } else if (EqualsIgnoringCase(name, "inference-header-content-length")) {
      return TakeInferenceHeaderLength(field.value);
    }
    return {};
  }

  std::string TakeLength(std::string_view value) {
    uint64_t length = 0;
    if (!ParseDigits(value, &length) || (has_length_ && length != answer_.content_length)) {
      return StrCat("Content-Length: expected one number, received ", Shown(value));
    }
    has_length_ = true;
    answer_.content_length = length;
    return {};
  }

  std::string TakeInferenceHeaderLength(std::string_view value) {
    if (ParseDigits(value, &answer_.inference_header_length.emplace())) return {};
    return StrCat("Inference-Header-Content-Length: expected digits, received ", Shown(value));
  }

  void TakeConnection(std::string_view value) {
    while (!value.empty()) {
      const size_t comma = std::min(value.find(','), value.size());
      const std::string_view option = TrimSpace(value.substr(0, comma));
      if (EqualsIgnoringCase(option, "close")) says_close_ = true;
      if (EqualsIgnoringCase(option, "keep-alive")) says_keep_alive_ = true;
      value.remove_prefix(std::min(comma + 1, value.size()));
    }
  }

  std::string Finish() {
    if (is_chunked_ && has_length_) return "Content-Length beside Transfer-Encoding";
    answer_.keep_alive = !says_close_ && (!is_http10_ || says_keep_alive_);
    const bool has_none = answer_.status < 200 || answer_.status == 204 || answer_.status == 304;
    if (has_none) return {};
    if (is_chunked_) {
      answer_.body = HttpAnswerBody::kChunked;
    } else if (has_length_) {
      answer_.body = answer_.content_length > 0 ? HttpAnswerBody::kLength : HttpAnswerBody::kNone;
    } else {
      answer_.body = HttpAnswerBody::kUntilEnd;
      answer_.keep_alive = false;
    }
    return {};
  }

  const Http1Limits& limits_;
  Http1Answer& answer_;
  bool is_http10_ = false;
  bool is_chunked_ = false;
  bool has_length_ = false;
  bool says_close_ = false;
  bool says_keep_alive_ = false;
};

}  // namespace

std::string_view Http1Answer::Field(std::string_view name) const {
  for (const HttpField& field : fields) {
    if (EqualsIgnoringCase(field.name, name)) return field.value;
  }
  return {};
}

Http1Progress Http1ResponseReader::Read(std::string_view received, Http1Answer* answer) {
  // What is no HTTP is said at once, not when a blank line happens to come.
  constexpr std::string_view kBegin = "HTTP/1.";
  for (size_t i = 0; i < std::min(received.size(), kBegin.size()); ++i) {
    if (received[i] == kBegin[i]) continue;
    return Fail(
        StrCat("expected an answer of HTTP/1.1, received ", Shown(received.substr(0, i + 1))));
  }
  constexpr std::string_view kBlank = "\r\n\r\n";
  const std::string_view searchable = received.substr(0, limits_.head_bytes_max);
  const size_t blank = searchable.find(kBlank, searched_);
  if (blank == std::string_view::npos) {
    searched_ = searchable.size() - std::min(searchable.size(), kBlank.size() - 1);
    if (searchable.size() < limits_.head_bytes_max) return Http1Progress::kNeedMore;
    return Fail(StrCat("the answer's head has more than ", limits_.head_bytes_max, " bytes"));
  }
  searched_ = 0;
  std::vector<HttpField> fields = std::move(answer->fields);  // For the capacity.
  fields.clear();
  *answer = Http1Answer();
  answer->fields = std::move(fields);
  answer->bytes = blank + kBlank.size();
  std::string why = AnswerParser(limits_, answer).Parse(searchable.substr(0, answer->bytes));
  return why.empty() ? Http1Progress::kDone : Fail(StrCat("the answer's head: ", why));
}

Http1Progress Http1ResponseReader::Fail(std::string message) {
  searched_ = 0;
  error_ = std::move(message);
  return Http1Progress::kFailed;
}

}  // namespace fastserve
