#include "backends/onnxruntime/ort_bound_run.h"

#include <gtest/gtest.h>

#include <thread>

#include "backends/onnxruntime/ort_instance.h"
#include "backends/onnxruntime/served_model.h"

namespace fastserve {
namespace {

constexpr int kHabit = 20;  // More often than a BoundRun needs.

bool IsKept(const ServedModel& model) {
  return static_cast<const ort::OrtInstance&>(*model.instance).kept().has_run();
}

// Whether the model's run is kept after it was asked so often.
bool IsKeptAfter(ServedModel& model, const std::vector<BatchInput>& inputs) {
  for (int i = 0; i < kHabit; ++i) {
    const Status status = model.Run(inputs);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  return IsKept(model);
}

TEST(BoundRun, AnswersEachValueAsANewRunDoes) {
  FS_NEED_LIBRARY();
  ServedModel model("add_mul");
  for (int i = 0; i < 3 * kHabit; ++i) {
    const auto value = static_cast<float>(i);
    EXPECT_EQ(IsKept(model), i > 16) << i;
    ASSERT_TRUE(
        model.Run({Floats({1, 4}, {value, 1, 2, 3}), Floats({1, 4}, {2, 2, 2, value})}).ok());
    ASSERT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{value + 2, 3, 4, 3 + value}));
    ASSERT_EQ(model.sink.answers[1].As<float>(), (std::vector<float>{2 * value, 2, 4, 3 * value}));
    ASSERT_EQ(model.sink.answers[1].tensor.shape, Shape({1, 4}));
    ASSERT_EQ(model.sink.responses, 1);
  }
}

TEST(BoundRun, OtherShapesAreRunAnewAndMayBecomeTheHabit) {
  FS_NEED_LIBRARY();
  ServedModel model("add_mul");
  for (int64_t rows = 1; rows <= 3; ++rows) {
    const auto count = static_cast<size_t>(rows) * 4;
    const std::vector<BatchInput> inputs = {Floats({rows, 4}, std::vector<float>(count, 3)),
                                            Floats({rows, 4}, std::vector<float>(count, 5))};
    EXPECT_TRUE(IsKeptAfter(model, inputs));
    EXPECT_EQ(model.sink.answers[0].As<float>(), std::vector<float>(count, 8));
    EXPECT_EQ(model.sink.answers[0].tensor.shape, Shape({rows, 4}));
  }
}

TEST(BoundRun, InputThatIsLeftOutIsAShapeOfItsOwn) {
  FS_NEED_LIBRARY();
  ServedModel model("optional_input");
  BatchInput left_out;
  left_out.present = false;
  EXPECT_TRUE(IsKeptAfter(model, {Floats({1, 2}, {1, 2}), left_out}));
  EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{3, 6}));
  EXPECT_TRUE(IsKeptAfter(model, {Floats({1, 2}, {1, 2}), Floats({1}, {10})}));
  EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{10, 20}));
  ASSERT_TRUE(model.Run({Floats({1, 2}, {1, 2}), left_out}).ok());
  EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{3, 6}));
}

TEST(BoundRun, ScalarsAndOutputsWithoutABatchAreKept) {
  FS_NEED_LIBRARY();
  ServedModel scalar("scalar");
  EXPECT_TRUE(IsKeptAfter(scalar, {Floats({}, {21})}));
  ASSERT_TRUE(scalar.Run({Floats({}, {4})}).ok());
  EXPECT_EQ(scalar.sink.answers[0].tensor.shape, Shape());
  EXPECT_EQ(scalar.sink.answers[0].As<float>(), std::vector<float>{8});
}

// With an input and a constant among the outputs, of which the engine computes neither.
TEST(BoundRun, OutputsThatPassThroughAreThoseOfTheirRequest) {
  FS_NEED_LIBRARY();
  ServedModel model("passthrough");
  for (int i = 0; i < 2 * kHabit; ++i) {
    const auto value = static_cast<float>(i);
    ASSERT_TRUE(model.Run({Floats({1, 2}, {value, 6})}).ok());
    ASSERT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{value, 6}));
    ASSERT_EQ(model.sink.answers[1].As<float>(), (std::vector<float>{0, 1, 2, 3}));
    ASSERT_EQ(model.sink.answers[2].As<float>(), (std::vector<float>{-value, -6}));
  }
}

