// The HTTP/1.1 codec on a connection's bytes: heads, chunked bodies, heads behind them.
//
// Oracles: what is read does not depend on how the bytes arrive; views lie in the bytes that were
// given; a head that is accepted is accepted by Boost.Beast too, which finds the same in it, and a
// chunked body is the same body to it.
#include <boost/beast/http/basic_parser.hpp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "protocol/http1.h"

namespace fastserve {
namespace {

namespace http = boost::beast::http;
using BeastError = boost::beast::error_code;
using BeastView = boost::beast::string_view;

std::string_view View(BeastView text) { return {text.data(), text.size()}; }

// Notes what Beast finds.
class BeastParser final : public http::basic_parser<true> {
 public:
  std::string_view method;
  std::string_view target;
  std::vector<HttpField> fields;
  std::string body;

 private:
  void on_request_impl(http::verb, BeastView method_text, BeastView target_text, int,
                       BeastError&) override {
    method = View(method_text);
    target = View(target_text);
  }
  void on_response_impl(int, BeastView, int, BeastError&) override {}
  void on_field_impl(http::field, BeastView name, BeastView value, BeastError&) override {
    if (!is_header_done()) fields.push_back({View(name), View(value)});
  }
  void on_header_impl(BeastError&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, BeastError&) override {}
  std::size_t on_body_impl(BeastView text, BeastError&) override { return text.size(); }
  void on_chunk_header_impl(std::uint64_t, BeastView, BeastError&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastView text, BeastError&) override {
    body += View(text);
    return text.size();
  }
  void on_finish_impl(BeastError&) override {}
};

void CheckInside(std::string_view view, std::string_view all) {
  if (view.empty()) return;
  FS_CHECK(view.data() >= all.data() && view.data() + view.size() <= all.data() + all.size());
}

// Whether the absolute target that Beast keeps is the one whose path `target` is.
bool IsPathOf(std::string_view target, std::string_view whole) {
  if (target == whole) return true;
  if (whole.find("://") == std::string_view::npos) return false;
  return target == "/" || whole.ends_with(target);
}

// `request` begins with the request line that `head` was read from.
void CompareHead(const Http1Head& head, std::string_view request) {
  BeastParser beast;
  beast.header_limit(UINT32_MAX);
  beast.body_limit(UINT64_MAX);
  BeastError error;
  beast.put({request.data(), request.size()}, error);
  FS_CHECK(!error && beast.is_header_done());
  FS_CHECK(beast.method == head.method);
  FS_CHECK(IsPathOf(head.target, beast.target));
  FS_CHECK_OP(beast.fields.size(), ==, head.fields.size());
  for (size_t i = 0; i < head.fields.size(); ++i) {
    FS_CHECK(beast.fields[i].name == head.fields[i].name);
    FS_CHECK(beast.fields[i].value == head.fields[i].value);
  }
  FS_CHECK_OP(beast.chunked(), ==, (head.body == HttpBody::kChunked));
  FS_CHECK_OP(beast.content_length().value_or(0), ==, head.content_length);
  FS_CHECK_OP(beast.keep_alive(), ==, head.keep_alive);
}

// The same with the chunks behind it, which say `body` and end where `request` ends.
void CompareBody(std::string_view request, std::string_view body) {
  BeastParser beast;
  beast.header_limit(UINT32_MAX);
  beast.body_limit(UINT64_MAX);
  beast.eager(true);
  BeastError error;
  size_t used = 0;
  while (!beast.is_done() && !error) {
    used += beast.put({request.data() + used, request.size() - used}, error);
  }
  // It looks for an extension's closing quote beyond the line, and gives trailers the meaning that
  // they have in a head.
  if (error && request.find(';') != std::string_view::npos) return;
  const std::string_view before_end = request.substr(0, request.size() - 4);
  const std::string_view last_line = before_end.substr(before_end.rfind('\n') + 1);
  const size_t zeros = std::min(last_line.find_first_not_of('0'), last_line.size());
  const bool has_trailers = zeros != last_line.size() && last_line[zeros] != ';';
  if (has_trailers) return;
  FS_CHECK(!error);
  FS_CHECK(beast.body == body);
  FS_CHECK_OP(used, ==, request.size());
}

// Reads requests until the bytes end, one is broken, or a body of a length begins.
class Connection {
 public:
  Connection(std::string_view all, const Http1Limits& limits, bool compares)
      : all_(all), limits_(limits), compares_(compares), reader_(limits) {}

