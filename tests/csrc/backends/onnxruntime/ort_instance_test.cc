#include "backends/onnxruntime/ort_instance.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>

#include "backends/onnxruntime/served_model.h"

namespace fastserve {
namespace {

class IdentityOfType : public ::testing::TestWithParam<DataType> {};

std::string LowerName(DataType type) {
  std::string name(DataTypeName(type));
  for (char& letter : name) letter = static_cast<char>(std::tolower(letter));
  return name;
}

// Two rows of three elements; the bits are arbitrary, since identity computes nothing.
TEST_P(IdentityOfType, ElementsComeBackBitForBit) {
  FS_NEED_LIBRARY();
  const DataType type = GetParam();
  ServedModel model("identity_" + LowerName(type));
  EXPECT_EQ(model.backend->signature().inputs[0].type, type);
  std::string content(6 * ElementBytes(type), '\0');
  for (size_t i = 0; i < content.size(); ++i) {
    content[i] = static_cast<char>(type == DataType::kBool ? i % 2 : 37 * i + 1);
  }
  ASSERT_TRUE(model.Run({InputOf(type, {2, 3}, content)}).ok());
  const Answer& answer = model.sink.answers[0];
  EXPECT_EQ(answer.tensor.type, type);
  EXPECT_EQ(answer.tensor.shape, Shape({2, 3}));
  EXPECT_EQ(answer.content(), content);
  EXPECT_EQ(model.sink.responses, 1);
}

TEST_P(IdentityOfType, TensorWithoutElementsComesBackWithItsShape) {
  FS_NEED_LIBRARY();
  const DataType type = GetParam();
  ServedModel model("identity_" + LowerName(type));
  BatchInput empty;
  empty.tensor = {type, {0, 3}, {}};
  const Status status = model.Run({empty});
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(model.sink.answers[0].tensor.shape, Shape({0, 3}));
  EXPECT_TRUE(model.sink.answers[0].tensor.bytes.empty());
}

INSTANTIATE_TEST_SUITE_P(EveryNumericType, IdentityOfType,
                         ::testing::Values(DataType::kBool, DataType::kUint8, DataType::kUint16,
                                           DataType::kUint32, DataType::kUint64, DataType::kInt8,
                                           DataType::kInt16, DataType::kInt32, DataType::kInt64,
                                           DataType::kFp16, DataType::kFp32, DataType::kFp64,
                                           DataType::kBf16),
                         [](const auto& info) { return LowerName(info.param); });

TEST(OrtInstance, BytesComeBackAlthoughTheyAreEmptyHoldZerosOrAreNoUtf8) {
  FS_NEED_LIBRARY();
  ServedModel model("identity_bytes");
  const std::string wire = BytesOnWire(
      {"", std::string("a\0b", 3), "\xff\xfe\x80", "caf\xc3\xa9", std::string(5000, 'x'), "end"});
  ASSERT_TRUE(model.Run({InputOf(DataType::kBytes, {2, 3}, wire)}).ok());
  EXPECT_EQ(model.sink.answers[0].tensor.type, DataType::kBytes);
  EXPECT_EQ(model.sink.answers[0].tensor.shape, Shape({2, 3}));
  EXPECT_EQ(model.sink.answers[0].content(), wire);
}

TEST(OrtInstance, BytesTensorWithoutElementsComesBack) {
  FS_NEED_LIBRARY();
  ServedModel model("identity_bytes");
  ASSERT_TRUE(model.Run({InputOf(DataType::kBytes, {0, 3}, "")}).ok());
  EXPECT_EQ(model.sink.answers[0].tensor.shape, Shape({0, 3}));
  EXPECT_TRUE(model.sink.answers[0].tensor.bytes.empty());
}

// A client may rewrite shared memory after its request was checked.
TEST(OrtInstance, BytesThatPromiseMoreThanThereIsAreInvalidArgument) {
  FS_NEED_LIBRARY();
  ServedModel model("identity_bytes");
  std::string wire = BytesOnWire({"one", "two"});
  wire[7] = '\x04';
  Status status = model.Run({InputOf(DataType::kBytes, {1, 2}, wire)});
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find("element 1 of 2"), std::string::npos) << status.message();
  status = model.Run({InputOf(DataType::kBytes, {1, 2}, std::string_view(wire).substr(0, 9))});
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  // Nothing of the failed runs is left over in the instance.
  EXPECT_TRUE(model.Run({InputOf(DataType::kBytes, {1, 1}, BytesOnWire({"ok"}))}).ok());
}

TEST(OrtInstance, BytesBeyondTheServersMemoryAreResourceExhausted) {
  FS_NEED_LIBRARY();
  ServedModel model("identity_bytes");
  model.sink.limit_bytes = 6;
  const Status status = model.Run({InputOf(DataType::kBytes, {1, 1}, BytesOnWire({"abc"}))});
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_NE(status.message().find("'y'"), std::string::npos);
  EXPECT_EQ(model.sink.responses, 0);
}

TEST(OrtInstance, OutputsComeInTheSignaturesOrderForAnyBatch) {
  FS_NEED_LIBRARY();
  ServedModel model("add_mul");
  for (int64_t rows = 1; rows <= 3; ++rows) {
    const auto count = static_cast<size_t>(rows) * 4;
    ASSERT_TRUE(model
                    .Run({Floats({rows, 4}, std::vector<float>(count, 3)),
                          Floats({rows, 4}, std::vector<float>(count, 5))})
                    .ok());
    EXPECT_EQ(model.sink.answers[0].As<float>(), std::vector<float>(count, 8));
    EXPECT_EQ(model.sink.answers[1].As<float>(), std::vector<float>(count, 15));
    EXPECT_EQ(model.sink.answers[1].tensor.shape, Shape({rows, 4}));
  }
}

// Bytes received in a place of the client's choosing are aligned to their element only.
TEST(OrtInstance, InputAlignedToItsElementOnlyIsRead) {
  FS_NEED_LIBRARY();
  ServedModel model("add_mul");
  BatchInput a = Floats({1, 5}, {9, 1, 2, 3, 4});
  a.tensor.shape = {1, 4};
  a.tensor.bytes = a.tensor.bytes.subspan(sizeof(float));
  ASSERT_TRUE(model.Run({a, a}).ok());
  EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{2, 4, 6, 8}));
}

