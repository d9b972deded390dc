#include "tensor/buffer.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

namespace fastserve {
namespace {

std::array<std::byte, 8> memory;

struct CountedBuffer : Buffer {
  explicit CountedBuffer(int& releases)
      : Buffer(memory.data(), memory.size(), &CountedBuffer::Destroy), releases(releases) {}
  static void Destroy(Buffer* buffer) {
    ++static_cast<CountedBuffer*>(buffer)->releases;
    delete static_cast<CountedBuffer*>(buffer);
  }
  int& releases;
};

BufferRef Make(int& releases) { return BufferRef::Adopt(new CountedBuffer(releases)); }

TEST(BufferRef, TheLastOwnerReleasesOnce) {
  int releases = 0;
  BufferRef first = Make(releases);
  EXPECT_TRUE(first->has_one_owner());
  {
    const BufferRef second = first;
    EXPECT_FALSE(first->has_one_owner());
    EXPECT_EQ(second.get(), first.get());
  }
  EXPECT_TRUE(first->has_one_owner());
  EXPECT_EQ(releases, 0);
  first = BufferRef();
  EXPECT_EQ(releases, 1);
}

TEST(BufferRef, MovingChangesNoCount) {
  int releases = 0;
  BufferRef from = Make(releases);
  Buffer* const buffer = from.get();
  BufferRef to = std::move(from);
  EXPECT_FALSE(from);  // NOLINT(bugprone-use-after-move): that it is empty is the promise.
  EXPECT_EQ(to.get(), buffer);
  EXPECT_TRUE(to->has_one_owner());
  EXPECT_EQ(releases, 0);
}

TEST(BufferRef, AssignmentReleasesWhatItReplaces) {
  int first_releases = 0;
  int second_releases = 0;
  BufferRef first = Make(first_releases);
  BufferRef second = Make(second_releases);
  first = second;
  EXPECT_EQ(first_releases, 1);
  EXPECT_EQ(second_releases, 0);
  second = std::move(first);
  EXPECT_TRUE(second->has_one_owner());
  EXPECT_EQ(second_releases, 0);
}

TEST(BufferRef, SurvivesAssignmentToItself) {
  int releases = 0;
  BufferRef ref = Make(releases);
  BufferRef& alias = ref;
  ref = alias;
  EXPECT_EQ(releases, 0);
  EXPECT_TRUE(ref->has_one_owner());
  ref = std::move(alias);
  EXPECT_EQ(releases, 0);
  EXPECT_TRUE(ref);
}

TEST(BufferRef, EmptyIsFalseAndMayBeCopied) {
  const BufferRef empty;
  const BufferRef copy = empty;
  EXPECT_FALSE(empty);
  EXPECT_FALSE(copy);
  EXPECT_EQ(copy.get(), nullptr);
}

// Sanitizers watch: each thread's writes happen before the release, whichever thread that is on.
TEST(BufferRef, IsReleasedOnceWhateverThreadIsLast) {
  int releases = 0;
  BufferRef ref = Make(releases);
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < 4; ++i) {
      threads.emplace_back([mine = ref, i]() mutable {
        mine->data()[i] = std::byte{1};
        for (int round = 0; round < 1'000; ++round) const BufferRef copy = mine;
        mine = BufferRef();
      });
    }
    ref = BufferRef();
  }
  EXPECT_EQ(releases, 1);
}

}  // namespace
}  // namespace fastserve
