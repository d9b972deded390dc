#include "base/status.h"
#include "feed_three_ways.h"
#include "protocol/http1.h"

namespace fastserve {
namespace {

constexpr size_t kSideBytesMax = 20;

// What a reader makes of the pieces: "'data' used N", or "status message". Each piece is memory of
// its own.
std::string Read(const Pieces& pieces, uint64_t body_bytes_max = 100) {
  ChunkedReader reader;
  reader.Reset(body_bytes_max, kSideBytesMax);
  std::string body;
  size_t used = 0;
  for (std::string_view piece : pieces) {
    const ExactCopy copy(piece);
    for (std::string_view left = copy.view(); !left.empty();) {
      const ChunkedReader::Step step = reader.Read(left);
      EXPECT_LE(step.consumed, left.size());
      if (!step.data.empty()) {
        EXPECT_GE(step.data.data(), left.data());
        EXPECT_EQ(step.data.data() + step.data.size(), left.data() + step.consumed);
      }
      body += step.data;
      used += step.consumed;
      left.remove_prefix(step.consumed);
      if (step.progress == Http1Progress::kDone) return StrCat("'", body, "' used ", used);
      if (step.progress == Http1Progress::kFailed) {
        return StrCat(reader.error().status, " ", reader.error().message);
      }
      EXPECT_GT(step.consumed, 0u);
    }
  }
  return std::string(kNeedsMore);
}

std::string ReadThreeWays(std::string_view message, uint64_t body_bytes_max = 100) {
  return FeedThreeWays(message, [&](const Pieces& pieces) { return Read(pieces, body_bytes_max); });
}

void ExpectRefused(std::string_view message, int status, std::string_view part) {
  const std::string said = ReadThreeWays(message);
  EXPECT_TRUE(said.starts_with(StrCat(status, " chunked body: expected "))) << message << said;
  EXPECT_NE(said.find(part), std::string::npos) << message << "\n" << said;
}

TEST(ChunkedReader, PutsChunksTogether) {
  EXPECT_EQ(ReadThreeWays("3\r\nabc\r\n0a\r\n0123456789\r\n0\r\n\r\n"), "'abc0123456789' used 29");
  EXPECT_EQ(ReadThreeWays("0\r\n\r\n"), "'' used 5");
  EXPECT_EQ(ReadThreeWays("000\r\n\r\n"), "'' used 7");
  EXPECT_EQ(ReadThreeWays("A\r\n\r\n0\r\n\r\n\r\na\r\n0\r\n\r\n"), "'\r\n0\r\n\r\n\r\na' used 20");
}

TEST(ChunkedReader, AsksForMoreOfEveryPrefix) {
  const std::string_view message = "3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n";
  for (size_t size = 1; size < message.size(); ++size) {
    EXPECT_EQ(Read({message.substr(0, size)}), kNeedsMore) << size;
  }
}

// Data is not copied, and is given without waiting for the rest of its chunk.
TEST(ChunkedReader, HandsDataOnAsItComes) {
  ChunkedReader reader;
  reader.Reset(100);
  const std::string_view received = "5\r\nab";
  const ChunkedReader::Step step = reader.Read(received);
  EXPECT_EQ(step.progress, Http1Progress::kNeedMore);
  EXPECT_EQ(step.consumed, 5u);
  EXPECT_EQ(step.data, "ab");
  EXPECT_EQ(step.data.data(), received.data() + 3);
}

TEST(ChunkedReader, SkipsExtensionsAndTrailers) {
  EXPECT_EQ(ReadThreeWays("1;a=\"b\t\xC3\xA9\";c\r\nx\r\n0;\r\nA: b\r\nc:\r\n\r\n"), "'x' used 33");
}

TEST(ChunkedReader, RefusesSizesThatOthersReadDifferently) {
  for (std::string_view message :
       {"\r\n", ";a\r\n", "x\r\n", "+1\r\n", "-1\r\n", " 1\r\n", "g\r\n", "\n", "_"}) {
    ExpectRefused(message, 400, "hexadecimal digits as a chunk's size");
  }
  for (std::string_view message : {"1 \r\n", "1\t\r\n", "1 ;a\r\n", "1\n", "1,\r\n", "1.0\r\n",
                                   "1_0\r\n", "1h\r\n", "0x1\r\n"}) {
    ExpectRefused(message, 400, "CR LF or ';' behind a chunk's size");
  }
  ExpectRefused("1\r\r\n", 400, "behind a chunk's size");
  ExpectRefused("1\rx", 400, "behind a chunk's size");
}

TEST(ChunkedReader, CountsTo64BitsAndNoFurther) {
  EXPECT_EQ(ReadThreeWays("0000000000000001\r\nx\r\n0\r\n\r\n"), "'x' used 26");
  ExpectRefused("00000000000000001\r\nx", 400, "at most 16 digits");
  ExpectRefused("10000000000000000\r\nx", 400, "at most 16 digits");
  ExpectRefused("ffffffffffffffff\r\n", 413, "received a chunk of 18446744073709551615");
  EXPECT_EQ(ReadThreeWays("ffffffffffffffff\r\nx", UINT64_MAX), kNeedsMore);
  // 2^64 in total.
  const std::string most = StrCat("1\r\nx\r\nffffffffffffffff\r\n");
  EXPECT_TRUE(ReadThreeWays(most, UINT64_MAX).starts_with("413 "));
}

TEST(ChunkedReader, WantsChunksToEndWhereTheySay) {
  for (std::string_view message :
       {"1\r\nab\r\n", "1\r\na\n", "1\r\na0\r\n", "3\r\nab\r\n0\r\n\r\n"}) {
    ExpectRefused(message, 400, "CR LF behind a chunk's data");
  }
  ExpectRefused("1\r\na\r0", 400, "CR LF behind a chunk's data");
  ExpectRefused("0\r\n\r0", 400, "CR LF at the end");
}

TEST(ChunkedReader, RefusesControlCharactersInExtensions) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string message =
        StrCat("1;a", std::string(1, static_cast<char>(byte)), "b\r\nx\r\n0\r\n\r\n");
    const bool is_text = (byte >= 0x20 && byte != 0x7F) || byte == '\t';
    EXPECT_EQ(ReadThreeWays(message).starts_with("'x' "), is_text) << byte;
  }
  // Who takes a bare LF for the line's end sees another chunk here.
  ExpectRefused("2;\nxx\r\n4c\r\n0\r\n\r\n", 400, "text in a chunk's extension");
}

