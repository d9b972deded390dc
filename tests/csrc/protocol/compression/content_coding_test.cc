#include "protocol/compression/content_coding.h"

#include <gtest/gtest.h>

namespace fastserve {
namespace {

constexpr auto kIdentity = ContentCoding::kIdentity;
constexpr auto kGzip = ContentCoding::kGzip;
constexpr auto kDeflate = ContentCoding::kDeflate;

TEST(ContentCoding, NamesAreReadInAnyCase) {
  EXPECT_EQ(ParseCoding(""), kIdentity);
  EXPECT_EQ(ParseCoding("identity"), kIdentity);
  EXPECT_EQ(ParseCoding("GZip"), kGzip);
  EXPECT_EQ(ParseCoding("x-gzip"), kGzip);
  EXPECT_EQ(ParseCoding("deflate"), kDeflate);
  for (const std::string_view other : {"br", "gzip, gzip", "gzip ", " ", "zstd", "gzi", "gzipp"}) {
    EXPECT_EQ(ParseCoding(other), std::nullopt) << other;
  }
  for (const ContentCoding coding : {kIdentity, kGzip, kDeflate}) {
    EXPECT_EQ(ParseCoding(NameOf(coding)), coding);
  }
}

TEST(ContentCoding, ListsSayWhichAreThere) {
  EXPECT_TRUE(ListsCoding("identity, deflate, gzip", kGzip));
  EXPECT_TRUE(ListsCoding("identity,GZIP", kGzip));
  EXPECT_FALSE(ListsCoding("identity, gzip2", kGzip));
  EXPECT_FALSE(ListsCoding("", kGzip));
  EXPECT_FALSE(ListsCoding("gzip;q=1", kGzip)) << "such a list has no weights";
}

TEST(ContentCoding, TheMostWelcomeIsChosen) {
  struct Case {
    std::string_view accepted;
    ContentCoding coding;
    bool is_only;
  };
  for (const Case& test : {
           Case{"", kIdentity, false},
           Case{"gzip", kGzip, true},
           Case{"deflate", kDeflate, true},
           Case{"GZIP", kGzip, true},
           Case{"x-gzip", kGzip, true},
           Case{"identity, gzip", kGzip, true},
           Case{"gzip, deflate", kGzip, false},
           Case{"deflate, gzip", kGzip, false},
           Case{"deflate;q=0.9, gzip;q=0.899", kDeflate, false},
           Case{"gzip;q=0", kIdentity, false},
           Case{"gzip;q=0.000, deflate", kDeflate, true},
           Case{"gzip ; q=0.5 ,\tdeflate; q=0.6", kDeflate, false},
           Case{"br", kIdentity, false},
           Case{"br, gzip;q=0.1", kGzip, false},
           Case{"*", kGzip, true},
           Case{"*, gzip;q=0", kDeflate, true},
           Case{"*;q=0", kIdentity, false},
           Case{"identity;q=1, gzip;q=0.5", kIdentity, false},
           Case{"identity;q=0.5, gzip;q=0.5", kGzip, true},
           Case{"gzip;q=2", kIdentity, false},
           Case{"gzip;q=1.001", kIdentity, false},
           Case{"gzip;q=0.5555", kIdentity, false},
           Case{"gzip;q=, deflate", kDeflate, true},
           Case{"gzip;q=-1", kIdentity, false},
           Case{"gzip;q=1.", kGzip, true},
           Case{"gzip;level=9", kGzip, true},
           Case{",,;;,gzip,", kGzip, true},
           Case{"gz ip", kIdentity, false},
       }) {
    const AcceptedCoding chosen = ChooseCoding(test.accepted);
    EXPECT_EQ(chosen.coding, test.coding) << test.accepted;
    EXPECT_EQ(chosen.is_only, test.is_only) << test.accepted;
  }
}

}  // namespace
}  // namespace fastserve
