#include "gateway/memory/shared_tensors.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "memory/lost_pages.h"

namespace fastserve {
namespace {

// An object of a client's, registered as "r".
class SharedTensorsTest : public ::testing::Test {
 protected:
  static constexpr size_t kBytes = 64 << 10;

  void SetUp() override { ASSERT_TRUE(regions_.Register("r", object_.key(), 0, kBytes).ok()); }

  static SharedMemoryRange Range(uint64_t offset, uint64_t bytes) { return {"r", offset, bytes}; }
  static InferInput Input(DataType type, int64_t elements, uint64_t offset, uint64_t bytes) {
    InferInput input;
    input.name = "x";
    input.memory = Range(offset, bytes);
    input.tensor.type = type;
    input.tensor.shape = Shape({elements});
    return input;
  }
  Status AddOutput(size_t index, uint64_t offset, uint64_t bytes, DataType type = DataType::kFp32) {
    const std::string name = "y" + std::to_string(index);
    InferOutput output;
    output.name = name;
    output.memory = Range(offset, bytes);
    return shared_.AddOutput(regions_, output, index, type);
  }
  // Whether these are the object's own bytes: what the client writes shows there.
  bool IsShared(std::span<const std::byte> bytes, size_t offset) {
    object_.Write(offset, "a");
    const std::string before(TextOf(bytes.first(1)));
    object_.Write(offset, "b");
    return before == "a" && TextOf(bytes.first(1)) == "b";
  }

