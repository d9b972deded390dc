// Answers as the control plane may want them. An input is a status, flags, and texts behind their
// lengths: names and values of fields in turn; the last one is the body.
//
// Oracle: Boost.Beast's parser reads what was written: the status, each field that is safe to send
// and no other, and the body, which ends where the answer ends.
#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "protocol/http1.h"
#include "protocol/http1_response.h"

namespace fastserve {
namespace {

namespace http = boost::beast::http;
using BeastError = boost::beast::error_code;
using BeastView = boost::beast::string_view;

std::string_view View(BeastView text) { return {text.data(), text.size()}; }

// Notes what Beast finds.
class BeastParser final : public http::basic_parser<false> {
 public:
  int status = 0;
  std::vector<HttpHeader> fields;
  std::string body;

 private:
  void on_request_impl(http::verb, BeastView, BeastView, int, BeastError&) override {}
  void on_response_impl(int code, BeastView, int, BeastError&) override { status = code; }
  void on_field_impl(http::field, BeastView name, BeastView value, BeastError&) override {
    fields.push_back({View(name), View(value)});
  }
  void on_header_impl(BeastError&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, BeastError&) override {}
  std::size_t on_body_impl(BeastView text, BeastError&) override {
    body += View(text);
    return text.size();
  }
  void on_chunk_header_impl(std::uint64_t, BeastView, BeastError&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastView text, BeastError& error) override {
    return on_body_impl(text, error);
  }
  void on_finish_impl(BeastError&) override {}
};

std::string_view Trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

void CheckReadBack(const Http1ResponseHead& head, std::string_view body, std::string_view sent) {
  BeastParser beast;
  beast.header_limit(UINT32_MAX);
  beast.body_limit(UINT64_MAX);
  beast.eager(true);
  BeastError error;
  size_t used = 0;
  while (!beast.is_done() && !error && used < sent.size()) {
    used += beast.put({sent.data() + used, sent.size() - used}, error);
  }
  FS_CHECK(!error && beast.is_done());
  FS_CHECK_OP(used, ==, sent.size());
  FS_CHECK_OP(beast.status, ==, head.status);
  FS_CHECK_OP(beast.keep_alive(), ==, head.keep_alive);
  FS_CHECK(beast.body == body);
  // Those of others come last, in their order.
  FS_CHECK_OP(beast.fields.size(), >=, head.extra.size());
  const size_t own = beast.fields.size() - head.extra.size();
  FS_CHECK_OP(own, <=, size_t{5});
  for (size_t i = 0; i < head.extra.size(); ++i) {
    FS_CHECK(beast.fields[own + i].name == head.extra[i].name);
    FS_CHECK(beast.fields[own + i].value == Trimmed(head.extra[i].value));
  }
}

// A text behind its length.
std::string_view TakeText(std::string_view* input) {
  if (input->empty()) return {};
  const size_t length = static_cast<uint8_t>((*input)[0]);
  const std::string_view text = input->substr(1, length);
  input->remove_prefix(1 + text.size());
  return text;
}

void Fuzz(std::string_view input) {
  Http1ResponseHead head;
  head.status = 200 + static_cast<uint8_t>(input[0]);
  const auto flags = static_cast<uint8_t>(input[1]);
  input.remove_prefix(2);
  head.keep_alive = (flags & 1) != 0;
  head.chunked = (flags & 2) != 0;
  if ((flags & 4) != 0) head.content_type = "application/json";
  if ((flags & 8) != 0) head.inference_header_length = flags;
  if ((flags & 16) != 0) head.retry_after_s = flags;
  std::vector<HttpHeader> extra;
  std::string_view text = TakeText(&input);
  while (!input.empty()) {
    const HttpHeader field{text, TakeText(&input)};
    text = TakeText(&input);
    // Beast takes this old one for Connection, and wants a list of tokens in it.
    if (HeaderIsSafe(field) && !EqualsIgnoringCase(field.name, "proxy-connection")) {
      extra.push_back(field);
    }
  }
  head.extra = extra;
  const bool has_body = head.status != 204 && head.status != 304;
  const std::string_view body = has_body ? text : std::string_view();
  head.chunked = head.chunked && has_body;
  head.content_length = body.size();
  ByteWriter out;
  AppendHttp1Head(head, &out);
  if (head.chunked) {
    AppendChunk(body.substr(0, body.size() / 3), &out);
    AppendChunk(body.substr(body.size() / 3), &out);
    out.Append(kHttp1LastChunk);
  } else {
    out.Append(body);
  }
  CheckReadBack(head, body, out.view());
}

}  // namespace
}  // namespace fastserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size >= 2) fastserve::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