TEST(BoundRun, WhatDrawsLotsIsNotKept) {
  FS_NEED_LIBRARY();
  ServedModel model("random_rows");
  const std::vector<BatchInput> inputs = {Floats({1, 2}, {0, 0})};
  EXPECT_FALSE(IsKeptAfter(model, inputs));
  const std::string before = model.sink.answers[0].content();
  ASSERT_TRUE(model.Run(inputs).ok());
  EXPECT_NE(model.sink.answers[0].content(), before);
}

TEST(BoundRun, OutputWhoseShapeChangesIsRunAnewAndNotKeptAgain) {
  FS_NEED_LIBRARY();
  ServedModel model("nonzero");
  const BatchInput two = Floats({1, 4}, {0, 7, 0, 7});
  EXPECT_TRUE(IsKeptAfter(model, {two}));
  ASSERT_TRUE(model.Run({Floats({1, 4}, {7, 7, 7, 0})}).ok());
  EXPECT_EQ(model.sink.answers[0].As<int64_t>(), (std::vector<int64_t>{0, 0, 0, 0, 1, 2}));
  EXPECT_EQ(model.sink.responses, 1);
  EXPECT_FALSE(IsKeptAfter(model, {two}));
}

TEST(BoundRun, WhatFailsBecauseOfTheRequestFailsAndStaysKept) {
  FS_NEED_LIBRARY();
  ServedModel model("gather");
  const BatchInput table = Floats({2, 2}, {1, 2, 3, 4});
  const auto row = [&](int64_t index) {
    return std::vector{table, InputOf(DataType::kInt64, {1}, std::vector{index})};
  };
  EXPECT_TRUE(IsKeptAfter(model, row(1)));
  ::testing::internal::CaptureStderr();
  const Status status = model.Run(row(5));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find("out of"), std::string::npos) << status.message();
  EXPECT_EQ(model.sink.responses, 0);
  ASSERT_TRUE(model.Run(row(0)).ok());
  EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{1, 2}));
  EXPECT_TRUE(IsKept(model));
}

// Whoever calls promises as many bytes as the shape needs; a sanitizer sees it when that is
// trusted.
TEST(BoundRun, BytesThatAreNotAsManyAsTheShapeNeedsAreNotCopied) {
  FS_NEED_LIBRARY();
  ServedModel model("add_mul");
  const BatchInput a = Floats({1, 4}, {1, 2, 3, 4});
  EXPECT_TRUE(IsKeptAfter(model, {a, a}));
  BatchInput few = a;
  few.tensor.bytes = few.tensor.bytes.first(2);
  EXPECT_EQ(model.Run({few, a}).code(), Code::kInvalidArgument);
  BatchInput many = Floats({1, 400}, std::vector<float>(400, 1));
  many.tensor.shape = {1, 4};
  ASSERT_TRUE(model.Run({many, a}).ok());
  EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{2, 3, 4, 5}));
}

TEST(BoundRun, BytesAndLargeAndEmptyTensorsAreNotKept) {
  FS_NEED_LIBRARY();
  ServedModel bytes("identity_bytes");
  EXPECT_FALSE(IsKeptAfter(bytes, {InputOf(DataType::kBytes, {1, 1}, BytesOnWire({"abc"}))}));
  ServedModel model("identity_fp32");
  const auto rows = static_cast<int64_t>(ort::BoundRun::kBytesMax / 2 / 8);
  const auto floats = [](int64_t count) {
    return Floats({count, 2}, std::vector<float>(static_cast<size_t>(count) * 2, 1));
  };
  EXPECT_FALSE(IsKeptAfter(model, {floats(rows + 1)}));
  EXPECT_FALSE(IsKeptAfter(model, {floats(0)}));
  EXPECT_TRUE(IsKeptAfter(model, {floats(rows)}));
}

TEST(BoundRun, AnswerOutlivesLaterRunsInstanceAndBackend) {
  FS_NEED_LIBRARY();
  Answer kept;
  {
    ServedModel model("add_mul");
    EXPECT_TRUE(IsKeptAfter(model, {Floats({1, 4}, {1, 2, 3, 4}), Floats({1, 4}, {1, 1, 1, 1})}));
    kept = model.sink.answers[0];
    ASSERT_TRUE(model.Run({Floats({1, 4}, {7, 7, 7, 7}), Floats({1, 4}, {7, 7, 7, 7})}).ok());
  }
  EXPECT_EQ(reinterpret_cast<uintptr_t>(kept.tensor.bytes.data()) % 64, 0U);
  EXPECT_EQ(kept.As<float>(), (std::vector<float>{2, 3, 4, 5}));
  std::jthread([last = std::move(kept)]() mutable { last = {}; });
}

}  // namespace
}  // namespace fastserve
