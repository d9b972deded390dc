#include "protocol/compression/inflater.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "protocol/compression/compressed.h"

namespace fastserve {
namespace {

constexpr auto kGzip = ContentCoding::kGzip;
constexpr auto kDeflate = ContentCoding::kDeflate;

// All of it, so many bytes at a time.
Result<std::string> Inflated(ContentCoding coding, std::string_view input, size_t step = 1000) {
  Inflater inflater(coding, std::as_bytes(std::span(input.data(), input.size())));
  std::string text;
  std::vector<std::byte> room(step);
  while (true) {
    const Result<size_t> read = inflater.Read(room);
    if (!read.ok()) {
      EXPECT_EQ(*inflater.Read(room), 0u) << "no more is read after an error";
      return read.status();
    }
    text.append(reinterpret_cast<const char*>(room.data()), *read);
    if (*read < step) break;
  }
  EXPECT_EQ(*inflater.Read(room), 0u);
  return text;
}

TEST(Inflater, GivesBackWhatWasCompressedInStepsOfAnySize) {
  for (const ContentCoding coding : {kGzip, kDeflate}) {
    for (const std::string& text :
         {std::string(), std::string("a"), std::string(100'000, 'x'), Noise(100'000)}) {
      const std::string compressed = Compressed(coding, text);
      for (const size_t step : {size_t{1}, size_t{7}, size_t{100'000}, size_t{1'000'000}}) {
        if (step == 1 && text.size() > 1000) continue;
        EXPECT_EQ(*Inflated(coding, compressed, step), text);
      }
    }
  }
}

TEST(Inflater, RefusesWhatEndsTooSoonWhereverThatIs) {
  for (const ContentCoding coding : {kGzip, kDeflate}) {
    const std::string compressed = Compressed(coding, Noise(50) + std::string(50, 'x'));
    for (size_t size = 0; size < compressed.size(); ++size) {
      const Result<std::string> read = Inflated(coding, compressed.substr(0, size));
      ASSERT_FALSE(read.ok()) << size;
      EXPECT_EQ(read.status().code(), Code::kInvalidArgument);
      EXPECT_EQ(read.status().message(), StrCat("the ", NameOf(coding), " data ends too soon"));
    }
  }
}

TEST(Inflater, RefusesEachDamagedByte) {
  for (const ContentCoding coding : {kGzip, kDeflate}) {
    const std::string text = Noise(64);
    const std::string compressed = Compressed(coding, text);
    size_t refused = 0;
    for (size_t i = 0; i < compressed.size(); ++i) {
      std::string damaged = compressed;
      damaged[i] = static_cast<char>(damaged[i] ^ 0x20);
      const Result<std::string> read = Inflated(coding, damaged);
      if (!read.ok()) {
        EXPECT_EQ(read.status().code(), Code::kInvalidArgument);
        ++refused;
      } else {
        EXPECT_EQ(*read, text) << "a byte of gzip's head that says nothing: " << i;
      }
    }
    EXPECT_GE(refused, compressed.size() - 7);
  }
}

TEST(Inflater, RefusesTheOtherFormatAndBytesBehindTheEnd) {
  EXPECT_FALSE(Inflated(kGzip, Compressed(kDeflate, "text")).ok());
  EXPECT_FALSE(Inflated(kDeflate, Compressed(kGzip, "text")).ok());
  EXPECT_FALSE(Inflated(kGzip, "plain text").ok());
  EXPECT_EQ(Inflated(kDeflate, Compressed(kDeflate, "text") + "!").status().message(),
            "bytes follow the end of the deflate data");
  EXPECT_FALSE(Inflated(kGzip, Compressed(kGzip, "text") + "!").ok());
  // Deflate without zlib's head, as some have sent it: RFC 9110 says with it.
  EXPECT_FALSE(Inflated(kDeflate, Compressed(kDeflate, "text").substr(2)).ok());
}

TEST(Inflater, ReadsMembersOneBehindTheOther) {
  const std::string members =
      Compressed(kGzip, "one ") + Compressed(kGzip, "") + Compressed(kGzip, "two");
  for (const size_t step : {size_t{1}, size_t{4}, size_t{100}}) {
    EXPECT_EQ(*Inflated(kGzip, members, step), "one two");
  }
  const std::string two = Compressed(kDeflate, "one") + Compressed(kDeflate, "two");
  EXPECT_FALSE(Inflated(kDeflate, two).ok()) << "zlib's format has no members";
}

TEST(Inflater, TellsAClaimedLengthThatIsBelievable) {
  const auto claimed = [](ContentCoding coding, std::string_view input) {
    return Inflater(coding, std::as_bytes(std::span(input.data(), input.size()))).claimed_bytes();
  };
  EXPECT_EQ(claimed(kGzip, Compressed(kGzip, std::string(5000, 'x'))), 5000u);
  EXPECT_EQ(claimed(kDeflate, Compressed(kDeflate, std::string(5000, 'x'))), std::nullopt);
  std::string liar = Compressed(kGzip, "x");
  std::fill(liar.end() - 4, liar.end(), '\xFF');
  EXPECT_EQ(claimed(kGzip, liar), std::nullopt);
  EXPECT_EQ(claimed(kGzip, "short"), std::nullopt);
}

}  // namespace
}  // namespace fastserve