TEST(OrtInstance, OutputIsNotCopiedAndOutlivesInstanceAndBackend) {
  FS_NEED_LIBRARY();
  Answer kept;
  {
    ServedModel model("add_mul");
    ASSERT_TRUE(model.Run({Floats({1, 4}, {1, 2, 3, 4}), Floats({1, 4}, {1, 1, 1, 1})}).ok());
    kept = model.sink.answers[0];
    EXPECT_EQ(static_cast<const void*>(kept.tensor.bytes.data()),
              static_cast<const void*>(kept.owner->data()));
    // Another run must not write over it.
    ASSERT_TRUE(model.Run({Floats({1, 4}, {7, 7, 7, 7}), Floats({1, 4}, {7, 7, 7, 7})}).ok());
  }
  EXPECT_EQ(kept.As<float>(), (std::vector<float>{2, 3, 4, 5}));
  std::jthread([last = std::move(kept)]() mutable { last = {}; });
}

// More than KeptRun would copy anyway.
constexpr int64_t kManyRows = 3000;

BatchInput ManyFloats(float value) {
  return Floats({kManyRows, 4}, std::vector<float>(kManyRows * 4, value));
}

// Bytes of a buffer from a line of 64 on.
OutputPlace PlaceIn(const BufferRef& memory, size_t bytes, size_t offset = 0) {
  const auto address = reinterpret_cast<uintptr_t>(memory->data());
  return {memory->bytes().subspan((64 - address % 64) % 64 + offset, bytes), memory};
}

TEST(OrtInstance, OutputIsComputedWhereItIsWanted) {
  FS_NEED_LIBRARY();
  ServedModel model("add_mul");
  const size_t bytes = kManyRows * 4 * sizeof(float);
  const BufferRef memory = HeapBuffer(bytes + 128);
  model.sink.places[1] = PlaceIn(memory, bytes + 64);
  for (int run = 1; run <= 40; ++run) {
    ASSERT_TRUE(model.Run({ManyFloats(3), ManyFloats(static_cast<float>(run))}).ok());
    const Answer& placed = model.sink.answers[1];
    EXPECT_EQ(placed.tensor.bytes.data(), model.sink.places[1].bytes.data());
    EXPECT_EQ(placed.tensor.bytes.size(), bytes);
    EXPECT_EQ(placed.owner.get(), memory.get());
    EXPECT_EQ(placed.As<float>(), std::vector<float>(kManyRows * 4, 3.0F * run));
    EXPECT_EQ(model.sink.answers[0].As<float>(), std::vector<float>(kManyRows * 4, 3.0F + run));
  }
}

