#include "serving/serving_map.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "serving/fake_backend.h"

namespace fastserve {
namespace {

ServableHandle Version(const std::string& name, int64_t version) {
  ServableOptions options = UpTo(8);
  options.name = name;
  options.version = version;
  return Serve(FloatBackend(), std::move(options));
}

TEST(ServingMap, FindsVersionsByNumberAndTheHighestByDefault) {
  ServingMap map;
  ServingMap::Reader reader(map);
  EXPECT_EQ(reader.Find("digits", ""), nullptr);
  const ServableHandle nine = Version("digits", 9);
  const ServableHandle ten = Version("digits", 10);
  map.Publish(ten);
  map.Publish(nine);
  EXPECT_EQ(reader.Find("digits", ""), ten);
  EXPECT_EQ(reader.Find("digits", "9"), nine);
  EXPECT_EQ(reader.Find("digits", "10"), ten);
  EXPECT_EQ(reader.Find("digit", ""), nullptr);
}

TEST(ServingMap, FindsTheSameForAThreadWithoutAReader) {
  ServingMap map;
  EXPECT_EQ(map.Find("digits", ""), nullptr);
  const ServableHandle nine = Version("digits", 9);
  const ServableHandle ten = Version("digits", 10);
  map.Publish(ten);
  map.Publish(nine);
  EXPECT_EQ(map.Find("digits", ""), ten);
  EXPECT_EQ(map.Find("digits", "9"), nine);
  EXPECT_EQ(map.Find("digits", "8"), nullptr);
  EXPECT_EQ(map.Find("digits", "nine"), nullptr);
}

TEST(ServingMap, CountsItsChanges) {
  ServingMap map;
  const uint64_t at_first = map.changes();
  EXPECT_EQ(map.changes(), at_first);
  map.Publish(Version("digits", 1));
  const uint64_t published = map.changes();
  EXPECT_NE(published, at_first);
  EXPECT_NE(map.Find("digits", ""), nullptr);
  EXPECT_EQ(map.changes(), published);
  ASSERT_TRUE(map.Retire("digits", 1).ok());
  EXPECT_NE(map.changes(), published);
}

TEST(ServingMap, FindsNothingForVersionsThatAreNoNumbers) {
  ServingMap map;
  map.Publish(Version("digits", 1));
  ServingMap::Reader reader(map);
  for (const char* version : {"2", "-2", "+1", "1 ", " 1", "1x", "x", "0x1", "18446744073709551617",
                              "99999999999999999999999999"}) {
    EXPECT_EQ(reader.Find("digits", version), nullptr) << version;
  }
}

TEST(ServingMap, ReplacesAVersionAndGivesARetiredOneBack) {
  ServingMap map;
  ServingMap::Reader reader(map);
  map.Publish(Version("digits", 1));
  const ServableHandle second = Version("digits", 1);
  map.Publish(second);
  EXPECT_EQ(reader.Find("digits", "1"), second);
  Result<ServableHandle> retired = map.Retire("digits", 1);
  ASSERT_TRUE(retired.ok());
  EXPECT_EQ(*retired, second);
  EXPECT_EQ(reader.Find("digits", ""), nullptr);
  EXPECT_EQ(map.Retire("digits", 1).status().code(), Code::kNotFound);
}

TEST(ServingMap, FallsBackToTheVersionBelowWhenTheHighestIsRetired) {
  ServingMap map;
  ServingMap::Reader reader(map);
  const ServableHandle one = Version("digits", 1);
  map.Publish(one);
  map.Publish(Version("digits", 2));
  const ServableHandle in_flight = reader.Find("digits", "");
  ASSERT_TRUE(map.Retire("digits", 2).ok());
  EXPECT_EQ(reader.Find("digits", ""), one);
  EXPECT_EQ(in_flight->version(), 2);  // Alive for who has it.
  EXPECT_EQ(map.Retire("digits", 2).status().message(),
            "version 2 of model 'digits' is not served");
}

TEST(ServingMap, MayBeReadWhileItChanges) {
  ServingMap map;
  const ServableHandle one = Version("digits", 1);
  const ServableHandle two = Version("digits", 2);
  map.Publish(one);
  std::thread publisher([&] {
    for (int i = 0; i < 2'000; ++i) {
      map.Publish(two);
      EXPECT_TRUE(map.Retire("digits", 2).ok());
    }
  });
  ServingMap::Reader reader(map);
  for (int i = 0; i < 20'000; ++i) ASSERT_NE(reader.Find("digits", ""), nullptr);
  publisher.join();
}

TEST(ServingMap, GivesBackWhatItReplaces) {
  ServingMap map;
  const ServableHandle first = Version("digits", 1);
  EXPECT_EQ(map.Publish(first), nullptr);
  EXPECT_EQ(map.Publish(Version("digits", 1)), first);
}

TEST(ServingMap, FindsVersionsByTheirLabels) {
  ServingMap map;
  ServingMap::Reader reader(map);
  const ServableHandle one = Version("digits", 1);
  const ServableHandle two = Version("digits", 2);
  map.Publish(one);
  map.Publish(two);
  EXPECT_EQ(reader.Find("digits", "stable"), nullptr);
  ASSERT_TRUE(map.Route("digits", {{"stable", 1}, {"canary", 2}, {"next", 3}}, 1).ok());
  EXPECT_EQ(reader.Find("digits", "stable"), one);
  EXPECT_EQ(reader.Find("digits", "canary"), two);
  EXPECT_EQ(map.Find("digits", "canary"), two);
  EXPECT_EQ(reader.Find("digits", "next"), nullptr) << "it is not served";
  EXPECT_EQ(reader.Find("digits", "stabl"), nullptr);
  EXPECT_EQ(reader.Find("digits", ""), one);
  EXPECT_EQ(reader.Find("digits", "-1"), one);
  EXPECT_EQ(reader.Find("digits", "2"), two);
  // Both move at once, and the default goes back to the highest.
  ASSERT_TRUE(map.Route("digits", {{"stable", 2}}, std::nullopt).ok());
  EXPECT_EQ(reader.Find("digits", "stable"), two);
  EXPECT_EQ(reader.Find("digits", "canary"), nullptr);
  EXPECT_EQ(reader.Find("digits", ""), two);
}

TEST(ServingMap, RemembersRoutesOfVersionsThatCome) {
  ServingMap map;
  ASSERT_TRUE(map.Route("digits", {{"stable", 1}}, 1).ok());
  EXPECT_EQ(map.Find("digits", "stable"), nullptr);
  EXPECT_EQ(map.Find("digits", ""), nullptr);
  const ServableHandle two = Version("digits", 2);
  map.Publish(two);
  EXPECT_EQ(map.Find("digits", ""), two) << "there is no other";
  const ServableHandle one = Version("digits", 1);
  map.Publish(one);
  EXPECT_EQ(map.Find("digits", ""), one);
  EXPECT_EQ(map.Find("digits", "stable"), one);
  ASSERT_TRUE(map.Retire("digits", 1).ok());
  EXPECT_EQ(map.Find("digits", ""), two);
  EXPECT_EQ(map.Find("digits", "stable"), nullptr);
  ASSERT_TRUE(map.Retire("digits", 2).ok());
  EXPECT_FALSE(map.Retire("digits", 2).ok());
  ASSERT_TRUE(map.Route("digits", {}, std::nullopt).ok());
}

TEST(ServingMap, RefusesLabelsThatAreNumbers) {
  ServingMap map;
  const std::vector<std::string> labels = {"", "1", "-1", "007", std::string(65, 'a')};
  for (const std::string& label : labels) {
    EXPECT_EQ(map.Route("digits", {{label, 1}}, std::nullopt).code(), Code::kInvalidArgument)
        << label;
  }
  EXPECT_TRUE(map.Route("digits", {{std::string(64, 'a'), 1}, {"v1", 2}}, std::nullopt).ok());
}

}  // namespace
}  // namespace fastserve
