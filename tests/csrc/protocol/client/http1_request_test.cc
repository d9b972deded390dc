#include "protocol/client/http1_request.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "protocol/http1.h"

namespace fastserve {
namespace {

std::string Write(const Http1RequestHead& head) {
  ByteWriter out;
  const Status status = AppendHttp1RequestHead(head, &out);
  if (!status.ok()) {
    EXPECT_EQ(out.size(), 0u);
    return status.message();
  }
  return std::string(out.view());
}

TEST(Http1Request, IsReadByTheServersReader) {
  const std::vector<HttpHeader> extra = {{"Authorization", "Bearer a b"}};
  const std::string text = Write({.method = "POST",
                                  .target = "/v2/models/a%20b/infer",
                                  .authority = "[::1]:8000",
                                  .content_type = "application/json",
                                  .content_length = 7,
                                  .inference_header_length = 5,
                                  .inference_timeout_ms = 100,
                                  .extra = extra});
  Http1HeadReader reader;
  Http1Head head;
  ASSERT_EQ(reader.Read(text, &head), Http1Progress::kDone) << reader.error().message;
  EXPECT_EQ(head.bytes, text.size());
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/v2/models/a%20b/infer");
  EXPECT_EQ(head.Field("host"), "[::1]:8000");
  EXPECT_EQ(head.Field("content-type"), "application/json");
  EXPECT_EQ(head.Field("authorization"), "Bearer a b");
  EXPECT_EQ(head.content_length, 7u);
  EXPECT_EQ(head.inference_header_length, 5u);
  EXPECT_EQ(head.inference_timeout_ms, 100u);
  EXPECT_TRUE(head.keep_alive);
}

TEST(Http1Request, LeavesOutWhatIsNotSaid) {
  EXPECT_EQ(Write({.authority = "a"}), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

TEST(Http1Request, NothingEndsALineEarly) {
  const auto with_field = [](HttpHeader field) {
    return Write({.authority = "a", .extra = {&field, 1}});
  };
  for (const HttpHeader& field : std::vector<HttpHeader>{{"A", "b\r\nC: d"},
                                                         {"A\r\nB", "c"},
                                                         {"", "c"},
                                                         {"A B", "c"},
                                                         {"Host", "b"},
                                                         {"content-length", "1"},
                                                         {"Transfer-Encoding", "chunked"},
                                                         {"Connection", "close"},
                                                         {"Expect", "100-continue"}}) {
    EXPECT_TRUE(with_field(field).starts_with("header '")) << field.name;
  }
  EXPECT_TRUE(Write({.target = "/a b", .authority = "a"}).starts_with("target '/a b'"));
  EXPECT_TRUE(Write({.target = "/a\r\n", .authority = "a"}).starts_with("target '"));
  EXPECT_TRUE(Write({.target = "a", .authority = "a"}).starts_with("target 'a'"));
  EXPECT_TRUE(Write({.authority = "a\r\nB: c"}).starts_with("authority '"));
  EXPECT_TRUE(Write({.authority = ""}).starts_with("authority '"));
  EXPECT_TRUE(Write({.method = "G T", .authority = "a"}).starts_with("method '"));
}

}  // namespace
}  // namespace fastserve
