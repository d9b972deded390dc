#include "serving/warm_up.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "serving/fake_backend.h"

namespace fastserve {
namespace {

using Content = WarmUpInput::Content;

WarmUpInput X(Content content = Content::kZeros, std::string_view given = {}) {
  WarmUpInput input;
  input.name = "x";
  input.shape = {2};
  input.content = content;
  input.given = given;
  return input;
}

std::string BytesOf(const BatchInput& input) {
  const auto bytes = input.tensor.bytes;
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// ------------------------------------------------------------------------------------------------
// Zeros.

TEST(WarmUp, SizesArePowersOfTwoAndTheLargest) {
  EXPECT_EQ(WarmUpRows(WarmUpSizes::kPowersOfTwo, 12), (std::vector<int64_t>{1, 2, 4, 8, 12}));
  EXPECT_EQ(WarmUpRows(WarmUpSizes::kPowersOfTwo, 8), (std::vector<int64_t>{1, 2, 4, 8}));
  EXPECT_EQ(WarmUpRows(WarmUpSizes::kPowersOfTwo, 0), std::vector<int64_t>{1});
  EXPECT_EQ(WarmUpRows(WarmUpSizes::kAll, 5), (std::vector<int64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(WarmUpRows(WarmUpSizes::kAll, 1), std::vector<int64_t>{1});
  EXPECT_TRUE(WarmUpRows(WarmUpSizes::kNone, 8).empty());
}

// Counts runs by their rows.
std::shared_ptr<FakeBackend> Counting(std::map<int64_t, int>* runs) {
  return FloatBackend([runs](auto inputs, int64_t rows, OutputSink& outputs) {
    ++(*runs)[rows];
    for (const std::byte b : inputs[0].tensor.bytes) EXPECT_EQ(b, std::byte{0});
    return PlusOne(inputs, rows, outputs);
  });
}

TEST(WarmUp, RunsEverySizeOfEveryInstanceUncounted) {
  std::map<int64_t, int> runs;
  ServableOptions options = UpTo(12);
  options.instance_count = 2;
  const auto servable = Serve(Counting(&runs), options);
  servable->WarmUp();
  ASSERT_EQ(runs.size(), 5u);
  for (const int64_t rows : {1, 2, 4, 8, 12}) EXPECT_GE(runs[rows], 4) << rows;
  EXPECT_EQ(servable->stats().executions.value(), 0u);
  EXPECT_EQ(servable->stats().run.count(), 0u);
}

// However long it takes: each is known then.
TEST(WarmUp, RunsAllSizesAtLeastTwiceOnEachInstance) {
  std::map<int64_t, int> runs;
  ServableOptions options = UpTo(37);
  options.instance_count = 2;
  const auto servable = Serve(Counting(&runs), options);
  servable->WarmUp(WarmUpSizes::kAll);
  ASSERT_EQ(runs.size(), 37u);
  for (const auto& [rows, count] : runs) EXPECT_GE(count, 4) << rows;
}

TEST(WarmUp, RunsNothingWhenToldSo) {
  std::map<int64_t, int> runs;
  Serve(Counting(&runs), UpTo(8))->WarmUp(WarmUpSizes::kNone);
  EXPECT_TRUE(runs.empty());
}

// A model whose tokens must not be zero, say: it serves all the same.
TEST(WarmUp, DoesNotBlameAModelThatFailsOnZeros) {
  int runs = 0;
  const auto servable = Serve(FloatBackend([&](auto, int64_t, OutputSink&) {
                                ++runs;
                                return Internal("no zeros");
                              }),
                              UpTo(4));
  servable->WarmUp();
  EXPECT_EQ(runs, 3);
}

// ------------------------------------------------------------------------------------------------
// Samples.

TEST(WarmUp, GivenRowsAreRepeated) {
  const std::vector<float> row = {1.5F, 2.5F};
  const auto pool = SlabPool::Create({});
  const auto made = MakeWarmUpInput(X(Content::kGiven, RawBytes(row)), true, 3, pool.get());
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(made->tensor.shape, (Shape{3, 2}));
  const std::vector<float> all = {1.5F, 2.5F, 1.5F, 2.5F, 1.5F, 2.5F};
  EXPECT_EQ(BytesOf(*made), RawBytes(all));
  const auto whole = MakeWarmUpInput(X(Content::kGiven, RawBytes(row)), false, 1, pool.get());
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->tensor.shape, Shape{2});
  EXPECT_EQ(BytesOf(*whole), RawBytes(row));
}

TEST(WarmUp, BytesHaveTheirLengthsInFront) {
  WarmUpInput input = X();
  input.type = DataType::kBytes;
  const auto pool = SlabPool::Create({});
  const auto made = [&] { return BytesOf(*MakeWarmUpInput(input, true, 2, pool.get())); };
  EXPECT_EQ(made(), std::string(16, '\0'));
  const std::string row = BytesOnWire({"a", "bcd"});
  input.content = Content::kGiven;
  input.given = row;
  EXPECT_EQ(made(), row + row);
  input.content = Content::kRandom;
  EXPECT_EQ(made().size() % 2, 0u);
  EXPECT_EQ(made(), made());
  input.content = Content::kGiven;
  input.given = "abc";
  EXPECT_EQ(MakeWarmUpInput(input, true, 2, pool.get()).status().code(), Code::kInvalidArgument);
}

TEST(WarmUp, RefusesBytesAndShapesThatCannotBe) {
  const auto pool = SlabPool::Create({});
  const auto message = [&](const WarmUpInput& input) {
    return MakeWarmUpInput(input, true, 1, pool.get()).status().message();
  };
  EXPECT_NE(message(X(Content::kGiven, "abc")).find("'x'"), std::string::npos);
  WarmUpInput input = X();
  input.shape = {-1};
  EXPECT_EQ(message(input), "input 'x' has shape [-1], which no tensor can have");
  input.shape = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  EXPECT_NE(message(input).find("which no tensor can have"), std::string::npos);
  input.shape = {int64_t{1} << 50};
  EXPECT_EQ(MakeWarmUpInput(input, true, int64_t{1} << 40, pool.get()).status().code(),
            Code::kInvalidArgument);
}

TEST(WarmUp, SamplesRunAsOftenAsSaidOnEachInstanceUncounted) {
  std::vector<int64_t> runs;
  ServableOptions options = UpTo(8);
  options.instance_count = 2;
  const auto servable = Serve(FloatBackend([&](auto inputs, int64_t rows, OutputSink& outputs) {
                                runs.push_back(rows);
                                return PlusOne(inputs, rows, outputs);
                              }),
                              options);
  const Status status =
      servable->WarmUpWith({.inputs = {X(Content::kRandom)}, .rows = 3, .count = 2});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(runs, (std::vector<int64_t>{3, 3, 3, 3}));
  EXPECT_EQ(servable->stats().executions.value(), 0u);
}

TEST(WarmUp, SaysWhyASampleDoesNotRun) {
  const auto servable = Serve(FloatBackend([&](auto inputs, int64_t rows, OutputSink& outputs) {
                                if (rows == 2) return Internal("not two");
                                if (rows < 3) return PlusOne(inputs, rows, outputs);
                                Emit(outputs, 0, DataType::kFp32, {1, 2}, "12345678");
                                outputs.EndResponse();
                                return Status();
                              }),
                              UpTo(8));
  const auto message = [&](WarmUpInput input, int64_t rows) {
    return servable->WarmUpWith({.inputs = {input}, .rows = rows}).message();
  };
  EXPECT_EQ(message(X(), 1), "");
  EXPECT_EQ(message(X(), 2), "not two");
  EXPECT_EQ(message(X(), 3),
            "output 'y' came with shape [1,2] for 3 rows, expected one row for each: the model's "
            "first dimension is no batch");
  EXPECT_EQ(message(X(), 9), "input 'x' has 9 rows, expected at most 8");
  WarmUpInput other = X();
  other.name = "z";
  EXPECT_EQ(message(other, 1), "unknown input 'z', expected 'x'");
  EXPECT_EQ(servable->WarmUpWith({}).message(), "input 'x' is missing, expected 'x'");
}

// An engine that has no memory fails the sample, and nothing else.
TEST(WarmUp, ReportsALackOfMemory) {
  const auto servable = Serve(
      FloatBackend([&](auto, int64_t, OutputSink&) -> Status { throw std::bad_alloc(); }), UpTo(8));
  EXPECT_EQ(servable->WarmUpWith({.inputs = {X()}}).code(), Code::kResourceExhausted);
}

}  // namespace
}  // namespace fastserve