TEST(ChunkedReader, RefusesTrailersThatAreNoFields) {
  for (std::string_view message : {"0\r\n: a\r\n\r\n", "0\r\n a: b\r\n\r\n", "0\r\na : b\r\n\r\n",
                                   "0\r\na\r\n\r\n", "0\r\na: b\r\n c\r\n\r\n", "0\r\n\n"}) {
    ExpectRefused(message, 400, "a trailer as 'name: value'");
  }
  ExpectRefused("0\r\na: b\n\r\n", 400, "text in a trailer");
  ExpectRefused("0\r\na: b\r\r\n", 400, "CR LF behind a trailer");
  ExpectRefused("0\r\na: \x01\r\n\r\n", 400, "received byte 1");
}

// Each limit, exactly reached and exceeded by one.
TEST(ChunkedReader, LimitsTheBody) {
  EXPECT_EQ(ReadThreeWays("2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", 5), "'abcde' used 20");
  EXPECT_EQ(ReadThreeWays("2\r\nab\r\n4\r\n", 5),
            "413 chunked body: expected at most 5 bytes in all, received a chunk of 4 behind 2");
  EXPECT_EQ(ReadThreeWays("0\r\n\r\n", 0), "'' used 5");
  EXPECT_TRUE(ReadThreeWays("1\r\n", 0).starts_with("413 "));
}

TEST(ChunkedReader, LimitsExtensionsAndTrailers) {
  const std::string ten(10, 'e');
  EXPECT_EQ(
      ReadThreeWays(StrCat("1;", ten, "\r\nx\r\n0;", ten, "\r\na:", ten, "\r\nb:123456\r\n\r\n")),
      "'x' used 57");
  ExpectRefused(StrCat("1;", ten, "\r\nx\r\n0;", ten, "e\r\n\r\n"), 431, "at most 20 bytes");
  ExpectRefused(StrCat("0\r\na:", ten, "\r\nb:1234567\r\n\r\n"), 431, "at most 20 bytes");
}

TEST(ChunkedReader, StaysWhereItEnded) {
  ChunkedReader reader;
  reader.Reset(10);
  EXPECT_EQ(reader.Read("0\r\n\r\nnext").consumed, 5u);
  ChunkedReader::Step step = reader.Read("next");
  EXPECT_EQ(step.progress, Http1Progress::kDone);
  EXPECT_EQ(step.consumed, 0u);
  reader.Reset(10);
  EXPECT_EQ(reader.Read("x").progress, Http1Progress::kFailed);
  EXPECT_EQ(reader.Read("0\r\n\r\n").progress, Http1Progress::kFailed);
  EXPECT_EQ(reader.Read("").progress, Http1Progress::kFailed);
  reader.Reset(10);
  step = reader.Read("1\r\na");
  EXPECT_EQ(step.data, "a");
  EXPECT_EQ(reader.Read("\r\n0\r\n\r\n").progress, Http1Progress::kDone);
}

}  // namespace
}  // namespace fastserve
