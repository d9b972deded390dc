#include "gateway/answer_compressor.h"

#include <gtest/gtest.h>

#include <string>

#include "protocol/compression/compressed.h"

namespace fastserve {
namespace {

constexpr AcceptedCoding kGzipOrDeflate{.coding = ContentCoding::kGzip, .is_only = false};
constexpr AcceptedCoding kGzipOnly{.coding = ContentCoding::kGzip, .is_only = true};

TEST(AnswerCompressor, LeavesWhatItWouldNotImprove) {
  AnswerCompressor compressor;
  const std::string text(5000, 'x');
  const std::string noise = Noise(5000);
  const std::string fits(AnswerCompressor::kBytesMin - 1, 'x');
  for (const auto& [accepted, body] : {std::pair(AcceptedCoding{}, text),
                                       {kGzipOnly, noise},
                                       {kGzipOnly, fits},
                                       {kGzipOnly, ""}}) {
    ByteWriter out;
    EXPECT_FALSE(compressor.CompressBody(accepted, body, {}, &out)) << body.substr(0, 10);
  }
  ByteWriter out;
  EXPECT_TRUE(compressor.CompressBody(kGzipOrDeflate, text, {}, &out));
  EXPECT_EQ(Plain(ContentCoding::kGzip, out.view()), text);
}

TEST(AnswerCompressor, TensorsAreCompressedForThoseWhoNameOneCoding) {
  AnswerCompressor compressor;
  const std::string tensor(3000, 'y');
  const OutputPart parts[] = {{tensor, {}}, {tensor, {}}};
  ByteWriter out;
  EXPECT_FALSE(compressor.CompressBody(kGzipOrDeflate, "{}", parts, &out));
  EXPECT_TRUE(compressor.CompressBody(kGzipOnly, "{}", parts, &out));
  EXPECT_EQ(Plain(ContentCoding::kGzip, out.view()), "{}" + tensor + tensor);
}

TEST(AnswerCompressor, OfAMessageThePrefixIsLeftOut) {
  AnswerCompressor compressor;
  const std::string tensor(3000, 'y');
  const OutputPart parts[] = {{tensor, {}}, {"", {}}};
  const size_t cuts[] = {7, 9};
  ByteWriter out;
  EXPECT_TRUE(
      compressor.CompressMessage(ContentCoding::kDeflate, "12345abcdef", cuts, parts, &out));
  EXPECT_EQ(Plain(ContentCoding::kDeflate, out.view()), "ab" + tensor + "cdef");
  EXPECT_FALSE(
      compressor.CompressMessage(ContentCoding::kIdentity, "12345abcdef", cuts, parts, &out));
}

}  // namespace
}  // namespace fastserve
