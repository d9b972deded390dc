#include "protocol/compression/deflater.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <string>

#include "protocol/compression/compressed.h"

namespace fastserve {
namespace {

// By zlib itself: 32 more window bits tell gzip from zlib's format.
std::string Uncompressed(std::string_view data, size_t bytes_max) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 32 + MAX_WBITS), Z_OK);
  std::string text(bytes_max + 1, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  EXPECT_EQ(stream.avail_in, 0u);
  text.resize(stream.total_out);
  inflateEnd(&stream);
  return text;
}

TEST(Deflater, CompressesPartsAsOneText) {
  Deflater deflater;
  const std::string noise = Noise(200'000);
  const std::array<std::string_view, 5> parts = {"head ", "", noise, noise, ""};
  const std::string text = "head " + noise + noise;
  for (int round = 0; round < 3; ++round) {
    for (const ContentCoding coding : {ContentCoding::kGzip, ContentCoding::kDeflate}) {
      ByteWriter out;
      ASSERT_TRUE(deflater.Compress(coding, parts, &out).ok());
      EXPECT_EQ(Uncompressed(out.view(), text.size()), text);
      const auto first = static_cast<uint8_t>(out.view()[0]);
      EXPECT_EQ(first, coding == ContentCoding::kGzip ? 0x1F : 0x78) << "its format";
    }
  }
}

TEST(Deflater, NothingIsCompressedToo) {
  Deflater deflater;
  ByteWriter out;
  ASSERT_TRUE(deflater.Compress(ContentCoding::kGzip, {}, &out).ok());
  EXPECT_EQ(Uncompressed(out.view(), 0), "");
}

TEST(Deflater, AppendsToWhatIsThere) {
  Deflater deflater;
  ByteWriter out;
  out.Append("before");
  const std::string_view text = "text";
  ASSERT_TRUE(deflater.Compress(ContentCoding::kDeflate, {&text, 1}, &out).ok());
  EXPECT_TRUE(out.view().starts_with("before"));
  EXPECT_EQ(Uncompressed(out.view().substr(6), 4), "text");
}

}  // namespace
}  // namespace fastserve
