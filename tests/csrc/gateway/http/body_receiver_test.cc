#include "gateway/http/body_receiver.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "protocol/compression/compressed.h"

namespace fastserve {
namespace {

struct Receiving {
  explicit Receiving(size_t body_bytes_max = 1 << 20, size_t in_flight_bytes_max = 2 << 20,
                     size_t pool_bytes_max = 64 << 20)
      : admission(std::make_shared<Admission>(Admission::Options{
            .body_bytes_max = body_bytes_max, .in_flight_bytes_max = in_flight_bytes_max})),
        pool(SlabPool::Create({.bytes_max = pool_bytes_max})),
        body(admission, pool) {}

  void Fill(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::span<std::byte> tail = body.Tail();
      ASSERT_FALSE(tail.empty());
      const size_t count = std::min<size_t>(tail.size(), std::min<size_t>(bytes.size(), 7));
      std::memcpy(tail.data(), bytes.data(), count);
      body.Received(count);
      bytes.remove_prefix(count);
    }
  }
  std::string Content() const {
    const auto bytes = body.bytes();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  size_t held() const { return admission->in_flight_bytes(); }

  std::shared_ptr<Admission> admission;
  std::shared_ptr<SlabPool> pool;
  BodyReceiver body;
};

TEST(BodyReceiver, ReceivesInPiecesWhatWasAnnounced) {
  Receiving to;
  ASSERT_TRUE(to.body.Start(20, std::nullopt).ok());
  EXPECT_EQ(to.held(), 20u);
  EXPECT_EQ(to.body.Tail().size(), 20u);
  to.Fill("0123456789");
  EXPECT_FALSE(to.body.complete());
  EXPECT_EQ(to.Content(), "0123456789");
  to.Fill("abcdefghij");
  EXPECT_TRUE(to.body.complete());
  EXPECT_TRUE(to.body.Tail().empty());
  EXPECT_EQ(to.Content(), "0123456789abcdefghij");
  to.body.Reset();
  EXPECT_EQ(to.held(), 0u);
  EXPECT_TRUE(to.body.bytes().empty());
  EXPECT_EQ(to.pool->stats().in_use_bytes, 0u);
}

// Whatever its JSON's length: engines read the tensors where they lie.
TEST(BodyReceiver, PutsWhatIsBehindTheJsonOnALine) {
  Receiving to;
  for (uint64_t json = 0; json <= 200; ++json) {
    ASSERT_TRUE(to.body.Start(json + 64, json).ok());
    const auto address = reinterpret_cast<uintptr_t>(to.body.Tail().data());
    EXPECT_EQ((address + json) % 64, 0u) << json;
    to.Fill(std::string(json + 64, 'x'));
    to.body.StartChunked(json);
    ASSERT_TRUE(to.body.Append(std::string(json + 1, 'x')).ok());
    to.body.FinishChunked();
    EXPECT_EQ((reinterpret_cast<uintptr_t>(to.body.bytes().data()) + json) % 64, 0u) << json;
  }
}

TEST(BodyReceiver, TakesAnyNonsenseForTheLengthOfTheJson) {
  Receiving to;
  for (uint64_t json : {UINT64_MAX, UINT64_MAX - 63, uint64_t{1} << 63, uint64_t{5000}}) {
    ASSERT_TRUE(to.body.Start(100, json).ok());
    to.Fill(std::string(100, 'x'));
    EXPECT_EQ(to.Content(), std::string(100, 'x'));
  }
}

TEST(BodyReceiver, SaysWhetherABodyIsTooLargeForAnyoneOrOnlyForNow) {
  Receiving to(1000, 1500);
  EXPECT_EQ(to.body.Start(1001, std::nullopt).code(), Code::kOutOfRange);
  EXPECT_EQ(to.body.Start(UINT64_MAX, std::nullopt).code(), Code::kOutOfRange);
  EXPECT_EQ(to.held(), 0u);
  ASSERT_TRUE(to.body.Start(1000, std::nullopt).ok());
  BodyReceiver other(to.admission, to.pool);
  EXPECT_EQ(other.Start(501, std::nullopt).code(), Code::kUnavailable);
  EXPECT_TRUE(other.Start(500, std::nullopt).ok());
  other.Reset();
  to.body.Reset();
  EXPECT_EQ(to.held(), 0u);
}

TEST(BodyReceiver, GivesBackWhatItReservedWhenThereIsNoMemory) {
  Receiving to(1 << 20, 2 << 20, 8 << 10);
  EXPECT_EQ(to.body.Start(9 << 10, std::nullopt).code(), Code::kUnavailable);
  to.body.Reset();
  EXPECT_EQ(to.held(), 0u);
  to.body.StartChunked(std::nullopt);
  EXPECT_EQ(to.body.Append("x").code(), Code::kUnavailable);
  to.body.Reset();
  EXPECT_EQ(to.held(), 0u);
}

TEST(BodyReceiver, GrowsWithTheChunks) {
  Receiving to;
  std::string expected;
  to.body.StartChunked(5);
  for (int i = 0; expected.size() < 300'000; ++i) {
    const std::string piece(static_cast<size_t>(i % 997), static_cast<char>('a' + i % 26));
    ASSERT_TRUE(to.body.Append(piece).ok());
    expected += piece;
  }
  to.body.FinishChunked();
  EXPECT_TRUE(to.body.complete());
  EXPECT_EQ(to.Content(), expected);
  EXPECT_GE(to.held(), expected.size());
  to.body.Reset();
  EXPECT_EQ(to.held(), 0u);
  EXPECT_EQ(to.pool->stats().in_use_bytes, 0u);
}

TEST(BodyReceiver, RefusesChunksAboveTheLimitAndFillsItToTheLastByte) {
  Receiving to(20'000, 20'000);
  to.body.StartChunked(std::nullopt);
  ASSERT_TRUE(to.body.Append(std::string(16 << 10, 'x')).ok());
  EXPECT_EQ(to.body.Append(std::string(3617, 'x')).code(), Code::kOutOfRange);
  ASSERT_TRUE(to.body.Append(std::string(3616, 'y')).ok());
  EXPECT_EQ(to.body.Append("z").code(), Code::kOutOfRange);
  EXPECT_EQ(to.Content(), std::string(16 << 10, 'x') + std::string(3616, 'y'));
}

TEST(BodyReceiver, TakesAnEmptyBodyForNothing) {
  Receiving to;
  ASSERT_TRUE(to.body.Start(0, 7).ok());
  EXPECT_TRUE(to.body.complete());
  EXPECT_FALSE(to.body.owner());
  to.body.StartChunked(std::nullopt);
  ASSERT_TRUE(to.body.Append("").ok());
  to.body.FinishChunked();
  EXPECT_TRUE(to.body.complete());
  EXPECT_TRUE(to.body.bytes().empty());
}

TEST(BodyReceiver, MovesWithItsReservation) {
  Receiving to;
  ASSERT_TRUE(to.body.Start(3, std::nullopt).ok());
  to.Fill("abc");
  {
    BodyReceiver moved(std::move(to.body));
    EXPECT_EQ(moved.bytes().size(), 3u);
    EXPECT_TRUE(to.body.bytes().empty());
    EXPECT_EQ(to.held(), 3u);
    ASSERT_TRUE(to.body.Start(2, std::nullopt).ok());  // Good for another.
    EXPECT_EQ(to.held(), 5u);
    moved = std::move(to.body);
    EXPECT_EQ(to.held(), 5u);
  }
  to.body.Reset();
  EXPECT_EQ(to.held(), 0u);
}

// What was computed from a body may be a view of it, and outlive the request.
TEST(BodyReceiver, LeavesTheMemoryToOtherOwners) {
  Receiving to;
  ASSERT_TRUE(to.body.Start(3, std::nullopt).ok());
  to.Fill("abc");
  const BufferRef kept = to.body.owner();
  const std::byte* const bytes = to.body.bytes().data();
  to.body.Reset();
  EXPECT_EQ(to.held(), 0u);
  EXPECT_GT(to.pool->stats().in_use_bytes, 0u);
  EXPECT_EQ(std::memcmp(bytes, "abc", 3), 0);
}

constexpr auto kGzip = ContentCoding::kGzip;
constexpr auto kDeflate = ContentCoding::kDeflate;

TEST(BodyReceiver, PutsThePlainBytesInThePlaceOfCompressedOnes) {
  for (const ContentCoding coding : {kGzip, kDeflate}) {
    for (const size_t bytes : {0, 1, 100, 16 << 10, 100'000}) {
      Receiving to;
      const std::string text = Noise(bytes);
      const std::string compressed = Compressed(coding, text);
      ASSERT_TRUE(to.body.Start(compressed.size(), 10).ok());
      to.Fill(compressed);
      ASSERT_TRUE(to.body.Decompress(coding, 10).ok());
      EXPECT_TRUE(to.body.complete());
      EXPECT_EQ(to.Content(), text);
      EXPECT_GE(to.held(), bytes);
      if (bytes > 10) {
        EXPECT_EQ(reinterpret_cast<uintptr_t>(to.body.bytes().data() + 10) % 64, 0u)
            << "what stands behind the JSON begins on a line";
      }
      to.body.Reset();
      EXPECT_EQ(to.held(), 0u);
      EXPECT_EQ(to.pool->stats().in_use_bytes, 0u);
    }
  }
}

TEST(BodyReceiver, AClaimedLengthIsRoomAtOnce) {
  Receiving to(100'000);
  const std::string compressed = Compressed(kGzip, std::string(100'000, 'x'));
  ASSERT_TRUE(to.body.Start(compressed.size(), std::nullopt).ok());
  to.Fill(compressed);
  ASSERT_TRUE(to.body.Decompress(kGzip, std::nullopt).ok());
  EXPECT_EQ(to.body.bytes().size(), 100'000u) << "as large as a body may be";
  EXPECT_EQ(to.held(), 100'000u) << "no more than that is asked for";
}

TEST(BodyReceiver, ABombIsRefusedAtTheLimit) {
  for (const ContentCoding coding : {kGzip, kDeflate}) {
    Receiving to(100'000);
    std::string compressed = Compressed(coding, std::string(10'000'000, 'x'));
    if (coding == kGzip) compressed[compressed.size() - 2] = 0;  // It says that it is smaller.
    ASSERT_TRUE(to.body.Start(compressed.size(), std::nullopt).ok());
    to.Fill(compressed);
    EXPECT_EQ(to.body.Decompress(coding, std::nullopt).code(), Code::kOutOfRange);
    EXPECT_EQ(to.held(), 0u);
    EXPECT_EQ(to.pool->stats().in_use_bytes, 0u);
    EXPECT_TRUE(to.body.bytes().empty());
  }
}

TEST(BodyReceiver, WhatIsDamagedOrFindsNoRoomIsGivenBack) {
  Receiving to(1 << 20, 150'000);
  const std::string compressed = Compressed(kGzip, std::string(149'990, 'x'));
  ASSERT_TRUE(to.body.Start(compressed.size(), std::nullopt).ok());
  to.Fill(compressed);
  EXPECT_EQ(to.body.Decompress(kGzip, std::nullopt).code(), Code::kUnavailable);
  EXPECT_EQ(to.held(), 0u);
  ASSERT_TRUE(to.body.Start(5, std::nullopt).ok());
  to.Fill("plain");
  EXPECT_EQ(to.body.Decompress(kDeflate, std::nullopt).code(), Code::kInvalidArgument);
  EXPECT_EQ(to.held(), 0u);
  ASSERT_TRUE(to.body.Start(5, std::nullopt).ok());
  to.Fill("plain");
  EXPECT_TRUE(to.body.Decompress(ContentCoding::kIdentity, std::nullopt).ok());
  EXPECT_EQ(to.Content(), "plain");
}

}  // namespace
}  // namespace fastserve
