#include "serving/scheduling/batch.h"

#include <gtest/gtest.h>

#include <exception>
#include <new>
#include <utility>
#include <vector>

#include "serving/scheduling/batch_rig.h"

namespace fastserve {
namespace {

TEST(Batch, LetsTheEngineReadASingleRequestWhereItLies) {
  Rig rig(FloatBackend(Echo));
  RequestPtr request = rig.sink.FloatRequest(0, 2, 1);
  const std::byte* const memory = request->inputs[0].tensor.bytes.data();
  rig.batch.Add(std::move(request));
  const auto outcome = rig.Run();
  EXPECT_TRUE(outcome.together);
  EXPECT_EQ(outcome.runs, 1u);
  EXPECT_EQ(rig.sink[0].addresses.at(0), memory);
  EXPECT_EQ(rig.sink[0].batch_rows, 2);
  EXPECT_EQ(rig.pool->stats().acquired, 0u);
}

TEST(Batch, GivesEachRequestItsOwnRows) {
  int runs = 0;
  Rig rig(FloatBackend([&](auto inputs, int64_t rows, OutputSink& outputs) {
    ++runs;
    EXPECT_EQ(rows, 6);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(inputs[0].tensor.bytes.data()) % 64, 0u);
    return PlusOne(inputs, rows, outputs);
  }));
  rig.batch.Add(rig.sink.FloatRequest(0, 1, 10));
  rig.batch.Add(rig.sink.FloatRequest(1, 3, 20));
  rig.batch.Add(rig.sink.FloatRequest(2, 2, 30));
  EXPECT_EQ(rig.batch.rows(), 6);
  EXPECT_EQ(rig.batch.input_bytes(), 48u);
  rig.Run();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(rig.sink.FloatsOf(0), (std::vector<float>{11, 12}));
  EXPECT_EQ(rig.sink.FloatsOf(1), (std::vector<float>{21, 22, 23, 24, 25, 26}));
  EXPECT_EQ(rig.sink.FloatsOf(2), (std::vector<float>{31, 32, 33, 34}));
  EXPECT_EQ(rig.sink[1].shapes.at(0), (Shape{3, 2}));
  EXPECT_EQ(rig.sink[1].batch_rows, 6);
  EXPECT_EQ(rig.stats.success.value(), 3u);
  EXPECT_EQ(rig.stats.rows.value(), 6u);
  EXPECT_EQ(rig.stats.batch_rows[6].value(), 1u);
  EXPECT_EQ(rig.stats.queue.count(), 3u);
  for (const auto* phase : {&rig.stats.stage, &rig.stats.run, &rig.stats.finish}) {
    EXPECT_EQ(phase->count(), 1u);
  }
  EXPECT_EQ(rig.pool->stats().in_use_bytes, 0u);
}

// A clock that goes on by itself: each reading is 1 us after the one before.
Nanos ticks = 0;
Nanos Tick() { return ticks += kMicrosecond; }

// One reading when the rows are gathered, one when the engine is done, one at the end; an engine
// that takes 10 us.
TEST(Batch, RecordsItsPhasesOnceForEachRun) {
  for (const int requests : {1, 2}) {
    const auto backend = FloatBackend([](auto inputs, int64_t, OutputSink& outputs) {
      ticks += 10 * kMicrosecond;
      outputs.Add(0, inputs[0].tensor, inputs[0].owner);
      outputs.EndResponse();
      return Status();
    });
    Rig rig(backend);
    Batch batch({.signature = &backend->signature(),
                 .has_batch_dimension = true,
                 .pool = rig.pool.get(),
                 .stats = &rig.stats,
                 .now = &Tick});
    for (int id = 0; id < requests; ++id) batch.Add(rig.sink.FloatRequest(id, 1, 0));
    const Nanos started = ticks;
    const auto outcome = batch.Run(*rig.instance, started);
    const bool gathers = requests > 1;
    EXPECT_EQ(rig.stats.stage.sum_ns(), gathers ? 1'000u : 0u);
    EXPECT_EQ(rig.stats.run.sum_ns(), 11'000u);
    EXPECT_EQ(rig.stats.finish.sum_ns(), 1'000u);
    EXPECT_EQ(rig.sink[0].staged_ns, started + (gathers ? kMicrosecond : 0));
    EXPECT_EQ(rig.sink[0].computed_ns, rig.sink[0].staged_ns + 11 * kMicrosecond);
    EXPECT_EQ(outcome.finished, rig.sink[0].computed_ns + kMicrosecond);
    EXPECT_EQ(outcome.took, rig.sink[0].computed_ns - started);
  }
}

// The run that fails together and those of its requests apart: each is an execution with all
// phases.
TEST(Batch, RecordsThePhasesOfRunsThatFail) {
  Rig rig(FloatBackend([](auto, int64_t, OutputSink&) { return Internal("no"); }));
  rig.batch.Add(rig.sink.FloatRequest(0, 1, 0));
  rig.batch.Add(rig.sink.FloatRequest(1, 1, 0));
  rig.Run();
  EXPECT_EQ(rig.stats.executions.value(), 3u);
  for (const auto* phase : {&rig.stats.stage, &rig.stats.run, &rig.stats.finish}) {
    EXPECT_EQ(phase->count(), 3u);
  }
  EXPECT_GT(rig.sink[1].computed_ns, 0);
}

TEST(Batch, FailsOnlyItsRequestsWhenTheEngineRunsOutOfMemory) {
  bool is_full = true;
  Rig rig(FloatBackend([&](auto inputs, int64_t rows, OutputSink& outputs) {
    // What a library does that finds no memory.
    if (is_full) std::rethrow_exception(std::make_exception_ptr(std::bad_alloc()));
    return PlusOne(inputs, rows, outputs);
  }));
  for (int id = 0; id < 2; ++id) rig.batch.Add(rig.sink.FloatRequest(id, 1, 0));
  rig.Run();
  for (const size_t id : {0, 1}) EXPECT_EQ(rig.sink[id].status.code(), Code::kResourceExhausted);
  is_full = false;
  rig.batch.Add(rig.sink.FloatRequest(2, 1, 0));
  EXPECT_TRUE(rig.Run().together);
  EXPECT_TRUE(rig.sink[2].status.ok());
}

TEST(Batch, AnswersRequestsWithoutRowsWithNone) {
  for (const int64_t others : {0, 2}) {
    Rig rig(FloatBackend());
    rig.batch.Add(rig.sink.FloatRequest(0, 0, 10));
    rig.batch.Add(rig.sink.FloatRequest(1, others, 20));
    rig.batch.Add(rig.sink.FloatRequest(2, 0, 30));
    EXPECT_TRUE(rig.Run().together);
    for (const size_t id : {0, 1, 2}) EXPECT_TRUE(rig.sink[id].status.ok());
    EXPECT_TRUE(rig.sink.FloatsOf(2).empty());
    EXPECT_EQ(rig.sink[2].shapes.at(0), (Shape{0, 2}));
    EXPECT_EQ(rig.sink.FloatsOf(1).size(), 2 * static_cast<size_t>(others));
  }
}

TEST(Batch, JoinsAndSplitsElementsOfAnyLength) {
  const std::vector specs = {Spec("x", DataType::kBytes, {-1, 2})};
  Rig rig(std::make_shared<FakeBackend>(specs, specs, Echo));
  const std::vector<std::vector<std::string>> texts = {
      {"a", ""}, {"bcd", "e", "", ""}, {"longer than the others", "z"}};
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto rows = static_cast<int64_t>(texts[i].size() / 2);
    rig.batch.Add(rig.sink.Request(
        static_cast<int>(i), InputOf(DataType::kBytes, {rows, 2}, BytesOnWire(texts[i])), rows));
  }
  rig.Run();
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(rig.sink[i].responses.at(0).at(0), BytesOnWire(texts[i]));
    EXPECT_EQ(rig.sink[i].shapes.at(0)[0], static_cast<int64_t>(texts[i].size() / 2));
  }
}

// An engine (or a client that shares its memory) may give lengths that lead out of the tensor.
TEST(Batch, FailsOnElementsThatGoBeyondTheOutput) {
  const std::vector specs = {Spec("x", DataType::kBytes, {-1})};
  Rig rig(std::make_shared<FakeBackend>(
      specs, specs, [](std::span<const BatchInput>, int64_t rows, OutputSink& outputs) {
        std::string wire = BytesOnWire(std::vector<std::string>(static_cast<size_t>(rows), "ab"));
        wire[wire.size() - 6] = 100;
        Emit(outputs, 0, DataType::kBytes, {rows}, wire);
        outputs.EndResponse();
        return Status();
      }));
  for (int id = 0; id < 2; ++id) {
    rig.batch.Add(rig.sink.Request(id, InputOf(DataType::kBytes, {1}, BytesOnWire({"x"})), 1));
  }
  EXPECT_FALSE(rig.Run().together);
  EXPECT_EQ(rig.stats.executions.value(), 3u);
  for (const size_t id : {0, 1}) {
    EXPECT_EQ(rig.sink[id].status.code(), Code::kInternal);
    EXPECT_TRUE(rig.sink[id].responses.empty());
  }
}

TEST(Batch, LeavesAbsentInputsAbsent) {
  std::vector inputs = {Spec("a", DataType::kFp32, {-1, 2}), Spec("b", DataType::kFp32, {-1, 2})};
  int runs = 0;
  Rig rig(std::make_shared<FakeBackend>(
      inputs, std::vector{Spec("y", DataType::kFp32, {-1, 2})},
      [&](std::span<const BatchInput> given, int64_t rows, OutputSink& outputs) {
        ++runs;
        EXPECT_FALSE(given[1].present);
        return PlusOne(given, rows, outputs);
      }));
  for (int id = 0; id < 2; ++id) {
    RequestPtr request = rig.sink.FloatRequest(id, 1, 0);
    request->inputs.emplace_back().present = false;
    rig.batch.Add(std::move(request));
  }
  rig.Run();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(rig.stats.success.value(), 2u);
}

TEST(Batch, FailsThePoisonRequestAlone) {
  Rig rig(FloatBackend([](auto inputs, int64_t rows, OutputSink& outputs) -> Status {
    const Tensor& x = inputs[0].tensor;
    for (size_t i = 0; i < x.bytes.size() / sizeof(float); ++i) {
      float value = 0;
      std::memcpy(&value, x.bytes.data() + i * sizeof(float), sizeof(float));
      if (value == 66) return InvalidArgument("66 is poison");
    }
    return PlusOne(inputs, rows, outputs);
  }));
  rig.batch.Add(rig.sink.FloatRequest(0, 1, 10));
  rig.batch.Add(rig.sink.FloatRequest(1, 1, 66));
  rig.batch.Add(rig.sink.FloatRequest(2, 1, 30));
  const auto outcome = rig.Run();
  EXPECT_FALSE(outcome.together);
  EXPECT_EQ(outcome.runs, 4u);
  EXPECT_EQ(rig.sink.FloatsOf(0), (std::vector<float>{11, 12}));
  EXPECT_EQ(rig.sink[1].status.message(), "66 is poison");
  EXPECT_TRUE(rig.sink[1].responses.empty());
  EXPECT_EQ(rig.sink.FloatsOf(2), (std::vector<float>{31, 32}));
  EXPECT_EQ(rig.sink[2].batch_rows, 1);
  EXPECT_EQ(rig.stats.executions.value(), 4u);
  EXPECT_EQ(rig.stats.success.value(), 2u);
  EXPECT_EQ(rig.failures(), 1u);
}

// Several clients must not read each other's rows: what is no batch is told apart by its length.
TEST(Batch, FailsWhenRowsOutAreNotRowsIn) {
  Rig rig(FloatBackend([](std::span<const BatchInput>, int64_t, OutputSink& outputs) {
    Emit(outputs, 0, DataType::kFp32, {4, 2}, std::string(32, 0));
    outputs.EndResponse();
    return Status();
  }));
  rig.batch.Add(rig.sink.FloatRequest(0, 1, 10));
  rig.batch.Add(rig.sink.FloatRequest(1, 4, 20));
  rig.Run();
  EXPECT_EQ(rig.sink[0].status.code(), Code::kInternal);
  EXPECT_EQ(rig.sink[0].status.message(),
            "output 'y' came with shape [4,2] for a batch of 1 rows, expected one row for each: "
            "the model's first dimension is no batch");
  EXPECT_TRUE(rig.sink[0].responses.empty());
  EXPECT_TRUE(rig.sink[1].status.ok());  // Alone it had as many rows as it got.
}

TEST(Batch, LetsAModelWithoutABatchDimensionAnswerAnyShape) {
  Rig rig(FloatBackend([](std::span<const BatchInput>, int64_t rows, OutputSink& outputs) {
            EXPECT_EQ(rows, 1);
            Emit(outputs, 0, DataType::kFp32, {4, 2}, std::string(32, 0));
            outputs.EndResponse();
            return Status();
          }),
          false);
  rig.batch.Add(rig.sink.FloatRequest(0, 1, 10));
  rig.Run();
  EXPECT_TRUE(rig.sink[0].status.ok());
  EXPECT_EQ(rig.sink[0].shapes.at(0), (Shape{4, 2}));
}

TEST(Batch, FailsOnOutputsThatAreMissingMistypedOrOfAnotherSize) {
  enum class Sin { kMissing, kType, kBytes, kTooLate };
  for (const Sin sin : {Sin::kMissing, Sin::kType, Sin::kBytes, Sin::kTooLate}) {
    Rig rig(FloatBackend([&](std::span<const BatchInput>, int64_t rows, OutputSink& outputs) {
      const DataType type = sin == Sin::kType ? DataType::kInt32 : DataType::kFp32;
      const size_t bytes = static_cast<size_t>(rows) * (sin == Sin::kBytes ? 4 : 8);
      if (sin != Sin::kMissing) Emit(outputs, 0, type, {rows, 2}, std::string(bytes, 0));
      if (sin != Sin::kTooLate) outputs.EndResponse();
      return Status();
    }));
    rig.batch.Add(rig.sink.FloatRequest(0, 1, 10));
    rig.Run();
    EXPECT_EQ(rig.sink[0].status.code(), Code::kInternal);
    EXPECT_NE(rig.sink[0].status.message().find("'y'"), std::string::npos)
        << rig.sink[0].status.message();
    EXPECT_TRUE(rig.sink[0].responses.empty());
  }
}

TEST(Batch, SplitsEachResponseOfADecoupledModel) {
  for (const int repeat : {0, 1, 3}) {
    Rig rig(FloatBackend([&](auto inputs, int64_t rows, OutputSink& outputs) {
      for (int i = 0; i < repeat; ++i) (void)PlusOne(inputs, rows, outputs);
      return Status();
    }));
    rig.batch.Add(rig.sink.FloatRequest(0, 1, 10));
    rig.batch.Add(rig.sink.FloatRequest(1, 2, 20));
    rig.Run();
    for (const size_t id : {0, 1}) {
      EXPECT_TRUE(rig.sink[id].status.ok());
      EXPECT_EQ(rig.sink[id].responses.size(), static_cast<size_t>(repeat));
      EXPECT_EQ(rig.sink[id].ends, 1);
    }
    EXPECT_EQ(rig.stats.executions.value(), 1u);
  }
}

// Running it again would give the same response twice.
TEST(Batch, DoesNotRunApartWhatHasRespondedAlready) {
  int runs = 0;
  Rig rig(FloatBackend([&](auto inputs, int64_t rows, OutputSink& outputs) -> Status {
    ++runs;
    (void)PlusOne(inputs, rows, outputs);
    return Internal("broke off");
  }));
  rig.batch.Add(rig.sink.FloatRequest(0, 1, 10));
  rig.batch.Add(rig.sink.FloatRequest(1, 1, 20));
  rig.Run();
  EXPECT_EQ(runs, 1);
  for (const size_t id : {0, 1}) {
    EXPECT_EQ(rig.sink[id].responses.size(), 1u);
    EXPECT_EQ(rig.sink[id].status.message(), "broke off");
  }
}

TEST(Batch, RunsRequestsApartWhenThereIsNoMemoryToJoinThem) {
  Rig rig(FloatBackend(Echo), true, {.bytes_max = 0});
  rig.batch.Add(rig.sink.FloatRequest(0, 1, 10));
  rig.batch.Add(rig.sink.FloatRequest(1, 1, 20));
  const auto outcome = rig.Run();
  EXPECT_EQ(outcome.runs, 2u);
  EXPECT_EQ(rig.stats.success.value(), 2u);
  EXPECT_EQ(rig.sink.FloatsOf(1), (std::vector<float>{20, 21}));
}

// What a request was answered lives as long as somebody holds it, also after the pool is gone.
TEST(Batch, SharesTheOwnerOfTheWholeOutputWithEveryRow) {
  struct Holder : ResponseSink {
    void OnResponse(InferenceRequest&, std::span<ResponseOutput> outputs) override {
      held.push_back(std::move(outputs[0]));
    }
    void OnEnd(RequestPtr request, Status) override {
      delete static_cast<TestRequest*>(request.release());
    }
    std::vector<ResponseOutput> held;
  } holder;
  {
    Rig rig(FloatBackend());
    for (int id = 0; id < 2; ++id) {
      RequestPtr request = rig.sink.FloatRequest(id, 1, 10);
      request->sink = &holder;
      rig.batch.Add(std::move(request));
    }
    rig.Run();
  }
  ASSERT_EQ(holder.held.size(), 2u);
  EXPECT_EQ(holder.held[0].owner.get(), holder.held[1].owner.get());
  float value = 0;
  std::memcpy(&value, holder.held[1].tensor.bytes.data(), sizeof value);
  EXPECT_EQ(value, 11);
}

}  // namespace
}  // namespace fastserve