  // What `next_size` says arrives next. Returns a description of everything that was read.
  template <typename NextSize>
  std::string Read(NextSize&& next_size) {
    while (true) {
      while (!is_over_ && (in_body_ ? ReadChunks() : ReadHead())) continue;
      if (is_over_) return said_;
      if (arrived_ == all_.size()) return said_ + body_ + "needs more";
      arrived_ = std::min(all_.size(), arrived_ + next_size());
    }
  }

 private:
  // Each true when it is worth calling again before more arrives.
  bool ReadHead() {
    const std::string_view received = all_.substr(begin_, arrived_ - begin_);
    const Http1Progress progress = reader_.Read(received, &head_);
    if (progress == Http1Progress::kNeedMore) return false;
    if (progress == Http1Progress::kFailed) return End(reader_.error());
    CheckHead(received.substr(0, head_.bytes));
    request_ = head_.method.data();
    if (compares_) CompareHead(head_, {request_, received.data() + received.size()});
    begin_ += head_.bytes;
    is_over_ = head_.body == HttpBody::kLength;
    in_body_ = head_.body == HttpBody::kChunked;
    if (in_body_) chunks_.Reset(limits_.head_bytes_max, limits_.fields_max);
    return true;
  }

  void CheckHead(std::string_view bytes) {
    FS_CHECK_OP(bytes.size(), ==, head_.bytes);
    FS_CHECK_OP(head_.bytes, <=, limits_.head_bytes_max);
    FS_CHECK_OP(head_.fields.size(), <=, limits_.fields_max);
    CheckInside(head_.method, bytes);
    CheckInside(head_.target, bytes);
    for (const auto& [name, value] : head_.fields) {
      CheckInside(name, bytes);
      CheckInside(value, bytes);
      said_ += StrCat(name, "=", value, ";");
    }
    said_ += StrCat(head_.method, head_.target, head_.keep_alive, head_.expects_continue,
                    head_.is_http10, head_.content_length, " ", head_.bytes, "\n");
  }

  bool ReadChunks() {
    const std::string_view received = all_.substr(begin_, arrived_ - begin_);
    const ChunkedReader::Step step = chunks_.Read(received);
    FS_CHECK_OP(step.consumed, <=, received.size());
    CheckInside(step.data, received.substr(0, step.consumed));
    body_ += step.data;
    begin_ += step.consumed;
    if (step.progress == Http1Progress::kFailed) return End(chunks_.error());
    if (step.progress == Http1Progress::kNeedMore) {
      FS_CHECK(step.consumed > 0 || received.empty());
      return step.consumed < received.size();
    }
    if (compares_) CompareBody({request_, all_.data() + begin_}, body_);
    said_ += StrCat(body_, " at ", begin_, "\n");
    body_.clear();
    in_body_ = false;
    return true;
  }

  bool End(const HttpError& error) {
    said_ += StrCat(body_, error.status, " ", error.message);
    is_over_ = true;
    return false;
  }

  const std::string_view all_;
  const Http1Limits limits_;
  const bool compares_;
  Http1HeadReader reader_;
  ChunkedReader chunks_;
  Http1Head head_;
  std::string said_;
  std::string body_;
  size_t begin_ = 0;  // Everything before has been read.
  size_t arrived_ = 0;
  const char* request_ = nullptr;  // The current request's line.
  bool in_body_ = false;
  bool is_over_ = false;
};

void Fuzz(std::string_view data, const Http1Limits& limits) {
  // Of exactly its size, so that AddressSanitizer sees a byte too many.
  const std::unique_ptr<char[]> copy(new char[data.size()]);
  if (!data.empty()) std::memcpy(copy.get(), data.data(), data.size());
  const std::string_view all(copy.get(), data.size());
  const std::string whole = Connection(all, limits, true).Read([&] { return all.size(); });
  FS_CHECK(Connection(all, limits, false).Read([] { return size_t{1}; }) == whole);
  // Pieces whose sizes the bytes themselves decide.
  uint64_t random = std::hash<std::string_view>()(all);
  FS_CHECK(Connection(all, limits, false).Read([&] {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return 1 + (random >> 59);
  }) == whole);
}

}  // namespace
}  // namespace fastserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fastserve;  // NOLINT
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Fuzz(bytes, {});
  Fuzz(bytes, {.head_bytes_max = 120, .fields_max = 4, .target_bytes_max = 20});
  std::string decoded;
  if (PercentDecode(bytes, &decoded)) {
    FS_CHECK_OP(decoded.size(), <=, bytes.size());
  } else {
    FS_CHECK(decoded.empty());
  }
  return 0;
}
