#include "serving/batching_probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "serving/keeping_sink.h"

namespace fastserve {
namespace {

// A model of floats: `function` maps all rows (of equal width) to all rows.
using Rows = std::vector<std::vector<float>>;
using RowsFunction = std::function<Rows(const Rows&)>;

std::shared_ptr<FakeBackend> RowsBackend(RowsFunction function, Shape shape = {-1, 3}) {
  return std::make_shared<FakeBackend>(
      std::vector{Spec("x", DataType::kFp32, shape)},
      std::vector{Spec("y", DataType::kFp32, {-1, -1})},
      [function = std::move(function)](std::span<const BatchInput> inputs, int64_t rows,
                                       OutputSink& outputs) -> Status {
        const Tensor& x = inputs[0].tensor;
        const size_t width = x.bytes.size() / sizeof(float) / static_cast<size_t>(rows);
        Rows values(static_cast<size_t>(rows), std::vector<float>(width));
        for (size_t r = 0; r < values.size(); ++r) {
          std::memcpy(values[r].data(), x.bytes.data() + r * width * sizeof(float),
                      width * sizeof(float));
        }
        const Rows answers = function(values);
        std::vector<float> flat;
        for (const auto& row : answers) flat.insert(flat.end(), row.begin(), row.end());
        Emit(outputs, 0, DataType::kFp32,
             {static_cast<int64_t>(answers.size()), static_cast<int64_t>(answers[0].size())},
             RawBytes(flat));
        outputs.EndResponse();
        return {};
      });
}

// Two layers with a nonlinearity between them; the order of addition depends on the batch's size.
Rows Perceptron(const Rows& rows) {
  Rows answers;
  for (const auto& row : rows) {
    float sum = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      const size_t at = rows.size() % 2 == 0 ? i : row.size() - 1 - i;
      sum += std::tanh(row[at] * (0.3F + static_cast<float>(at)));
    }
    answers.push_back({sum, std::exp(-sum)});
  }
  return answers;
}

Rows CenterOverBatch(const Rows& rows) {
  float mean = 0;
  for (const auto& row : rows) mean += row[0] / static_cast<float>(rows.size());
  Rows answers = rows;
  for (auto& row : answers) row[0] -= mean;
  return answers;
}

BatchingVerdict Try(const std::shared_ptr<FakeBackend>& backend) {
  return ProbeBatching(*backend, 42);
}

TEST(BatchingProbe, AcceptsRowsThatDoNotLookAtEachOther) {
  const BatchingVerdict verdict = Try(RowsBackend(Perceptron));
  EXPECT_TRUE(verdict.rows_are_independent) << verdict.why;
  EXPECT_EQ(verdict.why, "its rows are independent");
}

TEST(BatchingProbe, FindsAMeanOverTheBatch) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const BatchingVerdict verdict = ProbeBatching(*RowsBackend(CenterOverBatch), seed);
    EXPECT_FALSE(verdict.rows_are_independent);
    EXPECT_EQ(verdict.why, "output 'y': a row in a batch of 3 differs from the same row alone");
  }
}

TEST(BatchingProbe, FindsAState) {
  int runs = 0;
  const BatchingVerdict verdict = Try(RowsBackend([&](Rows rows) {
    ++runs;
    for (auto& row : rows) row[0] += static_cast<float>(runs);
    return rows;
  }));
  EXPECT_FALSE(verdict.rows_are_independent);
}

TEST(BatchingProbe, FindsAnAnswerThatDependsOnTheOrder) {
  const BatchingVerdict verdict = Try(RowsBackend([](Rows rows) {
    for (size_t r = 0; r < rows.size(); ++r) rows[r][0] += static_cast<float>(r);
    return rows;
  }));
  EXPECT_FALSE(verdict.rows_are_independent);
}

TEST(BatchingProbe, FindsRowsThatAreNotOneForEach) {
  const BatchingVerdict fixed = Try(RowsBackend([](const Rows&) { return Rows(4, {1.0F}); }));
  EXPECT_FALSE(fixed.rows_are_independent);
  EXPECT_EQ(fixed.why, "output 'y': a single row gives shape [4,1]");
  const BatchingVerdict summed = Try(RowsBackend([](const Rows&) { return Rows(1, {1.0F}); }));
  EXPECT_FALSE(summed.rows_are_independent);
  EXPECT_EQ(summed.why, "output 'y': a batch of 3 gives shape [1,1]");
}

TEST(BatchingProbe, TakesNotANumberForEqual) {
  const BatchingVerdict verdict = Try(RowsBackend([](Rows rows) {
    for (auto& row : rows) row = {std::nanf(""), -INFINITY};
    return rows;
  }));
  EXPECT_TRUE(verdict.rows_are_independent) << verdict.why;
}

