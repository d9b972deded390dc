#include "protocol/grpc/grpc_framing.h"

#include <gtest/gtest.h>

#include <limits>

namespace fastserve {
namespace {

TEST(GrpcFraming, PrefixesReadBack) {
  for (const uint32_t length : {0u, 1u, 255u, 256u, 0x01020304u, 0xFFFFFFFFu}) {
    for (const bool is_compressed : {false, true}) {
      const auto bytes = FormatGrpcPrefix({.is_compressed = is_compressed, .length = length});
      const Result<GrpcPrefix> read = ParseGrpcPrefix({bytes.data(), bytes.size()});
      ASSERT_TRUE(read.ok());
      EXPECT_EQ(read->length, length);
      EXPECT_EQ(read->is_compressed, is_compressed);
    }
  }
  const Result<GrpcPrefix> wrong = ParseGrpcPrefix(std::string_view("\x02\0\0\0\0", 5));
  EXPECT_EQ(wrong.status().code(), Code::kInternal);
  EXPECT_EQ(wrong.status().message(),
            "gRPC message: the first byte is 2, expected 0 (as it is) or 1 (compressed)");
}

TEST(GrpcFraming, TimeoutsHaveAUnit) {
  EXPECT_EQ(ParseGrpcTimeout("1H"), int64_t{3600} * 1'000'000'000);
  EXPECT_EQ(ParseGrpcTimeout("2M"), int64_t{120} * 1'000'000'000);
  EXPECT_EQ(ParseGrpcTimeout("99999999S"), int64_t{99'999'999} * 1'000'000'000);
  EXPECT_EQ(ParseGrpcTimeout("100m"), 100'000'000);
  EXPECT_EQ(ParseGrpcTimeout("7u"), 7'000);
  EXPECT_EQ(ParseGrpcTimeout("0n"), 0);
  // 11,415 years of hours do not fit.
  EXPECT_EQ(ParseGrpcTimeout("99999999H"), std::numeric_limits<int64_t>::max());
  for (const std::string_view wrong :
       {"", "1", "S", "1s", "-1S", "+1S", "1 S", " 1S", "123456789S", "1.5S", "1SS", "0x1S"}) {
    EXPECT_FALSE(ParseGrpcTimeout(wrong)) << wrong;
  }
}

TEST(GrpcFraming, TimeoutsAreWrittenInTheFinestUnitThatFits) {
  EXPECT_EQ(FormatGrpcTimeout(0), "0n");
  EXPECT_EQ(FormatGrpcTimeout(99'999'999), "99999999n");
  EXPECT_EQ(FormatGrpcTimeout(100'000'001), "100001u");  // Rounded up: never too early.
  EXPECT_EQ(FormatGrpcTimeout(int64_t{3600} * 1'000'000'000), "3600000m");
  EXPECT_EQ(FormatGrpcTimeout(std::numeric_limits<int64_t>::max()), "2562048H");
  for (const int64_t timeout : {int64_t{1}, int64_t{123'456'789}, int64_t{98'765'432'109'876}}) {
    const std::optional<int64_t> parsed = ParseGrpcTimeout(FormatGrpcTimeout(timeout));
    ASSERT_TRUE(parsed.has_value());
    EXPECT_GE(*parsed, timeout);
    EXPECT_LE(*parsed - timeout, timeout / 90'000);
  }
}

TEST(GrpcFraming, MessagesAreAsciiOnTheWire) {
  EXPECT_EQ(EncodeGrpcMessage(""), "");
  EXPECT_EQ(EncodeGrpcMessage("no model 'a~'"), "no model 'a~'");
  EXPECT_EQ(EncodeGrpcMessage("100% \n\xC3\xA9\x7F"), "100%25 %0A%C3%A9%7F");
}

TEST(GrpcFraming, ContentTypes) {
  for (const std::string_view type :
       {"application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"}) {
    EXPECT_TRUE(IsGrpcContentType(type)) << type;
  }
  for (const std::string_view type : {"", "application/json", "application/grpc-web+proto",
                                      "application/grp", "text/application/grpc"}) {
    EXPECT_FALSE(IsGrpcContentType(type)) << type;
  }
}

TEST(GrpcFraming, CodesAreTheirNumbers) {
  EXPECT_EQ(GrpcCodeText(Code::kOk), "0");
  EXPECT_EQ(GrpcCodeText(Code::kUnimplemented), "12");
  EXPECT_EQ(GrpcCodeText(Code::kUnauthenticated), "16");
  for (int code = 0; code <= static_cast<int>(Code::kUnauthenticated); ++code) {
    EXPECT_EQ(ParseGrpcCode(std::to_string(code)), static_cast<Code>(code));
  }
  for (const std::string_view wrong : {"", "17", "-1", "00", "x", "1 "}) {
    EXPECT_EQ(ParseGrpcCode(wrong), Code::kUnknown) << wrong;
  }
}

}  // namespace
}  // namespace fastserve