TEST(OrtInstance, APlaceThatDoesNotSuitIsLeftAlone) {
  FS_NEED_LIBRARY();
  ServedModel model("add_mul");
  const size_t bytes = kManyRows * 4 * sizeof(float);
  const BufferRef memory = HeapBuffer(bytes + 128);
  for (const OutputPlace& place : {PlaceIn(memory, bytes - 1), PlaceIn(memory, bytes, 4)}) {
    model.sink.places[0] = place;
    ASSERT_TRUE(model.Run({ManyFloats(3), ManyFloats(4)}).ok());
    EXPECT_NE(model.sink.answers[0].tensor.bytes.data(), place.bytes.data());
    EXPECT_EQ(model.sink.answers[0].As<float>(), std::vector<float>(kManyRows * 4, 7));
  }
  model.sink.places[0] = PlaceIn(memory, bytes);
  ASSERT_TRUE(model.Run({Floats({1, 4}, {1, 2, 3, 4}), Floats({1, 4}, {1, 1, 1, 1})}).ok());
  EXPECT_NE(model.sink.answers[0].tensor.bytes.data(), model.sink.places[0].bytes.data())
      << "small ones are copied";
}

// An output whose first dimension is not that of the inputs.
TEST(OrtInstance, AnOutputOfAnotherShapeThanExpectedIsComputedAnew) {
  FS_NEED_LIBRARY();
  ServedModel model("gather");
  const BufferRef memory = HeapBuffer(1 << 20);
  model.sink.places[0] = PlaceIn(memory, (1 << 20) - 64);
  const auto data = Floats({10'000, 2}, std::vector<float>(20'000, 7));
  for (int run = 0; run < 3; ++run) {
    ASSERT_TRUE(model.Run({data, InputOf(DataType::kInt64, {2}, std::string(16, '\0'))}).ok());
    EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{7, 7, 7, 7}));
    EXPECT_EQ(model.sink.responses, 1);
  }
}

// The first output is the input itself, the second a constant of the session. Without an arena a
// sanitizer sees when either is read too late.
TEST(OrtInstance, OutputThatIsAnInputOrAConstantOutlivesRequestAndBackend) {
  FS_NEED_LIBRARY();
  for (const bool arena : {true, false}) {
    std::map<size_t, Answer> kept;
    {
      OnnxRuntimeOptions options = OptionsFor("passthrough");
      options.arena = arena;
      ServedModel model(options);
      ASSERT_TRUE(model.Run({Floats({1, 2}, {5, 6})}).ok());
      kept = std::move(model.sink.answers);
    }
    EXPECT_EQ(kept[0].As<float>(), (std::vector<float>{5, 6}));
    EXPECT_EQ(kept[1].As<float>(), (std::vector<float>{0, 1, 2, 3}));
    EXPECT_EQ(kept[2].As<float>(), (std::vector<float>{-5, -6}));
  }
}

TEST(OrtInstance, ModelWithAFixedShapeAnswersItAndRefusesOthers) {
  FS_NEED_LIBRARY();
  ServedModel model("fixed_shape");
  ASSERT_TRUE(model.Run({Floats({2, 3}, {1, 2, 3, 4, 5, 6})}).ok());
  EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{-1, -2, -3, -4, -5, -6}));
  EXPECT_EQ(model.Run({Floats({1, 3}, {1, 2, 3})}).code(), Code::kInvalidArgument);
}

TEST(OrtInstance, ModelWithoutABatchDimensionAnswersAScalar) {
  FS_NEED_LIBRARY();
  ServedModel model("no_batch");
  ASSERT_TRUE(model.Run({Floats({3}, {1, 2, 4})}).ok());
  EXPECT_EQ(model.sink.answers[0].tensor.shape, Shape());
  EXPECT_EQ(model.sink.answers[0].As<float>(), std::vector<float>{7});
}

