#include "memory/region_registry.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "memory/lost_pages.h"

namespace fastserve {
namespace {

constexpr size_t kBytes = 1 << 14;

void ExpectOk(const Status& status) { EXPECT_TRUE(status.ok()) << status.message(); }

TEST(RegionRegistry, ResolvesARangeOfARegion) {
  const ShmObject object(kBytes);
  object.Write(1000 + 20, "a tensor");
  RegionRegistry registry({});
  EXPECT_TRUE(registry.empty());
  ExpectOk(registry.Register("inputs", object.key(), 1000, 2000));
  EXPECT_FALSE(registry.empty());
  const Result<RegionRange> range = registry.Resolve("inputs", 20, 8);
  ASSERT_TRUE(range.ok()) << range.status().message();
  EXPECT_EQ(TextOf(range->bytes), "a tensor");
  EXPECT_EQ(range->region->size(), 2000u);
  EXPECT_EQ(range->region.buffer()->data() + 20, range->bytes.data());
  EXPECT_EQ(registry.Resolve("inputs", 0, 2000)->bytes.size(), 2000u);
  EXPECT_EQ(registry.Resolve("inputs", 2000, 0)->bytes.size(), 0u);
}

TEST(RegionRegistry, SaysThatANameIsUnknown) {
  RegionRegistry registry({});
  for (const Status& status : {registry.Resolve("inputs", 0, 1).status(),
                               registry.Find("inputs").status(), registry.Find("").status()}) {
    EXPECT_EQ(status.code(), Code::kNotFound);
    EXPECT_NE(status.message().find("register it first"), std::string::npos);
  }
}

TEST(RegionRegistry, RefusesRangesOutsideTheRegion) {
  const ShmObject object(kBytes);
  RegionRegistry registry({});
  ExpectOk(registry.Register("inputs", object.key(), 100, 1000));
  struct Case {
    uint64_t offset, byte_size;
  };
  for (const Case& c : {Case{0, 1001}, Case{1000, 1}, Case{1001, 0}, Case{1, UINT64_MAX},
                        Case{UINT64_MAX, 1}, Case{UINT64_MAX, UINT64_MAX}, Case{999, 2}}) {
    const Status status = registry.Resolve("inputs", c.offset, c.byte_size).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_NE(status.message().find("'inputs' has only 1000 bytes"), std::string::npos);
    EXPECT_NE(status.message().find(std::to_string(c.offset)), std::string::npos);
  }
}

TEST(RegionRegistry, RefusesANameThatIsTaken) {
  const ShmObject object(kBytes);
  RegionRegistry registry({});
  ExpectOk(registry.Register("inputs", object.key(), 0, 100));
  for (const uint64_t offset : {0, 1}) {
    const Status status = registry.Register("inputs", object.key(), offset, 100);
    EXPECT_EQ(status.code(), Code::kAlreadyExists);
    EXPECT_NE(status.message().find("unregister it first"), std::string::npos);
  }
  ExpectOk(registry.Register("other", object.key(), 0, 100));
  EXPECT_EQ(registry.stats().regions, 2u);
}

TEST(RegionRegistry, RefusesNamesThatAreNone) {
  const ShmObject object(kBytes);
  RegionRegistry registry({});
  for (const std::string& name :
       {std::string(), std::string(1025, 'n'), std::string("a\0b", 3), std::string("\0", 1)}) {
    EXPECT_EQ(registry.Register(name, object.key(), 0, 1).code(), Code::kInvalidArgument);
  }
  EXPECT_TRUE(registry.empty());
  ExpectOk(registry.Register(std::string(1024, 'n'), object.key(), 0, 1));
}

TEST(RegionRegistry, SaysWhichRegionCouldNotBeOpened) {
  RegionRegistry registry({});
  const Status status = registry.Register("inputs", NewKey(), 0, 1);
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_NE(status.message().find("'inputs'"), std::string::npos);
  EXPECT_EQ(registry.Register("inputs", "../x", 0, 1).code(), Code::kInvalidArgument);
  EXPECT_TRUE(registry.empty());
  EXPECT_EQ(registry.stats().bytes, 0u);
}

TEST(RegionRegistry, ListsWhatWasRegisteredByName) {
  const ShmObject object(kBytes);
  const std::string key_without_slash = object.key().substr(1);
  RegionRegistry registry({});
  ExpectOk(registry.Register("b", object.key(), 5, 100));
  ExpectOk(registry.Register("a", key_without_slash, 0, 200));
  const std::vector<RegionInfo> list = registry.List();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].name, "a");
  EXPECT_EQ(list[0].key, key_without_slash);
  EXPECT_EQ(list[0].byte_size, 200u);
  EXPECT_EQ(list[1].name, "b");
  EXPECT_EQ(list[1].offset, 5u);
  const Result<RegionInfo> found = registry.Find("b");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->key, object.key());
  EXPECT_EQ(found->byte_size, 100u);
}

