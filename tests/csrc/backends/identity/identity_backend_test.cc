#include "backends/identity/identity_backend.h"

#include <gtest/gtest.h>

#include <future>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "serving/servable.h"

namespace fastserve {
namespace {

struct Collected : OutputSink {
  void Add(size_t index, const Tensor& tensor, BufferRef owner) override {
    outputs.emplace_back(index, tensor);
    owners.push_back(std::move(owner));
  }
  void EndResponse() override { ++responses; }
  BufferRef Allocate(size_t) override { return {}; }

  std::vector<std::pair<size_t, Tensor>> outputs;
  std::vector<BufferRef> owners;
  int responses = 0;
};

TensorSpec Spec(std::string name, DataType type) {
  TensorSpec spec;
  spec.name = std::move(name);
  spec.type = type;
  spec.shape = {-1};
  return spec;
}

IdentityOptions TwoTensors() {
  return {.inputs = {Spec("a", DataType::kFp32), Spec("b", DataType::kBytes)},
          .outputs = {Spec("c", DataType::kFp32), Spec("d", DataType::kBytes)}};
}

std::vector<BatchInput> Inputs(std::byte* memory) {
  std::vector<BatchInput> inputs(2);
  inputs[0].tensor = {DataType::kFp32, {1}, {memory, 4}};
  inputs[1].tensor = {DataType::kBytes, {1}, {memory + 4, 4}};
  for (BatchInput& input : inputs) {
    input.owner = BufferRef::Adopt(new Buffer(memory, 8, [](Buffer* buffer) { delete buffer; }));
  }
  return inputs;
}

TEST(Identity, AnswersAliasesOfItsInputsAndSharesTheirOwners) {
  std::byte memory[8] = {};
  const std::vector<BatchInput> inputs = Inputs(memory);
  const auto backend = *OpenIdentity(TwoTensors());
  EXPECT_EQ(backend->signature().platform, "identity");
  const auto instance = *backend->NewInstance();
  Collected collected;
  ASSERT_TRUE(instance->Run(inputs, 1, collected).ok());
  EXPECT_EQ(collected.responses, 1);
  ASSERT_EQ(collected.outputs.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(collected.outputs[i].first, i);
    EXPECT_EQ(collected.outputs[i].second.bytes.data(), inputs[i].tensor.bytes.data());
    EXPECT_EQ(collected.owners[i].get(), inputs[i].owner.get());
    EXPECT_FALSE(inputs[i].owner->has_one_owner());
  }
}

TEST(Identity, RespondsAsOftenAsItIsTold) {
  std::byte memory[8] = {};
  const std::vector<BatchInput> inputs = Inputs(memory);
  for (const int repeat : {0, 1, 3}) {
    IdentityOptions options = TwoTensors();
    options.repeat = repeat;
    const auto backend = *OpenIdentity(std::move(options));
    Collected collected;
    ASSERT_TRUE((*backend->NewInstance())->Run(inputs, 1, collected).ok());
    EXPECT_EQ(collected.responses, repeat);
    EXPECT_EQ(collected.outputs.size(), 2u * static_cast<size_t>(repeat));
  }
}

// Through a whole servable: several requests in one batch, and several responses to each.
TEST(Identity, AnswersEachRequestItsOwnRowsWhenServed) {
  struct Keeping : ResponseSink {
    void OnResponse(InferenceRequest& request, std::span<ResponseOutput> outputs) override {
      const auto& bytes = outputs[1].tensor.bytes;
      answers.emplace_back(&request,
                           std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    }
    void OnEnd(RequestPtr request, Status status) override {
      EXPECT_TRUE(status.ok()) << status.message();
      (void)request.release();
      if (++ends == 2) all_ended.set_value();
    }
    int ends = 0;
    std::promise<void> all_ended;
    std::vector<std::pair<InferenceRequest*, std::string>> answers;
  } sink;
  IdentityOptions options = TwoTensors();
  options.repeat = 2;
  ServableOptions serving;
  serving.name = "identity";
  serving.max_batch_size = 4;
  serving.queue_depth = 8;
  serving.max_queue_delay = kSecond;  // Both are there long before, and fill the batch.
  const auto servable = *Servable::Create(*OpenIdentity(std::move(options)), serving);
  const std::vector<std::string> texts = {std::string("\1\0\0\0a\0\0\0\0", 9),
                                          std::string("\2\0\0\0bc\1\0\0\0d", 11)};
  std::vector<InferenceRequest> requests(2);
  std::vector<float> floats = {1, 2};
  for (size_t i = 0; i < 2; ++i) {
    std::vector<NamedInput> inputs(2);
    inputs[0] = {"a", {DataType::kFp32, {2}, std::as_bytes(std::span(floats))}, {}};
    inputs[1] = {"b", {DataType::kBytes, {2}, std::as_bytes(std::span(texts[i]))}, {}};
    ASSERT_TRUE(servable->Bind(inputs, &requests[i]).ok());
    requests[i].sink = &sink;
    servable->Submit(RequestPtr(&requests[i]));
  }
  servable->Wake();
  sink.all_ended.get_future().wait();
  ASSERT_EQ(sink.answers.size(), 4u);
  for (size_t response = 0; response < 4; ++response) {
    EXPECT_EQ(sink.answers[response].first, &requests[response % 2]);
    EXPECT_EQ(sink.answers[response].second, texts[response % 2]);
  }
  EXPECT_EQ(servable->stats().executions.value(), 1u);
}

TEST(Identity, TakesAtLeastItsDelay) {
  std::byte memory[8] = {};
  IdentityOptions options = TwoTensors();
  options.delay_us = 500;
  const auto backend = *OpenIdentity(std::move(options));
  Collected collected;
  const Nanos started = NowNanos();
  ASSERT_TRUE((*backend->NewInstance())->Run(Inputs(memory), 1, collected).ok());
  EXPECT_GE(NowNanos() - started, 500 * kMicrosecond);
}

TEST(Identity, RefusesAnInputThatIsLeftOut) {
  std::byte memory[8] = {};
  std::vector<BatchInput> inputs = Inputs(memory);
  inputs[1].present = false;
  const auto backend = *OpenIdentity(TwoTensors());
  Collected collected;
  const Status status = (*backend->NewInstance())->Run(inputs, 1, collected);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.message().find("'b'"), std::string::npos) << status.message();
  EXPECT_EQ(collected.responses, 0);
}

TEST(Identity, RefusesOutputsThatAreNotItsInputs) {
  IdentityOptions fewer = TwoTensors();
  fewer.outputs.pop_back();
  EXPECT_EQ(OpenIdentity(std::move(fewer)).status().code(), Code::kInvalidArgument);
  IdentityOptions other = TwoTensors();
  std::swap(other.outputs[0], other.outputs[1]);
  const auto refused = OpenIdentity(std::move(other));
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  EXPECT_NE(refused.status().message().find("'d' is BYTES, expected FP32"), std::string::npos)
      << refused.status().message();
  IdentityOptions negative = TwoTensors();
  negative.repeat = -1;
  EXPECT_FALSE(OpenIdentity(std::move(negative)).ok());
}

}  // namespace
}  // namespace fastserve
