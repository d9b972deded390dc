// Heads that were written are read back: what we send, the strictest reader we know understands.
#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/feed_three_ways.h"
#include "protocol/http1.h"
#include "protocol/http1_response.h"

namespace fastserve {
namespace {

// A response with its fields, written as a request's head: all but the first line is the same.
std::string AsRequest(std::string_view response) {
  return StrCat("POST / HTTP/1.1\r\nHost: a", response.substr(response.find('\r')));
}

// The fields of a head but Host, and where its body ends; or the refusal.
std::string ReadFields(const Pieces& pieces) {
  Http1HeadReader reader;
  Http1Head head;
  std::string received;
  for (std::string_view piece : pieces) {
    received += piece;
    switch (reader.Read(received, &head)) {
      case Http1Progress::kNeedMore:
        continue;
      case Http1Progress::kFailed:
        return reader.error().message;
      case Http1Progress::kDone:
        break;
    }
    std::string said;
    for (const HttpField& field : std::span(head.fields).subspan(1)) {
      said += StrCat(field.name, "=", field.value, ";");
    }
    return said + StrCat(" body ", static_cast<int>(head.body), " of ", head.content_length,
                         head.keep_alive ? " stays" : " closes", " at ", head.bytes);
  }
  return std::string(kNeedsMore);
}

class Draw {
 public:
  explicit Draw(uint32_t seed) : random_(seed) {}
  uint32_t Below(uint32_t end) { return random_() % end; }
  // Any bytes, those that end a line more often than others.
  std::string Text() {
    constexpr std::string_view kBytes = "ab:, \t\r\n\0\x7F\xE9";
    std::string text;
    for (uint32_t i = Below(8); i > 0; --i) text += kBytes[Below(kBytes.size())];
    return text;
  }

 private:
  std::mt19937 random_;
};

TEST(Http1ResponseReadBack, SaysToAReaderWhatWasWritten) {
  for (uint32_t seed = 1; seed <= 300 && !HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Draw draw(seed);
    Http1ResponseHead head;
    head.status = static_cast<int>(200 + draw.Below(300));
    if (head.status == 204) continue;
    head.chunked = draw.Below(3) == 0;
    if (!head.chunked) head.content_length = draw.Below(2) == 0 ? draw.Below(1000) : UINT64_MAX;
    head.keep_alive = draw.Below(2) == 0;
    if (draw.Below(2) == 0) head.content_type = "application/json";
    if (draw.Below(2) == 0) head.inference_header_length = draw.Below(1000);
    if (draw.Below(2) == 0) head.retry_after_s = draw.Below(100);
    // Of what others want to send only what is safe is sent.
    std::deque<std::string> texts;
    std::vector<HttpHeader> extra;
    for (uint32_t i = draw.Below(4); i > 0; --i) {
      const std::string_view name = texts.emplace_back("X-" + draw.Text());
      const HttpHeader field{name, texts.emplace_back(draw.Text())};
      if (HeaderIsSafe(field)) extra.push_back(field);
    }
    head.extra = extra;
    ByteWriter out;
    AppendHttp1Head(head, &out);

    const std::string request = AsRequest(out.view());
    const std::string said = FeedThreeWays(request, ReadFields);
    const int body = head.chunked ? 2 : head.content_length > 0 ? 1 : 0;
    const uint64_t length = head.chunked ? 0 : head.content_length;
    EXPECT_TRUE(
        said.ends_with(StrCat(" body ", body, " of ", length,
                              head.keep_alive ? " stays" : " closes", " at ", request.size())))
        << said;
    // As many fields as were written: none was split in two, none swallowed.
    const auto lines = std::ranges::count(out.view(), '\n') - 2;
    EXPECT_EQ(std::ranges::count(said, '='), lines) << said;
  }
}

}  // namespace
}  // namespace fastserve