TEST(RegionRegistry, ForgetsARegionAndMayRegisterTheNameAgain) {
  const ShmObject object(kBytes);
  RegionRegistry registry({});
  ExpectOk(registry.Register("inputs", object.key(), 0, 100));
  ExpectOk(registry.Unregister("inputs"));
  EXPECT_TRUE(registry.empty());
  EXPECT_EQ(registry.stats().bytes, 0u);
  EXPECT_EQ(MappingsOf(object.key()), 0);
  ExpectOk(registry.Unregister("inputs"));  // None is what was wanted.
  ExpectOk(registry.Register("inputs", object.key(), 0, 50));
  EXPECT_EQ(registry.stats().bytes, 50u);
}

TEST(RegionRegistry, KeepsTheBytesOfARegionThatIsUnregisteredWhileItIsUsed) {
  const ShmObject object(kBytes);
  object.Write(0, "in flight");
  RegionRegistry registry({});
  const size_t retired = registry.stats().retired;
  ExpectOk(registry.Register("inputs", object.key(), 0, 100));
  RegionRange range = *registry.Resolve("inputs", 0, 9);
  ExpectOk(registry.Unregister("inputs"));
  EXPECT_EQ(registry.Resolve("inputs", 0, 9).status().code(), Code::kNotFound);
  EXPECT_EQ(registry.stats().retired, retired + 1);
  EXPECT_EQ(TextOf(range.bytes), "in flight");
  ExpectOk(registry.Register("inputs", object.key(), 0, 100));
  EXPECT_EQ(registry.stats().retired, retired + 1);
  range = {};
  EXPECT_EQ(registry.stats().retired, retired);
}

TEST(RegionRegistry, ForgetsAllRegionsAtOnce) {
  const ShmObject object(kBytes);
  RegionRegistry registry({});
  for (int i = 0; i < 10; ++i) {
    ExpectOk(registry.Register(std::to_string(i), object.key(), 0, 100));
  }
  const RegionRange range = *registry.Resolve("3", 0, 100);
  registry.UnregisterAll();
  EXPECT_TRUE(registry.empty());
  EXPECT_TRUE(registry.List().empty());
  EXPECT_EQ(registry.stats().bytes, 0u);
  EXPECT_EQ(MappingsOf(object.key()), 1) << "of the request in flight";
}

TEST(RegionRegistry, LeavesRequestsInFlightTheirRegionsWhenItGoes) {
  const ShmObject object(kBytes);
  object.Write(0, "last");
  std::optional<RegionRegistry> registry(std::in_place, RegionRegistry::Options{});
  ExpectOk(registry->Register("inputs", object.key(), 0, 4));
  const RegionRange range = *registry->Resolve("inputs", 0, 4);
  registry.reset();
  EXPECT_EQ(TextOf(range.bytes), "last");
}

TEST(RegionRegistry, ChecksARegionAtEachUse) {
  const ShmObject object(kBytes);
  RegionRegistry registry({});
  ExpectOk(registry.Register("inputs", object.key(), 0, kBytes));
  const uint64_t faults = registry.stats().faults;
  object.Truncate(kBytes - 1);
  const Status truncated = registry.Resolve("inputs", 0, 1).status();
  EXPECT_EQ(truncated.code(), Code::kInvalidArgument);
  EXPECT_NE(truncated.message().find("'inputs'"), std::string::npos);
  object.Truncate(kBytes);
  const RegionRange range = *registry.Resolve("inputs", 0, kBytes);
  object.Truncate(0);
  EXPECT_EQ(Get(range.bytes, kBytes - 1), 0);
  EXPECT_TRUE(range.region->is_poisoned());
  EXPECT_EQ(registry.stats().faults, faults + 1);
  object.Truncate(kBytes);
  EXPECT_EQ(registry.Resolve("inputs", 0, 1).status().code(), Code::kInvalidArgument);
  ExpectOk(registry.Unregister("inputs"));
  ExpectOk(registry.Register("inputs", object.key(), 0, kBytes));
  EXPECT_TRUE(registry.Resolve("inputs", 0, 1).ok());
}