TEST(OrtInstance, ScalarGoesInAndOut) {
  FS_NEED_LIBRARY();
  ServedModel model("scalar");
  ASSERT_TRUE(model.Run({Floats({}, {21})}).ok());
  EXPECT_EQ(model.sink.answers[0].tensor.shape, Shape());
  EXPECT_EQ(model.sink.answers[0].As<float>(), std::vector<float>{42});
}

TEST(OrtInstance, ValuesMayDecideTheOutputsShape) {
  FS_NEED_LIBRARY();
  ServedModel model("nonzero");
  ASSERT_TRUE(model.Run({Floats({1, 4}, {0, 7, 0, 7})}).ok());
  EXPECT_EQ(model.sink.answers[0].tensor.shape, Shape({2, 2}));
  EXPECT_EQ(model.sink.answers[0].As<int64_t>(), (std::vector<int64_t>{0, 0, 1, 3}));
  ASSERT_TRUE(model.Run({Floats({1, 4}, {0, 0, 0, 0})}).ok());
  EXPECT_EQ(model.sink.answers[0].tensor.shape, Shape({2, 0}));
  EXPECT_TRUE(model.sink.answers[0].tensor.bytes.empty());
}

TEST(OrtInstance, OptionalInputHasItsDefaultWhenLeftOut) {
  FS_NEED_LIBRARY();
  ServedModel model("optional_input");
  BatchInput left_out;
  left_out.present = false;
  ASSERT_TRUE(model.Run({Floats({1, 2}, {1, 2}), left_out}).ok());
  EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{3, 6}));
  ASSERT_TRUE(model.Run({Floats({1, 2}, {1, 2}), Floats({1}, {10})}).ok());
  EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{10, 20}));
}

TEST(OrtInstance, FailureInsideTheModelIsAnErrorAndTheNextRunWorks) {
  FS_NEED_LIBRARY();
  ServedModel model("gather");
  const BatchInput table = Floats({2, 2}, {1, 2, 3, 4});
  const Status status = model.Run({table, InputOf(DataType::kInt64, {1}, std::vector<int64_t>{5})});
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find("out of"), std::string::npos) << status.message();
  EXPECT_EQ(model.sink.responses, 0);
  ASSERT_TRUE(model.Run({table, InputOf(DataType::kInt64, {1}, std::vector<int64_t>{1})}).ok());
  EXPECT_EQ(model.sink.answers[0].As<float>(), (std::vector<float>{3, 4}));
}

// Whoever sends bad requests must not fill the server's log.
TEST(OrtInstance, FailingRunWritesNothingToStderr) {
  FS_NEED_LIBRARY();
  ServedModel model("gather");
  ::testing::internal::CaptureStderr();
  const Status status = model.Run(
      {Floats({2, 2}, {1, 2, 3, 4}), InputOf(DataType::kInt64, {1}, std::vector<int64_t>{5})});
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_FALSE(status.ok());
}

TEST(OrtInstance, BytesFewerThanTheShapeNeedsAreInvalidArgument) {
  FS_NEED_LIBRARY();
  ServedModel model("scalar");
  BatchInput input = Floats({}, {1});
  input.tensor.bytes = input.tensor.bytes.first(2);
  EXPECT_EQ(model.Run({input}).code(), Code::kInvalidArgument);
}

TEST(OrtInstance, InstancesOfOneModelRunAtTheSameTime) {
  FS_NEED_LIBRARY();
  ServedModel first("center_rows");
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&backend = *first.backend, thread] {
      const std::unique_ptr<ModelInstance> instance = *backend.NewInstance();
      const auto offset = static_cast<float>(thread);
      for (int run = 0; run < 200; ++run) {
        KeepingSink sink;
        const BatchInput input = Floats({2, 2}, {offset, 1, offset + 2, 3});
        ASSERT_TRUE(instance->Run({&input, 1}, 2, sink).ok());
        ASSERT_EQ(sink.answers[0].As<float>(), (std::vector<float>{-1, -1, 1, 1}));
      }
    });
  }
}

}  // namespace
}  // namespace fastserve
