#include <gtest/gtest.h>

#include <string>

#include "protocol/http1.h"

namespace fastserve {
namespace {

TEST(Http1Characters, CompareInAnyCaseOfAscii) {
  EXPECT_TRUE(EqualsIgnoringCase("aZ-@[`{", "Az-@[`{"));
  EXPECT_FALSE(EqualsIgnoringCase("@", "`"));
  EXPECT_FALSE(EqualsIgnoringCase("[", "{"));
  EXPECT_FALSE(EqualsIgnoringCase("a", "ab"));
  EXPECT_FALSE(EqualsIgnoringCase("\xC3\x89", "\xC3\xA9"));
}

TEST(Http1Characters, DecodePercents) {
  std::string out = "x";
  EXPECT_TRUE(PercentDecode("a%2Fb%c3%A9+%00", &out));
  EXPECT_EQ(out, std::string("xa/b\xC3\xA9+\0", 8));
  for (std::string_view bad : {"%", "%2", "a%", "%g0", "%0g", "%%20", "ab%2"}) {
    EXPECT_FALSE(PercentDecode(bad, &out)) << bad;
    EXPECT_EQ(out.size(), 8u);
  }
}

}  // namespace
}  // namespace fastserve
