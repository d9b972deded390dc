#include "serving/servable.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "serving/keeping_sink.h"

namespace fastserve {
namespace {

RequestPtr Bound(const Servable& servable, KeepingSink& sink, int id, Shape shape,
                 const std::vector<float>& values) {
  auto* request = new TestRequest;
  request->id = id;
  request->sink = &sink;
  NamedInput input = Named("x", Floats(shape, values));
  const Status status = servable.Bind(std::span(&input, 1), request);
  EXPECT_TRUE(status.ok()) << status.message();
  return RequestPtr(request);
}

TEST(Servable, AnswersOnItsThreadWhenNothingIsKnownOfTheCost) {
  KeepingSink sink;
  const auto servable = Serve(FloatBackend(), UpTo(8));
  servable->Submit(Bound(*servable, sink, 0, {1, 2}, {1, 2}));
  EXPECT_EQ(servable->RunHere(kSecond), 0);
  sink.WaitFor(1);
  EXPECT_TRUE(sink[0].status.ok());
  EXPECT_EQ(sink.FloatsOf(0), (std::vector<float>{2, 3}));
  EXPECT_EQ(servable->stats().caller_runs.value(), 0u);
  EXPECT_EQ(servable->stats().success.value(), 1u);
}

TEST(Servable, RunsOnTheCallersThreadWhatIsKnownToBeShort) {
  constexpr int kRequestsMax = 600;
  KeepingSink sink(kRequestsMax);
  const auto servable = Serve(FloatBackend(), UpTo(8));
  // Learned rather than warmed up: on a busy machine a run may be taken for longer than it is, so
  // the test goes on until one was short.
  int id = 0;
  while (servable->stats().caller_runs.value() == 0) {
    ASSERT_LT(id, kRequestsMax);
    for (int i = 0; i < 3; ++i) {
      servable->Submit(Bound(*servable, sink, id + i, {1, 2}, {float(id + i), 2}));
    }
    servable->RunHere(kSecond);
    id += 3;
    sink.WaitFor(static_cast<size_t>(id));
  }
  for (size_t i = 0; i < static_cast<size_t>(id); ++i) {
    EXPECT_EQ(sink.FloatsOf(i), (std::vector<float>{float(i) + 1, 3}));
    EXPECT_GT(sink[i].started_ns, 0);
    EXPECT_GE(sink[i].staged_ns, sink[i].started_ns);
    EXPECT_GE(sink[i].computed_ns, sink[i].staged_ns);
  }
  EXPECT_EQ(servable->queue_depth(), 0u);
}

TEST(Servable, NeverRunsOnTheCallersThreadWhenToldNotTo) {
  KeepingSink sink;
  ServableOptions options = UpTo(8);
  options.caller_runs = false;
  const auto servable = Serve(FloatBackend(), options);
  servable->WarmUp();
  for (int id = 0; id < 20; ++id) {
    servable->Submit(Bound(*servable, sink, id, {1, 2}, {1, 2}));
    EXPECT_EQ(servable->RunHere(kSecond), 0);
  }
  sink.WaitFor(20);
  EXPECT_EQ(servable->stats().caller_runs.value(), 0u);
}

TEST(Servable, EndsWhatWaitsWhenItGoes) {
  KeepingSink sink;
  ServableOptions options = UpTo(8);
  options.max_queue_delay = 1000 * kSecond;
  auto servable = Serve(FloatBackend(), options);
  for (int id = 0; id < 3; ++id) servable->Submit(Bound(*servable, sink, id, {1, 2}, {1, 2}));
  servable->Wake();
  servable.reset();
  ASSERT_EQ(sink.ends(), 3u);
  EXPECT_EQ(sink[2].status.message(), "model 'm' stopped before the request ran");
}

TEST(Servable, EndsEveryRequestWhenItGoesWhileItIsBusy) {
  for (int round = 0; round < 20; ++round) {
    constexpr int kRequests = 200;
    KeepingSink sink(kRequests);
    ServableOptions options = UpTo(4);
    options.instance_count = 3;
    auto servable = Serve(FloatBackend(), options);
    for (int id = 0; id < kRequests; ++id) {
      servable->Submit(Bound(*servable, sink, id, {1, 2}, {float(id), 2}));
      if (id % 5 == 0) servable->Wake();
    }
    servable.reset();
    ASSERT_EQ(sink.ends(), static_cast<size_t>(kRequests));
    for (size_t id = 0; id < kRequests; ++id) {
      ASSERT_EQ(sink[id].ends, 1);
      if (sink[id].status.ok()) {
        ASSERT_EQ(sink.FloatsOf(id)[0], float(id) + 1);
      }
    }
  }
}

// ------------------------------------------------------------------------------------------------
// What may be served of an engine.

TensorSpec X(Shape shape = {-1, 2}, DataType type = DataType::kFp32) {
  return Spec("x", type, shape);
}

TEST(ServableCreate, RefusesWhatDoesNotFitTheEngine) {
  const auto message = [](const std::function<void(ServableOptions&)>& change) {
    ServableOptions options = UpTo(8);
    change(options);
    const auto servable = Servable::Create(FloatBackend(), options);
    if (servable.ok()) return std::string("ok");
    EXPECT_EQ(servable.status().code(), Code::kInvalidArgument);
    return servable.status().message();
  };
  EXPECT_EQ(message([](auto& o) { o.inputs = {X()}; }), "ok");
  EXPECT_EQ(message([](auto& o) { o.inputs = {Spec("z", DataType::kFp32, {-1, 2})}; }),
            "input 'z' is configured, but the model has 'x'");
  EXPECT_EQ(message([](auto& o) { o.inputs = {X({-1, 2}, DataType::kInt8)}; }),
            "input 'x' is configured as INT8, but the model has FP32");
  EXPECT_EQ(message([](auto& o) { o.inputs = {X({-1, 3})}; }),
            "input 'x' is configured with shape [-1,3], but the model has [-1,2]");
  EXPECT_EQ(message([](auto& o) { o.inputs = {X({-1, -1})}; }),
            "input 'x' is configured with shape [-1,-1], but the model has [-1,2]");
  EXPECT_EQ(message([](auto& o) { o.inputs = {X(), X()}; }), "input 'x' is configured twice");
  EXPECT_EQ(message([](auto& o) { o.outputs = {X()}; }),
            "output 'x' is configured, but the model has 'y'");
  EXPECT_EQ(message([](auto& o) { o.max_batch_size = -1; }),
            "model 'm': max_batch_size is -1, expected 0 to 1048576");
  EXPECT_EQ(message([](auto& o) { o.instance_count = 0; }),
            "model 'm': instance count is 0, expected 1 to 1024");
  EXPECT_EQ(message([](auto& o) { o.queue_depth = 0; }),
            "model 'm': queue depth is 0, expected 1 to 1048576");
  EXPECT_EQ(message([](auto& o) { o.preferred_batch_sizes = {4, 16}; }),
            "model 'm': preferred batch size is 16, expected 1 to 8");
  EXPECT_EQ(message([](auto& o) { o.preferred_batch_sizes.assign(2000, 4); }),
            "model 'm': number of preferred batch sizes is 2000, expected 0 to 1024");
  EXPECT_EQ(message([](auto& o) { o.inputs = {X({4, 2})}; }),
            "max_batch_size is 8, but input 'x' of shape [4,2] has no first dimension of any "
            "length: expected max_batch_size 0");
}

TEST(ServableCreate, ServesFewerOutputsAndNarrowerInputsThanTheEngineHas) {
  const std::vector specs = {Spec("a", DataType::kFp32, {-1, -1}),
                             Spec("b", DataType::kFp32, {-1, -1})};
  const auto backend = std::make_shared<FakeBackend>(specs, specs, PlusOne);
  ServableOptions options = UpTo(8);
  options.inputs = {Spec("b", DataType::kFp32, {-1, 4}), Spec("a", DataType::kFp32, {-1, -1})};
  options.outputs = {Spec("b", DataType::kFp32, {-1, 4})};
  const auto servable = Serve(backend, options);
  ASSERT_EQ(servable->inputs().size(), 2u);
  EXPECT_EQ(servable->inputs()[0].name, "a");
  EXPECT_EQ(servable->inputs()[1].shape, (Shape{-1, 4}));
  ASSERT_EQ(servable->outputs().size(), 1u);
  EXPECT_EQ(servable->outputs()[0].index, 1u);
  EXPECT_EQ(*servable->FindOutput("b"), 0u);
  EXPECT_EQ(servable->FindOutput("a").status().message(), "unknown output 'a', expected 'b'");
}

TEST(ServableCreate, NeedsEveryInputThatTheEngineNeeds) {
  std::vector specs = {Spec("a", DataType::kFp32, {-1}), Spec("b", DataType::kFp32, {-1})};
  ServableOptions options = UpTo(8);
  options.inputs = {specs[0]};
  const auto needed = std::make_shared<FakeBackend>(specs, specs, PlusOne);
  EXPECT_EQ(Servable::Create(needed, options).status().message(),
            "input 'b' is needed by the model, but only 'a' are configured");
  specs[1].optional = true;
  EXPECT_TRUE(Servable::Create(std::make_shared<FakeBackend>(specs, specs, PlusOne), options).ok());
}

// ------------------------------------------------------------------------------------------------
// Binding.

class ServableBind : public ::testing::Test {
 protected:
  ServableBind() {
    std::vector specs = {Spec("a", DataType::kFp32, {-1, 2}), Spec("b", DataType::kInt64, {-1, -1}),
                         Spec("c", DataType::kBytes, {-1})};
    specs[2].optional = true;
    backend_ = std::make_shared<FakeBackend>(specs, specs, PlusOne);
    servable_ = Serve(backend_, UpTo(4));
  }

