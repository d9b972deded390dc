#include "memory/shm_region.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "memory/lost_pages.h"

namespace fastserve {
namespace {

const size_t kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

ShmRegionRef Open(std::string_view key, uint64_t offset, uint64_t byte_size) {
  Result<ShmRegionRef> region = ShmRegion::Open(key, offset, byte_size);
  EXPECT_TRUE(region.ok()) << region.status().message();
  return *std::move(region);
}

Status ErrorOf(std::string_view key, uint64_t offset = 0, uint64_t byte_size = 1) {
  Result<ShmRegionRef> region = ShmRegion::Open(key, offset, byte_size);
  EXPECT_FALSE(region.ok()) << key;
  return std::move(region).status();
}

TEST(ShmRegion, SharesItsBytesWithTheObject) {
  const ShmObject object(100);
  object.Write(0, "from the client");
  const ShmRegionRef region = Open(object.key(), 0, 100);
  EXPECT_EQ(region->size(), 100u);
  EXPECT_EQ(TextOf(region->bytes().first(15)), "from the client");
  std::memcpy(region->data() + 50, "from the server", 15);
  EXPECT_EQ(object.Read(50, 15), "from the server");
  EXPECT_TRUE(region->CheckUsable().ok());
  EXPECT_EQ(region->key(), object.key());
  EXPECT_EQ(region->offset(), 0u);
}

TEST(ShmRegion, BeginsAtAnyByte) {
  const ShmObject object(3 * kPage);
  object.Write(2 * kPage - 3, "across a page");
  for (const size_t offset : {2 * kPage - 3, kPage + 1, size_t{1}}) {
    const ShmRegionRef region = Open(object.key(), offset, 3 * kPage - offset);
    EXPECT_EQ(region->size(), 3 * kPage - offset);
    EXPECT_EQ(TextOf(region->bytes().subspan(2 * kPage - 3 - offset, 13)), "across a page");
    EXPECT_EQ(region->offset(), offset);
  }
}

TEST(ShmRegion, IsOpenedForAClientThatMayOpenItItself) {
  const ShmObject object(8);
  const std::string path = "/dev/shm" + object.key();
  const uid_t other = geteuid() + 1;
  EXPECT_TRUE(ShmRegion::Open(object.key(), 0, 8, geteuid()).ok()) << "its owner";
  EXPECT_TRUE(ShmRegion::Open(object.key(), 0, 8, 0).ok()) << "root";
  for (const mode_t mode : {0600, 0660, 0664, 0602}) {
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
    // Nor is it told how large it is.
    for (const uint64_t bytes : {8, 9}) {
      const Status status = ShmRegion::Open(object.key(), 0, bytes, other).status();
      EXPECT_EQ(status.code(), Code::kPermissionDenied) << mode;
      EXPECT_NE(status.message().find(std::to_string(other)), std::string::npos);
    }
  }
  ASSERT_EQ(chmod(path.c_str(), 0666), 0);
  EXPECT_TRUE(ShmRegion::Open(object.key(), 0, 8, other).ok()) << "everybody";
}

TEST(ShmRegion, TakesAKeyWithOrWithoutASlash) {
  const ShmObject object(8);
  EXPECT_EQ(Open(object.key(), 0, 8)->key(), object.key());
  const std::string_view without = std::string_view(object.key()).substr(1);
  EXPECT_EQ(Open(without, 0, 8)->key(), without);
}

TEST(ShmRegion, RefusesKeysThatAreNone) {
  for (const std::string& key : {std::string(),
                                 std::string("/"),
                                 std::string("//"),
                                 std::string("//twice"),
                                 std::string("."),
                                 std::string(".."),
                                 std::string("/."),
                                 std::string("/.."),
                                 std::string("../etc/passwd"),
                                 std::string("/../../etc/passwd"),
                                 std::string("a/b"),
                                 std::string("/a/"),
                                 std::string("sem.mine"),
                                 std::string("/sem.mine"),
                                 std::string("a\0b", 3),
                                 std::string("\0", 1),
                                 std::string("a\n"),
                                 std::string("\x7f"),
                                 std::string("\xc3\xa4"),
                                 std::string(255, 'a'),
                                 "/" + std::string(255, 'a'),
                                 std::string(1 << 20, 'a')}) {
    const Status status = ErrorOf(key);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << key.substr(0, 300);
    EXPECT_LT(status.message().size(), 400u);
    EXPECT_NE(status.message().find("shared-memory object"), std::string::npos);
  }
}

TEST(ShmRegion, TakesTheLongestKeyThereCanBe) {
  // What is left for the end of the name.
  const std::string key = NewKey() + "-";
  const std::string longest = key + std::string(255 - key.size(), 'a');
  EXPECT_EQ(ErrorOf(longest).code(), Code::kNotFound);
  const int file = shm_open(longest.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  ASSERT_GE(file, 0);
  EXPECT_EQ(ftruncate(file, 1), 0);
  EXPECT_TRUE(ShmRegion::Open(longest, 0, 1).ok());
  shm_unlink(longest.c_str());
  close(file);
}

TEST(ShmRegion, SaysThatAnObjectIsNotThere) {
  const std::string key = NewKey();
  const Status status = ErrorOf(key);
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_NE(status.message().find(key), std::string::npos);
  EXPECT_EQ(shm_open(key.c_str(), O_RDWR, 0), -1) << "it made one";
}

TEST(ShmRegion, RefusesOtherKindsOfFiles) {
  const std::string key = NewKey();
  const std::string path = "/dev/shm" + key;
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(ErrorOf(key).code(), Code::kInvalidArgument);
  unlink(path.c_str());
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  EXPECT_EQ(ErrorOf(key).code(), Code::kInvalidArgument);
  rmdir(path.c_str());
  // A link leads out of /dev/shm, and is not followed, even to an object.
  const ShmObject object(1);
  ASSERT_EQ(symlink(("/dev/shm" + object.key()).c_str(), path.c_str()), 0);
  EXPECT_EQ(ErrorOf(key).code(), Code::kInvalidArgument);
  unlink(path.c_str());
}

TEST(ShmRegion, SaysWhichPermissionItNeeds) {
  const ShmObject object(1);
  fchmod(object.file(), 0400);
  const auto act = [&] {
    // Root may open everything: be somebody else.
    if (geteuid() == 0 && (fchown(object.file(), 65534, 65534) != 0 || seteuid(65534) != 0)) {
      return 2;
    }
    const Status status = ErrorOf(object.key());
    const bool is_right = status.code() == Code::kPermissionDenied &&
                          status.message().find("to read and to write") != std::string::npos;
    return is_right ? 0 : 1;
  };
  EXPECT_EQ(StatusOfChild(act), 0);
}

TEST(ShmRegion, RefusesBytesThatTheObjectDoesNotHave) {
  const ShmObject object(100);
  struct Case {
    uint64_t offset, byte_size;
    const char* wanted;
  };
  for (const Case& c : {Case{0, 101, "bytes [0, 101)"}, Case{100, 1, "bytes [100, 101)"},
                        Case{101, 1, "bytes [101, 102)"}, Case{60, 41, "bytes [60, 101)"},
                        Case{1, UINT64_MAX, "18446744073709551615 bytes from offset 1"},
                        Case{UINT64_MAX, 1, "1 bytes from offset 18446744073709551615"},
                        Case{UINT64_MAX, UINT64_MAX, "18446744073709551615"},
                        Case{0, UINT64_MAX, "bytes [0, 18446744073709551615)"},
                        Case{uint64_t{1} << 63, uint64_t{1} << 63, "9223372036854775808"}}) {
    const Status status = ErrorOf(object.key(), c.offset, c.byte_size);
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_NE(status.message().find(c.wanted), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("only 100 bytes"), std::string::npos) << status.message();
  }
  EXPECT_EQ(ErrorOf(object.key(), 0, 0).code(), Code::kInvalidArgument);
  EXPECT_TRUE(ShmRegion::Open(object.key(), 99, 1).ok());
}

// A file may be longer than all memory is; what is mapped of it may not.
TEST(ShmRegion, RefusesRegionsThatAreTooLarge) {
  const ShmObject object(0);
  object.Truncate(size_t{1} << 42);
  EXPECT_EQ(ErrorOf(object.key(), 0, uint64_t{1} << 42).code(), Code::kResourceExhausted);
  EXPECT_EQ(ErrorOf(object.key(), kPage - 1, uint64_t{1} << 40).code(), Code::kResourceExhausted);
  EXPECT_TRUE(ShmRegion::Open(object.key(), (uint64_t{1} << 42) - 1, 1).ok());
}

TEST(ShmRegion, SaysThatThereAreNoDescriptorsLeft) {
  const ShmObject object(1);
  const auto act = [&] {
    const int next = dup(object.file());
    const rlimit none{.rlim_cur = static_cast<rlim_t>(next), .rlim_max = static_cast<rlim_t>(next)};
    close(next);
    setrlimit(RLIMIT_NOFILE, &none);
    return ErrorOf(object.key()).code() == Code::kResourceExhausted ? 0 : 1;
  };
  EXPECT_EQ(StatusOfChild(act), 0);
}

TEST(ShmRegion, LivesUntilItsLastReferenceGoes) {
  const ShmObject object(kPage);
  object.Write(0, "still here");
  const size_t before = ShmRegion::count();
  const size_t ranges = BusErrorGuard::ranges();
  ShmRegionRef region = Open(object.key(), 0, kPage);
  BufferRef buffer = region.buffer();
  EXPECT_EQ(ShmRegion::count(), before + 1);
  EXPECT_FALSE(buffer->has_one_owner());
  region = {};
  EXPECT_FALSE(region);
  EXPECT_TRUE(buffer->has_one_owner());
  object.Unlink();
  EXPECT_EQ(TextOf(buffer->bytes().first(10)), "still here") << "without a name, too";
  EXPECT_EQ(MappingsOf(object.key()), 1);
  EXPECT_EQ(DescriptorsOf(object.key()), 2) << "the client's, and the region's";
  std::thread([last = std::move(buffer)] {}).join();
  EXPECT_EQ(MappingsOf(object.key()), 0);
  EXPECT_EQ(DescriptorsOf(object.key()), 1);
  EXPECT_EQ(ShmRegion::count(), before);
  EXPECT_EQ(BusErrorGuard::ranges(), ranges);
}

TEST(ShmRegion, LeavesNothingBehindWhenItRefuses) {
  const ShmObject object(kPage);
  const size_t before = ShmRegion::count();
  (void)ErrorOf(object.key(), 0, kPage + 1);
  EXPECT_EQ(MappingsOf(object.key()), 0);
  EXPECT_EQ(DescriptorsOf(object.key()), 1);
  EXPECT_EQ(ShmRegion::count(), before);
}

TEST(ShmRegion, FindsThatTheObjectHasBecomeTooSmall) {
  const ShmObject object(2 * kPage);
  const ShmRegionRef region = Open(object.key(), 10, kPage);
  object.Truncate(kPage + 10);
  EXPECT_TRUE(region->CheckSize().ok()) << "as large as the region needs";
  object.Truncate(kPage + 9);
  const Status status = region->CheckSize();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find(StrCat("bytes [10, ", kPage + 10, ")")), std::string::npos);
  EXPECT_NE(status.message().find(StrCat("only ", kPage + 9)), std::string::npos);
  EXPECT_EQ(region->CheckUsable().code(), Code::kInvalidArgument);
  EXPECT_FALSE(region->is_poisoned());
  object.Truncate(2 * kPage);
  EXPECT_TRUE(region->CheckUsable().ok());
}

TEST(ShmRegion, ReadsAsZerosWhatWasTruncatedWhileItIsUsedAndIsPoisonedForEver) {
  const ShmObject object(4 * kPage);
  object.Write(3 * kPage, "gone");
  const ShmRegionRef region = Open(object.key(), 3, 4 * kPage - 3);
  object.Truncate(0);
  EXPECT_EQ(TextOf(region->bytes().subspan(3 * kPage - 3, 4)), std::string_view("\0\0\0\0", 4));
  EXPECT_TRUE(region->is_poisoned());
  object.Truncate(4 * kPage);
  EXPECT_TRUE(region->CheckSize().ok());
  const Status status = region->CheckUsable();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find("register it again"), std::string::npos);
  EXPECT_FALSE(Open(object.key(), 0, 4 * kPage)->is_poisoned()) << "another region of the object";
}

TEST(ShmRegion, TakesWritesWhereTheObjectWasTruncated) {
  const ShmObject object(4 * kPage);
  const ShmRegionRef region = Open(object.key(), 0, 4 * kPage);
  object.Truncate(0);
  std::memset(region->data(), 'y', region->size());
  EXPECT_TRUE(region->is_poisoned());
  EXPECT_EQ(Get(region->bytes(), 4 * kPage - 1), 'y');
}

// A client truncates its object over and over, while requests use regions of it, and others are
// opened and closed.
TEST(ShmRegion, SurvivesAClientThatTruncatesAllTheTime) {
  constexpr int kRounds = 300;
  constexpr int kRoundsMax = 100'000;  // Until a truncation has come in the middle of one.
  constexpr size_t kBytes = 1 << 16;
  const ShmObject object(kBytes);
  std::atomic<bool> is_over{false};
  std::atomic<int> mistakes{0};
  std::atomic<int> poisoned{0};
  std::thread client([&] {
    for (size_t i = 0; !is_over; ++i) object.Truncate(i % 2 == 0 ? 0 : kBytes);
  });
  const auto use = [&](size_t offset) {
    for (int round = 0; round < kRounds || (poisoned == 0 && round < kRoundsMax);) {
      const Result<ShmRegionRef> opened = ShmRegion::Open(object.key(), offset, kBytes - offset);
      if (!opened.ok()) continue;
      ++round;
      const ShmRegionRef region = *opened;
      for (size_t i = 0; i < region->size(); i += 1021) {
        if (Get(region->bytes(), i) != 0) ++mistakes;
        Set(region->bytes(), i, 0);
      }
      if (region->is_poisoned()) ++poisoned;
    }
  };
  std::thread other([&] { use(5); });
  use(kPage);
  other.join();
  is_over = true;
  client.join();
  EXPECT_EQ(mistakes, 0);
  EXPECT_GT(poisoned, 0);
}

}  // namespace
}  // namespace fastserve