  const ShmObject object_{kBytes};
  RegionRegistry regions_{{}};
  std::shared_ptr<SlabPool> pool_ = SlabPool::Create({.bytes_max = 1 << 20});
  TensorArena arena_{pool_};
  SharedTensors shared_;
};

TEST_F(SharedTensorsTest, FloatsAndPixelsAreReadWhereTheyAre) {
  for (const DataType type : {DataType::kFp32, DataType::kFp16, DataType::kFp64, DataType::kBf16,
                              DataType::kUint8, DataType::kInt8}) {
    const size_t bytes = 4 * ElementBytes(type);
    InferInput input = Input(type, 4, 128, bytes);
    BufferRef owner;
    ASSERT_TRUE(shared_.FillInput(regions_, &input, arena_, &owner).ok());
    EXPECT_EQ(input.tensor.bytes.size(), bytes);
    EXPECT_TRUE(owner);
    EXPECT_TRUE(IsShared(input.tensor.bytes, 128)) << DataTypeName(type);
  }
  EXPECT_EQ(pool_->stats().acquired, 0u);
}

TEST_F(SharedTensorsTest, WhatAnEngineMayTakeForAnIndexIsCopied) {
  for (const DataType type : {DataType::kBool, DataType::kInt16, DataType::kInt32, DataType::kInt64,
                              DataType::kUint16, DataType::kUint32, DataType::kUint64}) {
    const size_t bytes = 4 * ElementBytes(type);
    InferInput input = Input(type, 4, 0, bytes);
    BufferRef owner;
    object_.Write(0, std::string(bytes, '\1'));
    ASSERT_TRUE(shared_.FillInput(regions_, &input, arena_, &owner).ok());
    EXPECT_TRUE(owner);
    EXPECT_EQ(input.tensor.bytes[0], std::byte{1});
    EXPECT_FALSE(IsShared(input.tensor.bytes, 0)) << DataTypeName(type);
  }
}

TEST_F(SharedTensorsTest, StringsAreCheckedAsTheyWereCopied) {
  object_.Write(0, std::string_view("\x03\0\0\0abc", 7));
  InferInput input = Input(DataType::kBytes, 1, 0, 7);
  BufferRef owner;
  ASSERT_TRUE(shared_.FillInput(regions_, &input, arena_, &owner).ok());
  EXPECT_FALSE(IsShared(input.tensor.bytes, 0));
  object_.Write(0, "\x04");
  input = Input(DataType::kBytes, 1, 0, 7);
  EXPECT_EQ(shared_.FillInput(regions_, &input, arena_, &owner).code(), Code::kInvalidArgument);
}

TEST_F(SharedTensorsTest, AnInputUnderAnOutputIsCopied) {
  ASSERT_TRUE(AddOutput(0, 16, 16).ok());
  for (const uint64_t offset : {1, 8, 16, 24, 31}) {
    InferInput input = Input(DataType::kFp32, 4, offset, 16);
    BufferRef owner;
    ASSERT_TRUE(shared_.FillInput(regions_, &input, arena_, &owner).ok());
    EXPECT_FALSE(IsShared(input.tensor.bytes, offset)) << offset;
  }
  for (const uint64_t offset : {0, 32}) {
    InferInput input = Input(DataType::kFp32, 4, offset, 16);
    BufferRef owner;
    ASSERT_TRUE(shared_.FillInput(regions_, &input, arena_, &owner).ok());
    EXPECT_TRUE(IsShared(input.tensor.bytes, offset)) << offset;
  }
}

TEST_F(SharedTensorsTest, WithoutMemoryForACopyTheRequestFails) {
  const std::shared_ptr<SlabPool> none = SlabPool::Create({.bytes_max = 0});
  TensorArena arena(none);
  InferInput input = Input(DataType::kInt64, 4, 0, 32);
  BufferRef owner;
  EXPECT_EQ(shared_.FillInput(regions_, &input, arena, &owner).code(), Code::kUnavailable);
}

TEST_F(SharedTensorsTest, WhatIsNotThereIsNamedWithItsTensor) {
  InferInput input = Input(DataType::kFp32, 4, 0, 16);
  input.memory.region = "s";
  BufferRef owner;
  Status status = shared_.FillInput(regions_, &input, arena_, &owner);
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_NE(status.message().find("input 'x'"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("'s'"), std::string::npos) << status.message();
  status = AddOutput(0, kBytes - 3, 4);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find("output 'y0'"), std::string::npos) << status.message();
}

TEST_F(SharedTensorsTest, OutputsDoNotOverlap) {
  ASSERT_TRUE(AddOutput(0, 100, 100).ok());
  EXPECT_TRUE(AddOutput(1, 0, 100).ok());
  EXPECT_TRUE(AddOutput(2, 200, 100).ok());
  for (const uint64_t offset : {99, 150, 299}) {
    EXPECT_EQ(AddOutput(3, offset, 2).code(), Code::kInvalidArgument) << offset;
  }
}

TEST_F(SharedTensorsTest, EnginesAreOfferedPlacesWhoseBytesTheyWillNotRelyOn) {
  ASSERT_TRUE(AddOutput(2, 0, 100, DataType::kFp32).ok());
  ASSERT_TRUE(AddOutput(0, 100, 100, DataType::kInt64).ok());
  InferenceRequest request;
  shared_.OfferPlaces(3, &request);
  ASSERT_EQ(request.places.size(), 3u);
  EXPECT_TRUE(request.places[0].bytes.empty()) << "integers";
  EXPECT_TRUE(request.places[1].bytes.empty());
  EXPECT_EQ(request.places[2].bytes.size(), 100u);
  EXPECT_TRUE(request.places[2].owner);
}

TEST_F(SharedTensorsTest, WithoutOutputsInARegionNothingIsOffered) {
  InferenceRequest request;
  shared_.OfferPlaces(3, &request);
  EXPECT_TRUE(request.places.empty());
}

TEST_F(SharedTensorsTest, OutputsGoWhereTheyAreWanted) {
  ASSERT_TRUE(AddOutput(1, 64, 8).ok());
  const std::string text = "computed";
  std::vector<ResponseOutput> response(2);
  for (ResponseOutput& output : response) output.tensor.bytes = std::as_bytes(std::span(text));
  shared_.Place(response);
  EXPECT_TRUE(shared_.Check().ok());
  EXPECT_EQ(object_.Read(64, 8), "computed");
  EXPECT_EQ(static_cast<const void*>(response[0].tensor.bytes.data()), text.data());
  EXPECT_TRUE(IsShared(response[1].tensor.bytes, 64));
  EXPECT_TRUE(response[1].owner);
  ASSERT_NE(shared_.Find(1), nullptr);
  EXPECT_EQ(shared_.Find(1)->region, "r");
  EXPECT_EQ(shared_.Find(1)->offset, 64u);
  EXPECT_EQ(shared_.Find(0), nullptr);
}

TEST_F(SharedTensorsTest, AnOutputThatDoesNotFitIsNotWritten) {
  ASSERT_TRUE(AddOutput(0, 64, 7).ok());
  const std::string text = "computed";
  std::vector<ResponseOutput> response(1);
  response[0].tensor.bytes = std::as_bytes(std::span(text));
  shared_.Place(response);
  const Status status = shared_.Check();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find("output 'y0' has 8 bytes"), std::string::npos);
  EXPECT_EQ(object_.Read(64, 1), std::string(1, '\0'));
  shared_.Clear();
  EXPECT_TRUE(shared_.Check().ok());
}

TEST_F(SharedTensorsTest, MemoryThatWasTakenAwayFailsTheRequest) {
  InferInput input = Input(DataType::kFp32, 4, 8192, 16);
  BufferRef owner;
  ASSERT_TRUE(shared_.FillInput(regions_, &input, arena_, &owner).ok());
  ASSERT_TRUE(AddOutput(0, 0, 16).ok());
  object_.Truncate(0);
  EXPECT_TRUE(shared_.Check().ok()) << "nobody has touched it";
  std::vector<ResponseOutput> response(1);
  response[0].tensor = input.tensor;
  shared_.Place(response);
  const Status status = shared_.Check();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find(object_.key()), std::string::npos) << status.message();
}

TEST_F(SharedTensorsTest, ItKeepsARegionThatWasUnregistered) {
  InferInput input = Input(DataType::kFp32, 4, 0, 16);
  BufferRef owner;
  ASSERT_TRUE(shared_.FillInput(regions_, &input, arena_, &owner).ok());
  owner = {};
  regions_.UnregisterAll();
  EXPECT_EQ(regions_.stats().retired, 1u);
  EXPECT_TRUE(IsShared(input.tensor.bytes, 0));
  shared_.Clear();
  EXPECT_EQ(regions_.stats().retired, 0u);
}

}  // namespace
}  // namespace fastserve