  static BatchInput A(int64_t rows) { return Zeros(DataType::kFp32, {rows, 2}, 4); }
  static BatchInput B(int64_t rows, int64_t width) {
    return Zeros(DataType::kInt64, {rows, width}, 8);
  }
  static BatchInput C(int64_t rows) {
    std::vector<std::string> texts(static_cast<size_t>(rows), "text");
    return InputOf(DataType::kBytes, {rows}, BytesOnWire(texts));
  }
  static BatchInput Zeros(DataType type, Shape shape, size_t element_bytes) {
    const auto elements = static_cast<size_t>(*shape.Elements());
    return InputOf(type, shape, std::string(elements * element_bytes, '\0'));
  }

  Status Bind(std::vector<NamedInput> inputs) {
    request_.Clear();
    return servable_->Bind(inputs, &request_);
  }
  uint64_t KeyOf(std::vector<NamedInput> inputs) {
    EXPECT_TRUE(Bind(std::move(inputs)).ok());
    return request_.join_key;
  }

  std::shared_ptr<FakeBackend> backend_;
  std::shared_ptr<Servable> servable_;
  InferenceRequest request_;
};

TEST_F(ServableBind, PutsInputsInTheEnginesOrder) {
  const BatchInput a = A(3);
  const BatchInput b = B(3, 5);
  ASSERT_TRUE(Bind({Named("b", b), Named("a", a)}).ok());
  ASSERT_EQ(request_.inputs.size(), 3u);
  EXPECT_EQ(request_.inputs[0].owner.get(), a.owner.get());
  EXPECT_EQ(request_.inputs[1].tensor.bytes.data(), b.tensor.bytes.data());
  EXPECT_FALSE(request_.inputs[2].present);
  EXPECT_EQ(request_.rows, 3);
  EXPECT_EQ(request_.input_bytes, 3 * 2 * 4 + 3 * 5 * 8u);
}

TEST_F(ServableBind, SaysWhatWasExpectedAndWhatCame) {
  const auto message = [&](std::vector<NamedInput> inputs) {
    const Status status = Bind(std::move(inputs));
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    return status.message();
  };
  EXPECT_EQ(message({Named("a", A(1)), Named("z", A(1))}),
            "unknown input 'z', expected 'a', 'b', 'c'");
  EXPECT_EQ(message({Named("a", A(1))}), "input 'b' is missing, expected 'a', 'b', 'c'");
  EXPECT_EQ(message({}), "input 'a' is missing, expected 'a', 'b', 'c'");
  EXPECT_EQ(message({Named("a", A(1)), Named("a", A(1))}), "input 'a' is given twice");
  EXPECT_EQ(message({Named("a", B(1, 2))}), "input 'a' has datatype INT64, expected FP32");
  EXPECT_EQ(message({Named("a", Zeros(DataType::kFp32, {1, 3}, 4))}),
            "input 'a' has shape [1,3], expected [-1,2]");
  EXPECT_EQ(message({Named("a", Zeros(DataType::kFp32, {2}, 4))}),
            "input 'a' has shape [2], expected [-1,2]");
  EXPECT_EQ(message({Named("a", A(5))}), "input 'a' has 5 rows, expected at most 4");
  EXPECT_EQ(message({Named("a", A(0)), Named("b", B(3, 1))}),
            "input 'b' has 3 rows, expected 0 as in the inputs before it");
  EXPECT_EQ(message({Named("a", A(2)), Named("b", B(3, 1))}),
            "input 'b' has 3 rows, expected 2 as in the inputs before it");
}

TEST_F(ServableBind, TakesARequestWithoutRows) {
  ASSERT_TRUE(Bind({Named("a", A(0)), Named("b", B(0, 5))}).ok());
  EXPECT_EQ(request_.rows, 0);
  EXPECT_EQ(request_.input_bytes, 0u);
}

TEST_F(ServableBind, GivesEqualKeysToRequestsThatDifferInRowsOnly) {
  const uint64_t key = KeyOf({Named("a", A(1)), Named("b", B(1, 5))});
  EXPECT_EQ(KeyOf({Named("b", B(4, 5)), Named("a", A(4))}), key);
  EXPECT_NE(KeyOf({Named("a", A(1)), Named("b", B(1, 6))}), key);
  EXPECT_NE(KeyOf({Named("a", A(1)), Named("b", B(1, 5)), Named("c", C(1))}), key);
}

TEST_F(ServableBind, TakesTheWholeShapeAsOneRequestWithoutABatchDimension) {
  const auto single = Serve(backend_, UpTo(0));
  std::vector<NamedInput> inputs = {Named("a", A(7)), Named("b", B(9, 1))};
  request_.Clear();
  ASSERT_TRUE(single->Bind(inputs, &request_).ok());
  EXPECT_EQ(request_.rows, 1);
}

}  // namespace
}  // namespace fastserve
