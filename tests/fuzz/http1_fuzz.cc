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

// Reads requests until the bytes end, a request is broken or wants its body's bytes; what
// `next_size` says of the bytes that have arrived so far arrives next.
template <typename NextSize>
std::string ReadConnection(std::string_view all, const Http1Limits& limits, bool compare,
                           NextSize&& next_size) {
  std::string said;
  Http1HeadReader reader(limits);
  ChunkedReader chunks;
  Http1Head head;
  std::string body;
  size_t begin = 0, arrived = 0, chunks_at = 0;
  const char* request = nullptr;
  bool in_body = false;
  while (true) {
    const std::string_view received = all.substr(begin, arrived - begin);
    if (!in_body) {
      const Http1Progress progress = reader.Read(received, &head);
      if (progress == Http1Progress::kFailed) {
        return said + StrCat(reader.error().status, " ", reader.error().message);
      }
      if (progress == Http1Progress::kDone) {
        FS_CHECK_OP(head.bytes, <=, received.size());
        FS_CHECK_OP(head.bytes, <=, limits.head_bytes_max);
        FS_CHECK_OP(head.fields.size(), <=, limits.fields_max);
        CheckInside(head.method, received.substr(0, head.bytes));
        CheckInside(head.target, received.substr(0, head.bytes));
        for (const auto& [name, value] : head.fields) {
          CheckInside(name, received.substr(0, head.bytes));
          CheckInside(value, received.substr(0, head.bytes));
          said += StrCat(name, "=", value, ";");
        }
        said += StrCat(head.method, head.target, head.keep_alive, head.expects_continue,
                       head.is_http10, head.content_length, " ", head.bytes, "\n");
        request = head.method.data();
        if (compare) CompareHead(head, {request, received.data() + received.size()});
        if (head.body == HttpBody::kLength) return said + "length";
        in_body = head.body == HttpBody::kChunked;
        if (!in_body) {
          begin += head.bytes;
          continue;
        }
        chunks.Reset(limits.head_bytes_max, limits.fields_max);
        body.clear();
        chunks_at = begin + head.bytes;
      }
    }
    if (in_body) {
      const std::string_view left = all.substr(chunks_at, arrived - chunks_at);
      const ChunkedReader::Step step = chunks.Read(left);
      FS_CHECK_OP(step.consumed, <=, left.size());
      CheckInside(step.data, left.substr(0, step.consumed));
      body += step.data;
      chunks_at += step.consumed;
      if (step.progress == Http1Progress::kFailed) {
        return said + body + StrCat(chunks.error().status, " ", chunks.error().message);
      }
      if (step.progress == Http1Progress::kDone) {
        said += StrCat(body, " at ", chunks_at, "\n");
        if (compare) CompareBody({request, all.data() + chunks_at}, body);
        begin = chunks_at;
        in_body = false;
        continue;
      }
      FS_CHECK(step.consumed > 0 || left.empty());
      if (step.consumed < left.size()) continue;
    }
    if (arrived == all.size()) return said + (in_body ? body : "") + "needs more";
    arrived = std::min(all.size(), arrived + next_size());
  }
}

void Fuzz(std::string_view data, const Http1Limits& limits) {
  // Of exactly its size, so that AddressSanitizer sees a byte too many.
  const std::unique_ptr<char[]> copy(new char[data.size()]);
  if (!data.empty()) std::memcpy(copy.get(), data.data(), data.size());
  const std::string_view all(copy.get(), data.size());
  const std::string whole = ReadConnection(all, limits, true, [&] { return all.size(); });
  FS_CHECK(ReadConnection(all, limits, false, [] { return size_t{1}; }) == whole);
  // Pieces whose sizes the bytes themselves decide.
  uint64_t random = std::hash<std::string_view>()(all);
  FS_CHECK(ReadConnection(all, limits, false, [&] {
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