TEST(RegionRegistry, RefusesMoreBytesThanItsLimit) {
  const ShmObject object(kBytes);
  RegionRegistry registry({.bytes_max = 1000});
  ExpectOk(registry.Register("a", object.key(), 0, 600));
  const Status status = registry.Register("b", object.key(), 0, 401);
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_NE(status.message().find("1000"), std::string::npos);
  EXPECT_EQ(registry.Register("b", object.key(), 0, UINT64_MAX).code(), Code::kResourceExhausted);
  ExpectOk(registry.Register("b", object.key(), 0, 400));
  EXPECT_EQ(registry.stats().bytes, 1000u);
  ExpectOk(registry.Unregister("a"));
  ExpectOk(registry.Register("c", object.key(), 0, 600));
}

TEST(RegionRegistry, RefusesTenThousandRegionsAndGivesAllBack) {
  constexpr size_t kLimit = 300;
  const ShmObject object(kBytes);
  const size_t ranges = BusErrorGuard::ranges();
  RegionRegistry registry({.regions_max = kLimit});
  size_t registered = 0;
  for (int i = 0; i < 10'000; ++i) {
    const Status status = registry.Register(std::to_string(i), object.key(), 0, kBytes);
    if (status.ok()) {
      ++registered;
      continue;
    }
    ASSERT_EQ(status.code(), Code::kResourceExhausted);
    ASSERT_NE(status.message().find("at most 300"), std::string::npos);
  }
  EXPECT_EQ(registered, kLimit);
  EXPECT_EQ(registry.stats().bytes, kLimit * kBytes);
  EXPECT_EQ(DescriptorsOf(object.key()), 1 + static_cast<int>(kLimit));
  registry.UnregisterAll();
  EXPECT_EQ(DescriptorsOf(object.key()), 1);
  EXPECT_EQ(MappingsOf(object.key()), 0);
  EXPECT_EQ(BusErrorGuard::ranges(), ranges);
}

// Without a limit of its own the process's are met: of descriptors, or of ranges that are watched.
TEST(RegionRegistry, MeetsTheLimitsOfTheProcess) {
  const ShmObject object(kBytes);
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit most{.rlim_cur = before.rlim_max, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &most);
  RegionRegistry registry({.regions_max = SIZE_MAX});
  Status status;
  for (int i = 0; i < 10'000 && status.ok(); ++i) {
    status = registry.Register(std::to_string(i), object.key(), 0, 1);
  }
  EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.message();
  EXPECT_LE(registry.stats().regions, BusErrorGuard::kRangesMax);
  registry.UnregisterAll();
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(DescriptorsOf(object.key()), 1);
  EXPECT_EQ(MappingsOf(object.key()), 0);
}

TEST(RegionRegistry, GivesANameToOneOfManyThatWantIt) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 100;
  const ShmObject object(kBytes);
  RegionRegistry registry({.regions_max = kRounds, .bytes_max = kRounds});
  std::atomic<int> registered{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        if (registry.Register(std::to_string(i), object.key(), 0, 1).ok()) ++registered;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registered, kRounds);
  EXPECT_EQ(registry.stats().bytes, static_cast<uint64_t>(kRounds));
  EXPECT_EQ(DescriptorsOf(object.key()), 1 + kRounds);
}

// Requests come while regions are registered, unregistered and truncated.
TEST(RegionRegistry, AnswersWhileRegionsComeAndGo) {
  constexpr int kRequests = 2'000;
  const ShmObject object(kBytes);
  RegionRegistry registry({});
  std::atomic<bool> is_over{false};
  std::atomic<int> mistakes{0};
  std::thread control([&] {
    for (size_t i = 0; !is_over; ++i) {
      (void)registry.Register("inputs", object.key(), 0, kBytes);
      if (i % 4 == 0) object.Truncate(0);
      (void)registry.List();
      if (i % 4 == 0) object.Truncate(kBytes);
      if (i % 2 == 0) (void)registry.Unregister("inputs");
      if (i % 16 == 0) registry.UnregisterAll();
    }
  });
  const auto ask = [&] {
    for (int i = 0; i < kRequests; ++i) {
      const Result<RegionRange> range = registry.Resolve("inputs", 7, kBytes - 7);
      if (!range.ok()) {
        const Code code = range.status().code();
        if (code != Code::kNotFound && code != Code::kInvalidArgument) ++mistakes;
        continue;
      }
      for (size_t at = 0; at < range->bytes.size(); at += 1000) {
        if (Get(range->bytes, at) != 0) ++mistakes;
      }
    }
  };
  std::thread other(ask);
  ask();
  other.join();
  is_over = true;
  control.join();
  EXPECT_EQ(mistakes, 0);
}

}  // namespace
}  // namespace fastserve
