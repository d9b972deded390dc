#include "protocol/http1_response.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "protocol/http1.h"

namespace fastserve {
namespace {

std::string Write(const Http1ResponseHead& head) {
  ByteWriter out;
  AppendHttp1Head(head, &out);
  return std::string(out.view());
}

TEST(Http1Response, WritesTheHeadOfAnAnswer) {
  EXPECT_EQ(Write({.content_length = 12, .content_type = "application/json"}),
            "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Type: application/json\r\n\r\n");
  EXPECT_EQ(Write({}), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

TEST(Http1Response, WritesEveryFieldInFullLength) {
  const HttpHeader extra[] = {{"X-A", "b"}, {"Set-Cookie", ""}, {"X-Long", {}}};
  EXPECT_EQ(Write({.status = 431,
                   .content_length = UINT64_MAX,
                   .keep_alive = false,
                   .content_type = "application/octet-stream",
                   .inference_header_length = UINT64_MAX,
                   .retry_after_s = UINT32_MAX,
                   .extra = extra}),
            "HTTP/1.1 431 Request Header Fields Too Large\r\n"
            "Content-Length: 18446744073709551615\r\nContent-Type: application/octet-stream\r\n"
            "Inference-Header-Content-Length: 18446744073709551615\r\nRetry-After: 4294967295\r\n"
            "Connection: close\r\nX-A: b\r\nSet-Cookie: \r\nX-Long: \r\n\r\n");
}

TEST(Http1Response, TellsAnOldClientThatTheConnectionStaysOpen) {
  EXPECT_EQ(Write({.is_http10 = true}),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(Write({.keep_alive = false, .is_http10 = true}),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

TEST(Http1Response, LeavesLengthOutWhereThereIsNoBody) {
  EXPECT_EQ(Write({.status = 204}), "HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(Write({.status = 100}), kHttp1Continue);
}

// What is written in chunks is read as one body.
TEST(Http1Response, WritesChunksThatTheReaderPutsTogether) {
  EXPECT_EQ(Write({.chunked = true, .content_type = "text/event-stream"}),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
            "Content-Type: text/event-stream\r\n\r\n");
  const std::string pieces[] = {"a", std::string(15, 'b'), std::string(16, 'c'), "",
                                std::string(70'000, 'd')};
  ByteWriter out;
  std::string expected;
  for (const std::string& piece : pieces) {
    AppendChunk(piece, &out);
    expected += piece;
  }
  EXPECT_TRUE(out.view().starts_with("1\r\na\r\nf\r\nb"));
  out.Append(kHttp1LastChunk);
  ChunkedReader reader;
  reader.Reset(1 << 20);
  std::string body;
  std::string_view left = out.view();
  while (true) {
    const ChunkedReader::Step step = reader.Read(left);
    body += step.data;
    left.remove_prefix(step.consumed);
    if (step.progress == Http1Progress::kDone) break;
    ASSERT_EQ(step.progress, Http1Progress::kNeedMore) << reader.error().message;
  }
  EXPECT_TRUE(left.empty());
  EXPECT_EQ(body, expected);
}

// HTTP/1.0 has no chunks, so the body ends with the connection.
TEST(Http1Response, ClosesAfterAnAnswerOfUnknownLengthToAnOldClient) {
  EXPECT_EQ(Write({.chunked = true, .is_http10 = true}),
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
}

TEST(Http1Response, WritesDatesAsTheStandardDoes) {
  const auto text = [](int64_t seconds) {
    const HttpDate date = FormatHttpDate(seconds);
    return std::string(date.data(), date.size());
  };
  EXPECT_EQ(text(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");  // RFC 9110, 5.6.7.
  EXPECT_EQ(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(text(1709164799), "Wed, 28 Feb 2024 23:59:59 GMT");
  EXPECT_EQ(text(1709164800), "Thu, 29 Feb 2024 00:00:00 GMT");
  EXPECT_EQ(text(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT");
  EXPECT_EQ(Write({.date = "D"}), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: D\r\n\r\n");
}

TEST(Http1Response, AppendsToWhatIsThere) {
  ByteWriter out;
  out.Append(std::string(500, 'x'));
  const std::string value(5000, 'v');
  const HttpHeader extra{"X", value};
  AppendHttp1Head({.extra = {&extra, 1}}, &out);
  EXPECT_EQ(out.view().substr(500),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + value + "\r\n\r\n");
}

TEST(Http1Response, HasAPhraseForEveryStatusThatIsSent) {
  EXPECT_EQ(ReasonPhrase(404), "Not Found");
  EXPECT_EQ(ReasonPhrase(100), "Continue");
  EXPECT_EQ(ReasonPhrase(505), "HTTP Version Not Supported");
  for (int status : {99, 101 + 98, 299, 499, 506, 0, -1}) EXPECT_EQ(ReasonPhrase(status), "");
  EXPECT_TRUE(Write({.status = 499}).starts_with("HTTP/1.1 499 \r\n"));
  for (int code = 0; code <= 16; ++code) {
    const int status = HttpStatusOf(static_cast<Code>(code));
    if (status == 499) continue;
    EXPECT_NE(ReasonPhrase(status), "") << status;
  }
}

// As python/fastserve/errors.py; a test of the binding compares the two.
TEST(Http1Response, MapsCodesToStatuses) {
  const int expected[] = {200, 499, 500, 400, 504, 404, 400, 403, 429,
                          400, 409, 400, 501, 500, 503, 500, 401};
  for (int code = 0; code <= 16; ++code) {
    EXPECT_EQ(HttpStatusOf(static_cast<Code>(code)), expected[code]) << code;
  }
}

TEST(Http1Response, KnowsWhichFieldsAreSafe) {
  EXPECT_TRUE(HeaderIsSafe({"X-A", "b\t\xC3\xA9"}));
  EXPECT_TRUE(HeaderIsSafe({"X", ""}));
  for (std::string_view name : {"", "X A", "X:", "X\r\n", "\xC3\xA9", "Content-Length",
                                "CONNECTION", "transfer-encoding"}) {
    EXPECT_FALSE(HeaderIsSafe({name, "a"})) << name;
  }
  for (std::string_view value :
       {std::string_view("a\r\nB: c"), std::string_view("a\rb"), std::string_view("a\nb"),
        std::string_view("a\0b", 3), std::string_view("\x7f"), std::string_view("\x1b[0m")}) {
    EXPECT_FALSE(HeaderIsSafe({"X", value})) << value;
  }
}

}  // namespace
}  // namespace fastserve
