#include <cctype>

#include "base/status.h"
#include "feed_three_ways.h"
#include "protocol/http1.h"

namespace fastserve {
namespace {

// What a reader makes of the pieces: "METHOD target [fields] body flags bytes", or "status
// message".
std::string Read(const Pieces& pieces, const Http1Limits& limits = {}) {
  Http1HeadReader reader(limits);
  Http1Head head;
  std::string received;
  for (std::string_view piece : pieces) {
    received += piece;
    const ExactCopy copy(received);  // At another address each time.
    switch (reader.Read(copy.view(), &head)) {
      case Http1Progress::kNeedMore:
        continue;
      case Http1Progress::kFailed:
        return StrCat(reader.error().status, " ", reader.error().message);
      case Http1Progress::kDone:
        break;
    }
    std::string said = StrCat(head.method, " ", head.target);
    for (const auto& [name, value] : head.fields) said += StrCat(" [", name, "=", value, "]");
    said += head.body == HttpBody::kNone     ? " none"
            : head.body == HttpBody::kLength ? StrCat(" length ", head.content_length)
                                             : " chunked";
    if (head.inference_header_length) said += StrCat(" json ", *head.inference_header_length);
    said += StrCat(head.keep_alive ? " keep" : " close", head.is_http10 ? " 1.0" : "",
                   head.expects_continue ? " continue" : "", " ", head.bytes);
    return said;
  }
  return std::string(kNeedsMore);
}

std::string ReadThreeWays(std::string_view message, const Http1Limits& limits = {}) {
  return FeedThreeWays(message, [&](const Pieces& pieces) { return Read(pieces, limits); });
}

// A request of HTTP/1.1 with Host and the given lines, each with its CRLF.
std::string Get(std::string_view lines) {
  return StrCat("GET / HTTP/1.1\r\nHost: a\r\n", lines, "\r\n");
}

void ExpectRefused(std::string_view message, int status, std::string_view part) {
  const std::string said = ReadThreeWays(message);
  EXPECT_TRUE(said.starts_with(StrCat(status, " "))) << message << "\n" << said;
  EXPECT_NE(said.find(part), std::string::npos) << message << "\n" << said;
}

TEST(Http1Head, ReadsARequestOfTritonclient) {
  EXPECT_EQ(ReadThreeWays("POST /v2/models/m/infer?a=%20b HTTP/1.1\r\nHost: localhost:8000\r\n"
                          "Content-Type: application/octet-stream\r\n"
                          "Inference-Header-Content-Length: 180\r\nContent-Length: 244\r\n\r\n"),
            "POST /v2/models/m/infer?a=%20b [Host=localhost:8000] "
            "[Content-Type=application/octet-stream] [Inference-Header-Content-Length=180] "
            "[Content-Length=244] length 244 json 180 keep 164");
}

TEST(Http1Head, TrimsValuesAndKeepsNamesAsWritten) {
  EXPECT_EQ(ReadThreeWays("GET / HTTP/1.1\r\nhOsT:a\r\nX-A: \t b \t c\t \r\nX-B:\r\nX-C:   \r\n"
                          "!#$%&'*+-.^_`|~: \xC3\xA9\r\n\r\n"),
            "GET / [hOsT=a] [X-A=b \t c] [X-B=] [X-C=] [!#$%&'*+-.^_`|~=\xC3\xA9] none keep 78");
}

TEST(Http1Head, FindsFieldsInAnyCaseAndTheFirstOfThem) {
  Http1HeadReader reader;
  Http1Head head;
  const std::string message = Get("X-Trace-ID: 1\r\nx-trace-id: 2\r\n");
  ASSERT_EQ(reader.Read(message, &head), Http1Progress::kDone);
  EXPECT_EQ(head.Field("x-trace-id"), "1");
  EXPECT_EQ(head.Field("x-trace"), "");
  EXPECT_EQ(head.Field("host"), "a");
}

// The same head object is used for every request of a connection.
TEST(Http1Head, ForgetsTheRequestBefore) {
  const std::string first =
      "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
      "Connection: close\r\nInference-Header-Content-Length: 3\r\n\r\n";
  const std::string messages = first + "GET /b HTTP/1.0\r\n\r\n" + Get("");
  Http1HeadReader reader;
  Http1Head head;
  ASSERT_EQ(reader.Read(messages, &head), Http1Progress::kDone);
  EXPECT_TRUE(head.expects_continue);
  size_t at = head.bytes;
  ASSERT_EQ(reader.Read(std::string_view(messages).substr(at), &head), Http1Progress::kDone);
  EXPECT_EQ(head.target, "/b");
  EXPECT_TRUE(head.fields.empty());
  EXPECT_FALSE(head.expects_continue);
  EXPECT_FALSE(head.inference_header_length);
  EXPECT_EQ(head.content_length, 0u);
  EXPECT_EQ(head.body, HttpBody::kNone);
  at += head.bytes;
  ASSERT_EQ(reader.Read(std::string_view(messages).substr(at), &head), Http1Progress::kDone);
  EXPECT_FALSE(head.is_http10);
  EXPECT_TRUE(head.keep_alive);
}

TEST(Http1Head, SkipsAFewEmptyLinesBeforeTheRequest) {
  EXPECT_EQ(ReadThreeWays("\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n"), "GET / none close 1.0 26");
  ExpectRefused("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", 400, "received empty lines");
  EXPECT_EQ(ReadThreeWays("\r\n\r"), kNeedsMore);
  ExpectRefused("\n", 400, "CR LF");
  ExpectRefused("\rG", 400, "CR LF");
}

TEST(Http1Head, TakesSchemeAndAuthorityOffAnAbsoluteTarget) {
  EXPECT_EQ(ReadThreeWays("GET HTTP://A:80/b?c HTTP/1.1\r\nHost: a:80\r\n\r\n"),
            "GET /b?c [Host=a:80] none keep 44");
  EXPECT_EQ(ReadThreeWays("GET https://a HTTP/1.1\r\nHost: a\r\n\r\n"),
            "GET / [Host=a] none keep 35");
  EXPECT_EQ(ReadThreeWays("GET http://[::1]/ HTTP/1.0\r\n\r\n"), "GET / none close 1.0 30");
  ExpectRefused("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "received 'a'");
  ExpectRefused("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "expected http://host/path");
  ExpectRefused("GET http:/// HTTP/1.1\r\nHost: \r\n\r\n", 400, "expected http://host/path");
  ExpectRefused("GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "expected http://host/path");
  ExpectRefused("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begins with '/'");
}

TEST(Http1Head, TakesAnAsteriskFromOptionsAlone) {
  EXPECT_EQ(ReadThreeWays("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
            "OPTIONS * [Host=a] none keep 31");
  ExpectRefused("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begins with '/'");
  ExpectRefused("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400, "CONNECT");
  ExpectRefused("CONNECT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 400, "CONNECT");
}

TEST(Http1Head, RefusesRequestLinesThatAreNone) {
  for (std::string_view line : {"GET",
                                "GET /",
                                "GET  HTTP/1.1",
                                "GET /  HTTP/1.1",
                                "GET  / HTTP/1.1",
                                " GET / HTTP/1.1",
                                "GET / HTTP/1.1 ",
                                "GET /a b HTTP/1.1",
                                "G(T / HTTP/1.1",
                                "GET\t/ HTTP/1.1",
                                "GET /\tHTTP/1.1",
                                "GET /#a HTTP/1.1",
                                "GET /\xC3\xA9 HTTP/1.1",
                                "GET / http/1.1",
                                "GET / HTTP/1",
                                "GET / HTTP/11",
                                "GET / HTTP/1.10",
                                "GET / HTTP/01.1",
                                "GET / HTTP/1,1",
                                "GET / XTTP/1.1",
                                "G\xC3\xA9T / HTTP/1.1",
                                " ",
                                "GET / HTTP/a.1",
                                "GET a HTTP/1.1"}) {
    ExpectRefused(StrCat(line, "\r\nHost: a\r\n\r\n"), 400, "expected ");
  }
}

TEST(Http1Head, AnswersOtherVersionsWith505) {
  for (std::string_view version : {"0.9", "1.2", "2.0", "3.0", "0.0", "9.9"}) {
    ExpectRefused(StrCat("GET / HTTP/", version, "\r\nHost: a\r\n\r\n"), 505, version);
  }
  ExpectRefused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2.0");
}

// The first byte of a TLS handshake, and whatever else is no text, is refused at once.
TEST(Http1Head, RefusesControlCharactersBeforeTheBlankLineCame) {
  ExpectRefused("\x16\x03\x01", 400, "received byte 22");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text(1, static_cast<char>(byte));
    const std::string said = ReadThreeWays(Get(StrCat("X: a", text, "b\r\n")));
    if ((byte >= 0x20 && byte != 0x7F) || byte == '\t') {
      EXPECT_TRUE(said.starts_with("GET / [Host=a] [X=a")) << byte << said;
    } else {
      EXPECT_TRUE(said.starts_with("400 head: expected ")) << byte << said;
      EXPECT_TRUE(ReadThreeWays(StrCat("GET /", text, ".")).starts_with("400 head:")) << byte;
    }
  }
}

TEST(Http1Head, TakesOnlyTokensForNames) {
  const std::string_view marks = "!#$%&'*+-.^_`|~";
  for (int byte = 0; byte < 256; ++byte) {
    const char character = static_cast<char>(byte);
    const bool is_token = (byte < 128 && std::isalnum(byte)) ||
                          (byte != 0 && marks.find(character) != std::string_view::npos);
    if (character == ':') continue;
    const std::string said = ReadThreeWays(Get(StrCat("a", std::string(1, character), "b: c\r\n")));
    EXPECT_EQ(said.starts_with("GET / "), is_token) << byte << said;
  }
}

struct Refusal {
  int status;
  std::string_view lines;
  std::string_view part;
};

// Each has been read in two ways by two servers at some time.
TEST(Http1Head, RefusesBodiesThatOthersEndElsewhere) {
  const Refusal cases[] = {
      {400, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "no Content-Length beside"},
      {400, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "no Content-Length beside"},
      {400, "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "no Content-Length beside"},
      {400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "twice"},
      {400, "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "twice"},
      {400, "Transfer-Encoding:\r\n", "expected chunked"},
      {501, "Transfer-Encoding: identity\r\n", "'identity'"},
      {501, "Transfer-Encoding: gzip, chunked\r\n", "'gzip, chunked'"},
      {501, "Transfer-Encoding: chunked, identity\r\n", "'chunked, identity'"},
      {501, "Transfer-Encoding: chunked, chunked\r\n", "'chunked, chunked'"},
      {501, "Transfer-Encoding: ,chunked\r\n", "',chunked'"},
      {501, "Transfer-Encoding: xchunked\r\n", "'xchunked'"},
      {501, "Transfer-Encoding: chunkedx\r\n", "'chunkedx'"},
      {501, "Transfer-Encoding: \"chunked\"\r\n", "expected chunked"},
      {501, "Transfer-Encoding: chunked;q=1\r\n", "expected chunked"},
      {400,
       "Transfer-Encoding: \x0B"
       "chunked\r\n",
       "received byte 11"},
      {400, "Transfer-Encoding : chunked\r\n", "expected 'name: value'"},
      {400, "Transfer-Encoding\t: chunked\r\n", "expected 'name: value'"},
      {400, "Transfer-Encoding\r\n : chunked\r\n", "expected 'name: value'"},
      {400, "Content-Length: 5\r\nContent-Length: 5\r\n", "twice"},
      {400, "Content-Length: 5\r\ncontent-length: 6\r\n", "twice"},
      {400, "Content-Length: 3, 3\r\n", "'3, 3'"},
      {400, "Content-Length: 3,3\r\n", "'3,3'"},
      {400, "Content-Length: +3\r\n", "'+3'"},
      {400, "Content-Length: -3\r\n", "'-3'"},
      {400, "Content-Length: 0x3\r\n", "'0x3'"},
      {400, "Content-Length: 3 3\r\n", "'3 3'"},
      {400, "Content-Length: 3.0\r\n", "'3.0'"},
      {400, "Content-Length: 1_0\r\n", "'1_0'"},
      {400, "Content-Length:\r\n", "''"},
      {400, "Content-Length: \xD9\xA3\r\n", "expected digits"},
      {400, "Content-Length: 18446744073709551616\r\n", "below 2^64"},
      {400, "Content-Length: 99999999999999999999999\r\n", "below 2^64"},
  };
  for (const auto& [status, lines, part] : cases) ExpectRefused(Get(lines), status, part);
}

TEST(Http1Head, RefusesLinesThatOthersReadDifferently) {
  const Refusal cases[] = {
      {400, "Content-Length : 5\r\n", "expected 'name: value'"},
      {400, " Content-Length: 5\r\n", "must not begin with white space"},
      {400, "X: a\r\n b\r\n", "must not begin with white space"},
      {400, "X: a\r\n\tContent-Length: 5\r\n", "must not begin with white space"},
      {400, "X: a\r\n \r\n", "must not begin with white space"},
      {400, "X: a\nContent-Length: 5\r\n", "CR LF"},
      {400, "X: a\rContent-Length: 5\r\n", "CR LF"},
      {400, "X: a\r\r\n", "CR LF"},
      {400, "X: a\n\r\n", "CR LF"},
      {400, "X\r\n", "expected 'name: value'"},
      {400, ": a\r\n", "expected 'name: value'"},
      {400, "X Y: a\r\n", "expected 'name: value'"},
      {400, "Connection: a b\r\n", "expected a list of tokens"},
      {400, "Host: a\r\n", "Host: expected once"},
      {400, "HOST: b\r\n", "Host: expected once"},
  };
  for (const auto& [status, lines, part] : cases) ExpectRefused(Get(lines), status, part);
}

// Where the JSON part ends is no matter of framing: the connection can go on after the answer.
TEST(Http1Head, MarksAnInferenceHeaderLengthThatIsNotOneNumber) {
  for (std::string_view value : {"5, 5", "-1", "", "+5", "0x10", "18446744073709551616"}) {
    Http1HeadReader reader;
    Http1Head head;
    const std::string text = Get(StrCat("Inference-Header-Content-Length: ", value, "\r\n"));
    ASSERT_EQ(reader.Read(text, &head), Http1Progress::kDone) << value;
    EXPECT_FALSE(head.inference_header_is_valid) << value;
    ASSERT_EQ(reader.Read(Get("Inference-Header-Content-Length: 5\r\n"), &head),
              Http1Progress::kDone);
    EXPECT_TRUE(head.inference_header_is_valid);
  }
  Http1HeadReader reader;
  Http1Head head;
  const std::string twice =
      Get("Inference-Header-Content-Length: 5\r\nInference-Header-Content-Length: 5\r\n");
  ASSERT_EQ(reader.Read(twice, &head), Http1Progress::kDone);
  EXPECT_FALSE(head.inference_header_is_valid);
}

TEST(Http1Head, WantsHostOnceInHttp11) {
  ExpectRefused("GET / HTTP/1.1\r\n\r\n", 400, "Host: expected in a request of HTTP/1.1");
  ExpectRefused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, "Host: expected once");
  for (std::string_view host : {"a b", "a/b", "a@b", "a\"", "<a>", "a\\b", "a?b", "\xC3\xA9"}) {
    ExpectRefused(StrCat("GET / HTTP/1.1\r\nHost: ", host, "\r\n\r\n"), 400,
                  "Host: expected a host and a port");
  }
  for (std::string_view host : {"", "a.b-c_d:80", "[::1]:8000", "%41!$&'()*+,;=~"}) {
    EXPECT_TRUE(
        ReadThreeWays(StrCat("GET / HTTP/1.1\r\nHost: ", host, "\r\n\r\n")).starts_with("GET / "));
  }
}

TEST(Http1Head, DecidesWhatBodyFollows) {
  EXPECT_EQ(ReadThreeWays(Get("Content-Length: 0\r\n")),
            "GET / [Host=a] [Content-Length=0] none keep 46");
  EXPECT_EQ(ReadThreeWays(Get("Content-Length: 18446744073709551615\r\n")),
            "GET / [Host=a] [Content-Length=18446744073709551615] length 18446744073709551615 "
            "keep 65");
  EXPECT_EQ(ReadThreeWays(Get("Transfer-Encoding: ChunkeD \r\n")),
            "GET / [Host=a] [Transfer-Encoding=ChunkeD] chunked keep 56");
  ExpectRefused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.0");
}

TEST(Http1Head, KeepsTheConnectionUnlessToldOtherwise) {
  const std::pair<std::string_view, bool> cases[] = {
      {"", true},
      {"Connection: close\r\n", false},
      {"Connection: CLOSE\r\n", false},
      {"Connection: keep-alive\r\n", true},
      {"Connection: a,close ,b\r\n", false},
      {"Connection: keep-alive, close\r\n", false},
      {"Connection: close\r\nConnection: keep-alive\r\n", false},
      {"Connection: closed\r\n", true},
      {"Connection: ,, ,\r\n", true},
      {"Connection: Upgrade\r\nUpgrade: h2c\r\n", true}};
  for (const auto& [lines, keeps] : cases) {
    EXPECT_EQ(ReadThreeWays(Get(lines)).find(" none keep ") != std::string::npos, keeps) << lines;
  }
  EXPECT_EQ(ReadThreeWays("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
            "GET / [Connection=Keep-Alive] none keep 1.0 42");
  EXPECT_EQ(ReadThreeWays("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"),
            "GET / [Connection=keep-alive, close] none close 1.0 49");
}

TEST(Http1Head, KnowsOneExpectation) {
  EXPECT_EQ(ReadThreeWays(Get("Expect: 100-Continue\r\nContent-Length: 1\r\n")),
            "GET / [Host=a] [Expect=100-Continue] [Content-Length=1] length 1 keep continue 68");
  EXPECT_EQ(ReadThreeWays("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"),
            "GET / [Expect=100-continue] none close 1.0 40");
  ExpectRefused(Get("Expect: 200-ok\r\n"), 417, "'200-ok'");
  ExpectRefused(Get("Expect:\r\n"), 417, "expected 100-continue");
  ExpectRefused(Get("Expect: 100-continue, x\r\n"), 417, "expected 100-continue");
}

// Each limit, exactly reached and exceeded by one.
TEST(Http1Head, LimitsTheHead) {
  const std::string message = Get("X: 0123456789\r\n");
  EXPECT_TRUE(ReadThreeWays(message, {.head_bytes_max = message.size()}).starts_with("GET / "));
  EXPECT_EQ(ReadThreeWays(message, {.head_bytes_max = message.size() - 1}),
            StrCat("431 head: expected at most ", message.size() - 1, " bytes"));
  // Known before the blank line came; empty lines count, or they would fill the buffer for ever.
  const std::string endless = message.substr(0, 30);
  EXPECT_EQ(ReadThreeWays(endless, {.head_bytes_max = 31}), kNeedsMore);
  EXPECT_EQ(ReadThreeWays(endless, {.head_bytes_max = 30}), "431 head: expected at most 30 bytes");
  EXPECT_EQ(ReadThreeWays("\r\n\r\n" + message, {.head_bytes_max = message.size() + 3}),
            StrCat("431 head: expected at most ", message.size() + 3, " bytes"));
}

TEST(Http1Head, LimitsTheTarget) {
  const auto read = [](size_t bytes, size_t head_bytes_max) {
    const std::string message = StrCat("GET /", std::string(bytes - 1, 'a'), " HTTP/1.0\r\n\r\n");
    return ReadThreeWays(message, {.head_bytes_max = head_bytes_max, .target_bytes_max = 30});
  };
  EXPECT_TRUE(read(30, 1000).starts_with("GET /aaa"));
  EXPECT_EQ(read(31, 1000), "414 request target: expected at most 30 bytes, received 31");
  // The head is too large because of its target.
  EXPECT_EQ(read(100, 50), "414 request target: expected at most 30 bytes, received more");
  EXPECT_EQ(ReadThreeWays(std::string(60, 'a'), {.head_bytes_max = 50, .target_bytes_max = 30}),
            "431 head: expected at most 50 bytes");
}

TEST(Http1Head, LimitsTheFields) {
  const Http1Limits limits{.fields_max = 3};
  EXPECT_TRUE(ReadThreeWays(Get("A: 1\r\nB: 2\r\n"), limits).starts_with("GET / "));
  EXPECT_EQ(ReadThreeWays(Get("A: 1\r\nB: 2\r\nC: 3\r\n"), limits),
            "431 head: expected at most 3 header fields");
}

TEST(Http1Head, ShortensALongLineInItsMessage) {
  const std::string said = Read({StrCat("GET /", std::string(5000, 'a'), "\r\nHost: a\r\n\r\n")});
  EXPECT_NE(said.find("aaa...'"), std::string::npos);
  EXPECT_LT(said.size(), 200u);
}

TEST(Http1Head, AsksForMoreOfEveryPrefix) {
  const std::string message = Get("Content-Length: 5\r\n");
  for (size_t size = 0; size < message.size(); ++size) {
    EXPECT_EQ(Read({message.substr(0, size)}), kNeedsMore) << size;
  }
}

TEST(Http1Head, ReadsTheNextRequestAfterAFailure) {
  Http1HeadReader reader;
  Http1Head head;
  EXPECT_EQ(reader.Read(std::string(300, 'a') + "\n", &head), Http1Progress::kFailed);
  EXPECT_EQ(reader.Read(Get(""), &head), Http1Progress::kDone);
}

}  // namespace
}  // namespace fastserve
