#include "gateway/http/client_counts.h"

#include <gtest/gtest.h>

namespace fastserve {
namespace {

using Verdict = ClientCounts::Verdict;

TEST(ClientCounts, LetsEachClientHaveAsManyAsItMay) {
  ClientCounts counts(2);
  EXPECT_EQ(counts.Enter("a"), Verdict::kWelcome);
  EXPECT_EQ(counts.Enter("a"), Verdict::kWelcome);
  EXPECT_EQ(counts.Enter("b"), Verdict::kWelcome);
  EXPECT_EQ(counts.Enter("a"), Verdict::kRefused);
  EXPECT_EQ(counts.Enter("a"), Verdict::kRefused);
  EXPECT_EQ(counts.Enter("a"), Verdict::kIgnored);
  counts.Leave("a", Verdict::kIgnored);
  EXPECT_EQ(counts.Enter("a"), Verdict::kIgnored);
  counts.Leave("a", Verdict::kWelcome);
  EXPECT_EQ(counts.Enter("a"), Verdict::kWelcome) << "who is refused takes no place";
  counts.Leave("a", Verdict::kRefused);
  EXPECT_EQ(counts.Enter("a"), Verdict::kRefused);
}

TEST(ClientCounts, RemembersOpenConnectionsAlone) {
  ClientCounts counts(1);
  EXPECT_EQ(counts.Enter("a"), Verdict::kWelcome);
  EXPECT_EQ(counts.Enter("a"), Verdict::kRefused);
  EXPECT_EQ(counts.clients(), 1u);
  counts.Leave("a", Verdict::kWelcome);
  EXPECT_EQ(counts.clients(), 1u);
  counts.Leave("a", Verdict::kRefused);
  EXPECT_EQ(counts.clients(), 0u);
}

TEST(ClientCounts, CountsNobodyWithoutALimitOrAnAddress) {
  ClientCounts unlimited(0);
  EXPECT_EQ(unlimited.Enter("a"), Verdict::kUncounted);
  unlimited.Leave("a", Verdict::kUncounted);
  ClientCounts counts(1);
  EXPECT_EQ(counts.Enter(""), Verdict::kUncounted);
  EXPECT_EQ(counts.Enter(""), Verdict::kUncounted);
  EXPECT_EQ(counts.clients(), 0u);
}

}  // namespace
}  // namespace fastserve
