#include "memory/sealed_segment.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstring>

#include "memory/lost_pages.h"

namespace fastserve {
namespace {

const size_t kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

SealedSegment Create(size_t bytes) {
  Result<SealedSegment> segment = SealedSegment::Create(bytes);
  EXPECT_TRUE(segment.ok()) << segment.status().message();
  return *std::move(segment);
}

Status AdoptionError(int fd, size_t bytes_max = size_t{1} << 30) {
  Result<SealedSegment> segment = SealedSegment::Adopt(fd, bytes_max);
  EXPECT_FALSE(segment.ok());
  return std::move(segment).status();
}

TEST(SealedSegment, HasWholePagesOfZeros) {
  for (const size_t bytes : {size_t{1}, kPage, kPage + 1}) {
    const SealedSegment segment = Create(bytes);
    EXPECT_EQ(segment.bytes().size(), bytes == kPage + 1 ? 2 * kPage : kPage);
    for (const std::byte byte : segment.bytes()) ASSERT_EQ(byte, std::byte{0});
  }
}

TEST(SealedSegment, IsTheSameMemoryToWhoAdoptsIt) {
  const SealedSegment segment = Create(kPage);
  Result<SealedSegment> adopted = SealedSegment::Adopt(dup(segment.fd()), kPage);
  ASSERT_TRUE(adopted.ok()) << adopted.status().message();
  EXPECT_NE(adopted->bytes().data(), segment.bytes().data());
  std::memcpy(segment.bytes().data(), "from one side", 13);
  EXPECT_EQ(TextOf(adopted->bytes().first(13)), "from one side");
}

TEST(SealedSegment, CanNeitherShrinkNorGrowNorBeSealedFurther) {
  const SealedSegment segment = Create(2 * kPage);
  EXPECT_NE(ftruncate(segment.fd(), 0), 0);
  EXPECT_NE(ftruncate(segment.fd(), static_cast<off_t>(kPage)), 0);
  EXPECT_NE(ftruncate(segment.fd(), static_cast<off_t>(3 * kPage)), 0);
  EXPECT_NE(fcntl(segment.fd(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  segment.bytes()[2 * kPage - 1] = std::byte{1};
}

TEST(SealedSegment, WhatIsNoneIsRefusedAndClosed) {
  const ShmObject object(kPage);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[1]);
  const int unsealed = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const int half = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const int never = memfd_create("test", MFD_CLOEXEC);
  for (const int fd : {unsealed, half, never}) {
    ASSERT_EQ(ftruncate(fd, static_cast<off_t>(kPage)), 0);
  }
  ASSERT_EQ(fcntl(half, F_ADD_SEALS, F_SEAL_GROW), 0);
  for (const int fd : {dup(object.file()), ends[0], unsealed, half, never}) {
    EXPECT_EQ(AdoptionError(fd).code(), Code::kInvalidArgument);
    EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  }
  EXPECT_EQ(AdoptionError(-1).code(), Code::kInvalidArgument);
}

TEST(SealedSegment, OneOfAnotherSizeIsRefused) {
  const SealedSegment segment = Create(2 * kPage);
  const Status status = AdoptionError(dup(segment.fd()), 2 * kPage - 1);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find(std::to_string(2 * kPage)), std::string::npos);
  const int empty = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(fcntl(empty, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK), 0);
  EXPECT_EQ(AdoptionError(empty).code(), Code::kInvalidArgument);
}

TEST(SealedSegment, NoBytesAreNone) {
  EXPECT_EQ(SealedSegment::Create(0).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(SealedSegment::Create(SIZE_MAX).status().code(), Code::kInvalidArgument);
}

TEST(SealedSegment, LeavesNothingBehind) {
  const int descriptors = DescriptorsOf("memfd:fastserve");
  const int mappings = MappingsOf("memfd:fastserve");
  {
    SealedSegment segment = Create(kPage);
    SealedSegment moved = std::move(segment);
    segment = Create(kPage);
    EXPECT_EQ(DescriptorsOf("memfd:fastserve"), descriptors + 2);
    EXPECT_EQ(MappingsOf("memfd:fastserve"), mappings + 2);
  }
  EXPECT_EQ(DescriptorsOf("memfd:fastserve"), descriptors);
  EXPECT_EQ(MappingsOf("memfd:fastserve"), mappings);
}

}  // namespace
}  // namespace fastserve
