#include "protocol/client/http1_response_reader.h"

#include "base/status.h"
#include "protocol/feed_three_ways.h"

namespace fastserve {
namespace {

constexpr size_t kHeadBytesMax = 200;

std::string Describe(const Http1Answer& answer) {
  constexpr std::string_view kBodies[] = {"none", "length", "chunked", "until end"};
  std::string said = StrCat(answer.status, " ", kBodies[static_cast<int>(answer.body)], " ",
                            answer.content_length, " head ", answer.bytes);
  if (answer.inference_header_length) said += StrCat(" json ", *answer.inference_header_length);
  if (!answer.keep_alive) said += " close";
  for (const HttpField& field : answer.fields) said += StrCat("; ", field.name, "=", field.value);
  return said;
}

std::string ReadPieces(const Pieces& pieces) {
  Http1ResponseReader reader({.head_bytes_max = kHeadBytesMax, .fields_max = 4});
  Http1Answer answer;
  std::string received;
  for (const std::string_view piece : pieces) {
    received += piece;
    const ExactCopy copy(received);
    switch (reader.Read(copy.view(), &answer)) {
      case Http1Progress::kDone:
        return Describe(answer);
      case Http1Progress::kFailed:
        return StrCat("refused: ", reader.error());
      case Http1Progress::kNeedMore:
        break;
    }
  }
  return std::string(kNeedsMore);
}

std::string ReadThreeWays(std::string_view text) { return FeedThreeWays(text, ReadPieces); }

TEST(Http1ResponseReader, ReadsHeads) {
  EXPECT_EQ(ReadThreeWays("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA:  b \r\n\r\n"),
            "200 length 5 head 46; Content-Length=5; A=b");
  EXPECT_EQ(ReadThreeWays("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n"),
            "200 none 0 head 35; content-length=0");
  EXPECT_EQ(ReadThreeWays("HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n\r\n"),
            "200 chunked 0 head 45; Transfer-Encoding=Chunked");
  EXPECT_EQ(ReadThreeWays("HTTP/1.1 204 No Content\r\n\r\n"), "204 none 0 head 27");
  EXPECT_EQ(ReadThreeWays("HTTP/1.1 100 Continue\r\n\r\n"), "100 none 0 head 25");
  EXPECT_EQ(ReadThreeWays("HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 7\r\n"
                          "Content-Length: 9\r\n\r\n"),
            "200 length 9 head 74 json 7; Inference-Header-Content-Length=7; Content-Length=9");
}

TEST(Http1ResponseReader, KnowsWhenTheConnectionEnds) {
  EXPECT_EQ(ReadThreeWays("HTTP/1.1 200 OK\r\n\r\n"), "200 until end 0 head 19 close");
  EXPECT_EQ(ReadThreeWays("HTTP/1.1 204 OK\r\nConnection: a, Close\r\n\r\n"),
            "204 none 0 head 41 close; Connection=a, Close");
  EXPECT_EQ(ReadThreeWays("HTTP/1.0 204 OK\r\n\r\n"), "204 none 0 head 19 close");
  EXPECT_EQ(ReadThreeWays("HTTP/1.0 204 OK\r\nConnection: keep-alive\r\n\r\n"),
            "204 none 0 head 43; Connection=keep-alive");
}

TEST(Http1ResponseReader, RefusesWhatTwoReadersCouldReadInTwoWays) {
  const auto refused = [](std::string_view text, std::string_view why) {
    const std::string said = ReadThreeWays(text);
    EXPECT_TRUE(said.starts_with("refused: ")) << text << said;
    EXPECT_NE(said.find(why), std::string::npos) << said;
  };
  constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\n";
  refused(StrCat(kOk, "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
          "Content-Length beside Transfer-Encoding");
  refused(StrCat(kOk, "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), "expected one number");
  refused(StrCat(kOk, "Content-Length: +1\r\n\r\n"), "expected one number, received '+1'");
  refused(StrCat(kOk, "Content-Length: 18446744073709551616\r\n\r\n"), "expected one number");
  refused(StrCat(kOk, "Transfer-Encoding: gzip, chunked\r\n\r\n"), "expected chunked");
  refused(StrCat(kOk, "A\nB: c\r\n\r\n"), "a control character");
  refused(StrCat(kOk, "A : b\r\n\r\n"), "expected 'name: value'");
  refused(StrCat(kOk, " folded: b\r\n\r\n"), "expected 'name: value'");
  refused(StrCat(kOk, "Inference-Header-Content-Length: x\r\n\r\n"), "expected digits");
  refused("HTTP/1.1 99 OK\r\n\r\n", "expected HTTP/1.1 and a status");
  refused("HTTP/1.1 2000 OK\r\n\r\n", "expected HTTP/1.1 and a status");
  refused("HTTP/2 200\r\n\r\n", "expected an answer of HTTP/1.1");
  refused(StrCat(kOk, "A: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\n\r\n"), "more than 4 header fields");
  refused(StrCat(kOk, "A: ", std::string(kHeadBytesMax, 'x'), "\r\n\r\n"), "more than 200 bytes");
}

TEST(Http1ResponseReader, SaysAtOnceWhatIsNoHttp) {
  EXPECT_EQ(ReadPieces({"S"}), "refused: expected an answer of HTTP/1.1, received 'S'");
  EXPECT_EQ(ReadPieces({"HTTP/1"}), kNeedsMore);
}

TEST(Http1ResponseReader, IsReadyForTheNextAnswer) {
  Http1ResponseReader reader;
  Http1Answer answer;
  EXPECT_EQ(reader.Read("HTTP/1.1 204 OK\r\nA: b\r\n\r\n", &answer), Http1Progress::kDone);
  EXPECT_EQ(answer.Field("a"), "b");
  EXPECT_EQ(reader.Read("HTTP/1.1 304 OK\r\n\r\n", &answer), Http1Progress::kDone);
  EXPECT_EQ(answer.status, 304);
  EXPECT_EQ(answer.Field("a"), "");
}

}  // namespace
}  // namespace fastserve