TEST(BatchingProbe, SaysWhatTheEngineSaidShortened) {
  const auto backend = std::make_shared<FakeBackend>(
      std::vector{Spec("x", DataType::kFp32, {-1})}, std::vector{Spec("y", DataType::kFp32, {-1})},
      [](auto, int64_t, OutputSink&) {
        return Internal("no kernel for Foo\n", std::string(1000, 'x'));
      });
  const BatchingVerdict verdict = Try(backend);
  EXPECT_FALSE(verdict.rows_are_independent);
  EXPECT_EQ(verdict.why, "it cannot be tried: no kernel for Foo");
}

TEST(BatchingProbe, RefusesModelsWithoutABatchDimension) {
  const auto verdict = [](Shape in, Shape out) {
    return Try(std::make_shared<FakeBackend>(std::vector{Spec("x", DataType::kFp32, in)},
                                             std::vector{Spec("y", DataType::kFp32, out)},
                                             PlusOne));
  };
  EXPECT_EQ(verdict({2, 3}, {-1}).why,
            "input 'x' of shape [2,3] has no first dimension of any length");
  EXPECT_EQ(verdict({-1}, {}).why, "output 'y' of shape [] has no first dimension of any length");
  TensorSpec square = Spec("x", DataType::kFp32, {-1, -1});
  square.dim_names = {"n", "n"};
  const auto backend = std::make_shared<FakeBackend>(
      std::vector{square}, std::vector{Spec("y", DataType::kFp32, {-1})}, PlusOne);
  EXPECT_EQ(Try(backend).why, "input 'x' has the batch dimension twice");
}

// Tokens and their mask have one length, which is not that of the features.
TEST(BatchingProbe, GivesDimensionsOfOneNameOneLength) {
  TensorSpec tokens = Spec("tokens", DataType::kInt64, {-1, -1});
  TensorSpec mask = Spec("mask", DataType::kInt64, {-1, -1});
  TensorSpec features = Spec("features", DataType::kBf16, {-1, -1});
  tokens.dim_names = mask.dim_names = {"batch", "sequence"};
  features.dim_names = {"batch", "width"};
  int unequal = 0;
  const auto backend = std::make_shared<FakeBackend>(
      std::vector{tokens, mask, features}, std::vector{Spec("y", DataType::kInt64, {-1, -1})},
      [&](std::span<const BatchInput> inputs, int64_t, OutputSink& outputs) -> Status {
        const int64_t sequence = inputs[0].tensor.shape[1];
        EXPECT_EQ(inputs[1].tensor.shape[1], sequence);
        if (inputs[2].tensor.shape[1] == sequence) return InvalidArgument("width is length");
        ++unequal;
        outputs.Add(0, inputs[0].tensor, inputs[0].owner);
        outputs.EndResponse();
        return {};
      });
  const BatchingVerdict verdict = Try(backend);
  EXPECT_TRUE(verdict.rows_are_independent) << verdict.why;
  EXPECT_GT(unequal, 0);
}

// The values suit what such inputs mean, and every type can be compared.
TEST(BatchingProbe, TriesEveryType) {
  for (size_t t = 0; t < kDataTypeCount; ++t) {
    const auto type = static_cast<DataType>(t);
    const std::vector specs = {Spec("x", type, {-1, -1})};
    const auto backend = std::make_shared<FakeBackend>(
        specs, specs, [&](std::span<const BatchInput> inputs, int64_t, OutputSink& outputs) {
          const Tensor& x = inputs[0].tensor;
          EXPECT_TRUE(ValidateTensor("x", x).ok());
          for (size_t at = 0; ElementBytes(type) == 8 && at < x.bytes.size(); at += 8) {
            int64_t value = 0;
            std::memcpy(&value, x.bytes.data() + at, sizeof value);
            if (type == DataType::kInt64) {
              EXPECT_TRUE(value == 0 || value == 1);
            }
          }
          outputs.Add(0, x, inputs[0].owner);
          outputs.EndResponse();
          return Status();
        });
    const BatchingVerdict verdict = Try(backend);
    EXPECT_TRUE(verdict.rows_are_independent) << DataTypeName(type) << ": " << verdict.why;
  }
}

TEST(BatchingProbe, RefusesModelsThatRespondMoreThanOnce) {
  const auto backend = FloatBackend([](auto inputs, int64_t rows, OutputSink& outputs) {
    (void)PlusOne(inputs, rows, outputs);
    return PlusOne(inputs, rows, outputs);
  });
  EXPECT_EQ(Try(backend).why, "it cannot be tried: it responds 2 times to one run");
}

}  // namespace
}  // namespace fastserve
