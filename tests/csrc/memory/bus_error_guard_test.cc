#include "memory/bus_error_guard.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "base/thread.h"
#include "memory/lost_pages.h"

namespace fastserve {
namespace {

const size_t kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

// A file without a name, mapped, and full of 'x'.
class MappedFile {
 public:
  explicit MappedFile(size_t pages) : file_(memfd_create("lost-pages", MFD_CLOEXEC)) {
    Resize(pages);
    void* const start = mmap(nullptr, pages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    EXPECT_NE(start, MAP_FAILED);
    pages_ = {static_cast<std::byte*>(start), pages * kPage};
    std::memset(start, 'x', pages_.size());
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
    munmap(pages_.data(), pages_.size());
    close(file_);
  }
  std::span<std::byte> pages() const { return pages_; }
  void Resize(size_t pages) const {
    EXPECT_EQ(ftruncate(file_, static_cast<off_t>(pages * kPage)), 0);
  }

 private:
  const int file_;
  std::span<std::byte> pages_;
};

BusErrorGuard Watch(std::span<std::byte> pages) {
  Result<BusErrorGuard> guard = BusErrorGuard::Watch(pages);
  EXPECT_TRUE(guard.ok()) << guard.status().message();
  return *std::move(guard);
}

TEST(BusErrorGuard, TurnsPagesThatWereTruncatedIntoZeros) {
  const MappedFile file(4);
  const BusErrorGuard guard = Watch(file.pages());
  const uint64_t faults = BusErrorGuard::faults();
  EXPECT_EQ(Get(file.pages(), 0), 'x');
  EXPECT_FALSE(guard.has_faulted());
  file.Resize(0);
  EXPECT_FALSE(guard.has_faulted()) << "nobody has touched it";
  EXPECT_EQ(Get(file.pages(), 2 * kPage + 5), 0);
  EXPECT_TRUE(guard.has_faulted());
  EXPECT_EQ(BusErrorGuard::faults(), faults + 1);
}

TEST(BusErrorGuard, LetsWritesThatFaultGoOnInPrivateMemory) {
  const MappedFile file(4);
  const BusErrorGuard guard = Watch(file.pages());
  file.Resize(0);
  std::memset(file.pages().data(), 'y', file.pages().size());
  EXPECT_TRUE(guard.has_faulted());
  EXPECT_EQ(Get(file.pages(), 4 * kPage - 1), 'y');
  file.Resize(4);
  EXPECT_EQ(Get(file.pages(), kPage), 'y') << "it stays as it is, whatever the file does";
}

// Page by page a client could make as many mappings as the system allows a process.
TEST(BusErrorGuard, ReplacesTheRangeAsAWhole) {
  const MappedFile file(64);
  const BusErrorGuard guard = Watch(file.pages());
  file.Resize(32);
  EXPECT_EQ(Get(file.pages(), 0), 'x');
  EXPECT_EQ(Get(file.pages(), 40 * kPage), 0);
  for (size_t page = 0; page < 64; ++page) EXPECT_EQ(Get(file.pages(), page * kPage), 0);
  EXPECT_EQ(MappingsOf("lost-pages"), 0);
}

TEST(BusErrorGuard, LeavesTheRangesBesideItAlone) {
  const MappedFile first(2), second(2);
  const BusErrorGuard guard = Watch(first.pages());
  const BusErrorGuard other = Watch(second.pages());
  first.Resize(0);
  EXPECT_EQ(Get(first.pages(), 0), 0);
  EXPECT_EQ(Get(second.pages(), 0), 'x');
  EXPECT_TRUE(guard.has_faulted());
  EXPECT_FALSE(other.has_faulted());
}

TEST(BusErrorGuard, ForgetsAFaultWithTheRange) {
  const MappedFile file(1);
  {
    const BusErrorGuard guard = Watch(file.pages());
    file.Resize(0);
    EXPECT_EQ(Get(file.pages(), 0), 0);
  }
  const MappedFile next(1);
  EXPECT_FALSE(Watch(next.pages()).has_faulted());
}

TEST(BusErrorGuard, KeepsErrno) {
  const MappedFile file(1);
  const BusErrorGuard guard = Watch(file.pages());
  file.Resize(0);
  errno = ENOTTY;
  const unsigned char byte = Get(file.pages(), 0);
  const int error = errno;
  EXPECT_EQ(byte, 0);
  EXPECT_EQ(error, ENOTTY);
}

TEST(BusErrorGuard, MovesWithItsRange) {
  const MappedFile file(1);
  BusErrorGuard guard = Watch(file.pages());
  const size_t ranges = BusErrorGuard::ranges();
  std::optional<BusErrorGuard> moved(std::move(guard));
  EXPECT_EQ(BusErrorGuard::ranges(), ranges);
  file.Resize(0);
  EXPECT_EQ(Get(file.pages(), 0), 0);
  EXPECT_TRUE(moved->has_faulted());
  moved.reset();
  EXPECT_EQ(BusErrorGuard::ranges(), ranges - 1);
}

// The core's own threads receive no signals that are sent: this one they need.
TEST(BusErrorGuard, TakesFaultsInTheCoresThreads) {
  const MappedFile file(1);
  const BusErrorGuard guard = Watch(file.pages());
  file.Resize(0);
  pthread_t thread{};
  const auto read = [](void* byte) -> void* {
    return *static_cast<volatile char*>(byte) == 0 ? byte : nullptr;
  };
  ASSERT_EQ(StartThread(&thread, read, file.pages().data()), 0);
  void* result = nullptr;
  pthread_join(thread, &result);
  EXPECT_EQ(result, file.pages().data());
  EXPECT_TRUE(guard.has_faulted());
}

TEST(BusErrorGuard, TakesFaultsInAChildThatWasForked) {
  const MappedFile file(1);
  const BusErrorGuard guard = Watch(file.pages());
  file.Resize(0);
  EXPECT_EQ(StatusOfChild([&] { return Get(file.pages(), 0) == 0 && guard.has_faulted() ? 0 : 1; }),
            0);
  EXPECT_FALSE(guard.has_faulted()) << "the child's memory is its own";
}

TEST(BusErrorGuard, RefusesMoreRangesThanItsLimit) {
  const MappedFile file(BusErrorGuard::kRangesMax + 1);
  std::vector<BusErrorGuard> guards;
  const size_t before = BusErrorGuard::ranges();
  for (size_t i = before; i < BusErrorGuard::kRangesMax; ++i) {
    guards.push_back(Watch(file.pages().subspan(i * kPage, kPage)));
  }
  const auto last = file.pages().last(kPage);
  const Result<BusErrorGuard> refused = BusErrorGuard::Watch(last);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kResourceExhausted);
  EXPECT_NE(refused.status().message().find("4096"), std::string::npos);
  guards.pop_back();
  const BusErrorGuard guard = Watch(last);
  file.Resize(0);
  EXPECT_EQ(Get(last, 0), 0);
  EXPECT_TRUE(guard.has_faulted());
  EXPECT_FALSE(guards.front().has_faulted());
  guards.clear();
  EXPECT_EQ(BusErrorGuard::ranges(), before + 1);
}

TEST(BusErrorGuard, RefusesWhatIsNoRangeOfPages) {
  const MappedFile file(2);
  for (const auto wrong :
       {file.pages().first(0), file.pages().subspan(1, kPage), file.pages().first(kPage + 1)}) {
    EXPECT_EQ(BusErrorGuard::Watch(wrong).status().code(), Code::kInternal);
  }
}

// Both find the page missing, at about the same time.
TEST(BusErrorGuard, TakesFaultsOfSeveralThreadsInOneRange) {
  constexpr int kRounds = 300;
  constexpr int kThreads = 3;
  int mistakes = 0;
  for (int round = 0; round < kRounds; ++round) {
    const MappedFile file(8);
    const BusErrorGuard guard = Watch(file.pages());
    file.Resize(0);
    std::atomic<int> arrived{0};
    std::atomic<int> zeros{0};
    std::vector<std::thread> threads;
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        ++arrived;
        while (arrived < kThreads) std::this_thread::yield();
        if (Get(file.pages(), t * kPage) == 0 && guard.has_faulted()) ++zeros;
      });
    }
    for (std::thread& thread : threads) thread.join();
    if (zeros != kThreads) ++mistakes;
  }
  EXPECT_EQ(mistakes, 0);
}

// Files are mapped, truncated while they are used, and unmapped, side by side: addresses and places
// in the table are used again all the time.
TEST(BusErrorGuard, TakesFaultsWhileRangesComeAndGo) {
  constexpr int kThreads = 3;
  constexpr int kRounds = 400;
  std::atomic<int> mistakes{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        const MappedFile file(4), whole(1);
        const BusErrorGuard guard = Watch(file.pages());
        const BusErrorGuard other = Watch(whole.pages());
        std::thread client([&] { file.Resize(round % 2); });
        for (size_t i = 0; i < file.pages().size(); i += 512) {
          const unsigned char byte = Get(file.pages(), i);
          if (byte != 'x' && (byte != 0 || !guard.has_faulted())) ++mistakes;
        }
        client.join();
        Set(file.pages(), file.pages().size() - 1, 'z');
        if (!guard.has_faulted() || other.has_faulted()) ++mistakes;
        if (Get(whole.pages(), 0) != 'x') ++mistakes;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(mistakes, 0);
}

}  // namespace
}  // namespace fastserve
