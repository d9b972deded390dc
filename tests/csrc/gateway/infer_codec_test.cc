#include "gateway/infer_codec.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/fake_backend.h"

namespace fastserve {
namespace {

// One request's way through the codec, and its answer, without a scheduler.
struct Coding {
  explicit Coding(ServableHandle model) : servable(std::move(model)) {
    exchange = std::make_unique<Exchange>(*CompletionQueue::Create(), admission, pool);
    exchange->servable = servable;
  }
  Status Decode(std::string_view body, std::optional<uint64_t> header = {}, Nanos now = 1000) {
    exchange->inference_header_length = header;
    EXPECT_TRUE(exchange->body.Start(body.size(), header).ok());
    const auto tail = exchange->body.Tail();
    if (!body.empty()) std::memcpy(tail.data(), body.data(), body.size());
    exchange->body.Received(body.size());
    return codec.DecodeRequest(*exchange, now);
  }
  // Answers as an echo would, `responses` times, and encodes.
  Result<std::string> Encode(size_t responses = 1) {
    for (size_t i = 0; i < responses; ++i) {
      std::vector<ResponseOutput> outputs;
      for (const BatchInput& input : exchange->request.inputs) {
        outputs.push_back({input.tensor, input.owner});
      }
      exchange->OnResponse(exchange->request, outputs);
    }
    EncodedBody body;
    if (Status status = codec.EncodeResponse(*exchange, &body); !status.ok()) return status;
    json_bytes = body.is_binary ? body.json.size() : 0;
    std::string all(body.json);
    for (const OutputPart& part : body.tensors) {
      EXPECT_TRUE(part.owner || part.bytes.empty());
      all += part.bytes;
    }
    EXPECT_EQ(all.size(), body.json.size() + body.tensor_bytes);
    return all;
  }
  const BatchInput& input(size_t i) const { return exchange->request.inputs[i]; }

  ServableHandle servable;
  std::shared_ptr<Admission> admission = std::make_shared<Admission>(Admission::Options{});
  std::shared_ptr<SlabPool> pool = SlabPool::Create({.bytes_max = 1 << 20});
  InferCodec codec;
  std::unique_ptr<Exchange> exchange;
  size_t json_bytes = 0;
};

// a: BYTES [-1], b: INT64 [-1] -> A, B; not batching.
const ServableHandle& PairModel() {
  static const ServableHandle model = Serve(
      std::make_shared<FakeBackend>(
          std::vector{Spec("a", DataType::kBytes, {-1}), Spec("b", DataType::kInt64, {-1})},
          std::vector{Spec("A", DataType::kBytes, {-1}), Spec("B", DataType::kInt64, {-1})}, Echo),
      Named("pair", 0));
  return model;
}

std::string PairJson(size_t a_bytes, size_t a_count, size_t b_count, std::string_view more = "") {
  return StrCat(R"({"inputs":[{"name":"a","datatype":"BYTES","shape":[)", a_count,
                R"(],"parameters":{"binary_data_size":)", a_bytes,
                R"(}},{"name":"b","datatype":"INT64","shape":[)", b_count,
                R"(],"parameters":{"binary_data_size":)", 8 * b_count, "}}]", more, "}");
}

// The second tensor lies where the first ends: on whatever byte that is.
TEST(InferCodec, MovesATensorThatLiesAcross) {
  for (size_t length = 0; length < 9; ++length) {
    Coding coding(PairModel());
    const std::string element =
        std::string(1, char(length)) + std::string(3, '\0') + std::string(length, 'x');
    const std::string json = PairJson(element.size(), 1, 2);
    const std::string numbers = "01234567abcdefgh";
    ASSERT_TRUE(coding.Decode(json + element + numbers, json.size()).ok());
    const BatchInput& b = coding.input(1);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b.tensor.bytes.data()) % 8, 0u);
    EXPECT_EQ(std::memcmp(b.tensor.bytes.data(), numbers.data(), 16), 0);
    const bool is_in_body = length == 4;  // 4 + 4 bytes before it.
    EXPECT_EQ(b.owner.get() == coding.exchange->body.owner().get(), is_in_body) << length;
    EXPECT_TRUE(b.owner);
    EXPECT_EQ(coding.input(0).owner.get(), coding.exchange->body.owner().get());
  }
}

// Nothing has no place to be moved to, and needs none.
TEST(InferCodec, TakesATensorOfNoElementsWhereverItLies) {
  for (size_t length = 0; length < 9; ++length) {
    Coding coding(PairModel());
    const std::string element =
        std::string(1, char(length)) + std::string(3, '\0') + std::string(length, 'x');
    const std::string json = PairJson(element.size(), 1, 0);
    const Status status = coding.Decode(json + element, json.size());
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(coding.input(1).tensor.bytes.empty());
    const auto encoded = coding.Encode();
    ASSERT_TRUE(encoded.ok());
  }
}

TEST(InferCodec, AnswersAllOutputsOrThoseThatWereAskedFor) {
  const std::string element("\1\0\0\0x", 5);
  const auto said = [&](std::string_view more) {
    Coding coding(PairModel());
    const std::string json = PairJson(5, 1, 1, more);
    const Status status = coding.Decode(json + element + "01234567", json.size());
    if (!status.ok()) return std::string(status.message());
    return *coding.Encode();
  };
  const std::string all = said("");
  EXPECT_LT(all.find("\"A\""), all.find("\"B\""));
  const std::string one = said(R"(,"outputs":[{"name":"B"}])");
  EXPECT_EQ(one.find("\"A\""), std::string::npos);
  const std::string turned = said(R"(,"outputs":[{"name":"B"},{"name":"A"}])");
  EXPECT_LT(turned.find("\"B\""), turned.find("\"A\""));
  EXPECT_NE(said(R"(,"outputs":[{"name":"C"}])").find("'C'"), std::string::npos);
  EXPECT_NE(said(R"(,"outputs":[{"name":"A"},{"name":"A"}])").find("twice"), std::string::npos);
  EXPECT_NE(said(R"(,"outputs":[{"name":"A","parameters":{"classification":2}}])").find("classif"),
            std::string::npos);
  const std::string mixed =
      said(R"(,"outputs":[{"name":"A","parameters":{"binary_data":true}},{"name":"B"}])");
  EXPECT_TRUE(mixed.ends_with("}" + element)) << mixed;
  EXPECT_TRUE(
      said(R"(,"parameters":{"binary_data_output":true})").ends_with("}" + element + "01234567"));
}

TEST(InferCodec, RepeatsTheIdIfThereWasOne) {
  for (const auto& [more, expected] :
       {std::pair{"", false}, std::pair{R"(,"id":"")", true}, std::pair{R"(,"id":"a\"b")", true}}) {
    Coding coding(Serve(EchoBackend(), Named("m")));
    ASSERT_TRUE(coding
                    .Decode(StrCat(R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],)",
                                   R"("data":[1,2]}])", more, "}"))
                    .ok());
    const std::string encoded = *coding.Encode();
    EXPECT_EQ(encoded.find("\"id\"") != std::string::npos, expected) << encoded;
    EXPECT_NE(encoded.find(*more == '\0' ? more : more + 1), std::string::npos) << encoded;
    coding.exchange->Clear(*CompletionQueue::Create());
    EXPECT_FALSE(coding.exchange->has_id);
    EXPECT_EQ(coding.exchange->id, "");
  }
}

TEST(InferCodec, CountsTheTimeoutFromTheArrival) {
  const auto deadline = [](std::string_view timeout, Nanos now) {
    Coding coding(Serve(EchoBackend(), Named("m")));
    const Status status = coding.Decode(
        StrCat(R"({"parameters":{"timeout":)", timeout,
               R"(},"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]})"),
        {}, now);
    EXPECT_TRUE(status.ok()) << status.message();
    return coding.exchange->request.deadline_ns;
  };
  EXPECT_EQ(deadline("0", 7), kNever);
  EXPECT_EQ(deadline("5", 7), 5'007);
  EXPECT_EQ(deadline("9223372036854775807", 7), kNever);
  EXPECT_EQ(deadline("4611686018427388", kNever / 2), kNever);
}

TEST(InferCodec, TakesTheEarlierOneOfTwoTimeouts) {
  const auto deadline = [](std::string_view body_timeout, Nanos head_timeout) {
    Coding coding(Serve(EchoBackend(), Named("m")));
    coding.exchange->timeout = head_timeout;
    EXPECT_TRUE(coding
                    .Decode(StrCat(R"({"parameters":{"timeout":)", body_timeout,
                                   R"(},"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],)",
                                   R"("data":[1,2]}]})"),
                            {}, 7)
                    .ok());
    return coding.exchange->request.deadline_ns;
  };
  EXPECT_EQ(deadline("5", 6000), 5'007);
  EXPECT_EQ(deadline("5", 4000), 4'007);
  EXPECT_EQ(deadline("0", 4000), 4'007);
  EXPECT_EQ(deadline("9223372036854775807", 4000), 4'007);
}

TEST(InferCodec, RefusesAResponseThatIsNotExactlyOne) {
  for (size_t responses : {0, 2, 3}) {
    Coding coding(Serve(EchoBackend(), Named("m")));
    ASSERT_TRUE(coding
                    .Decode(R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],)"
                            R"("data":[1,2]}]})")
                    .ok());
    const auto encoded = coding.Encode(responses);
    ASSERT_FALSE(encoded.ok());
    EXPECT_EQ(encoded.status().code(), Code::kInvalidArgument);
    EXPECT_NE(encoded.status().message().find(StrCat("gave ", responses)), std::string::npos);
  }
}

TEST(InferCodec, RefusesWhatJsonCannotSay) {
  Coding coding(Serve(EchoBackend(), Named("m")));
  const std::string json = R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],)"
                           R"("parameters":{"binary_data_size":8}}]})";
  const float values[2] = {1, __builtin_nanf("")};
  ASSERT_TRUE(
      coding.Decode(json + std::string(reinterpret_cast<const char*>(values), 8), json.size())
          .ok());
  EXPECT_EQ(coding.Encode().status().code(), Code::kInvalidArgument);
}

TEST(InferCodec, ReadsABodyWithoutJson) {
  Coding coding(Serve(EchoBackend(), Named("m")));
  ASSERT_TRUE(coding.Decode("abcdABCD", 0).ok());
  EXPECT_EQ(coding.input(0).owner.get(), coding.exchange->body.owner().get());
  const std::string encoded = *coding.Encode();
  EXPECT_TRUE(encoded.ends_with("}abcdABCD"));
  EXPECT_EQ(coding.json_bytes, encoded.size() - 8);
}

TEST(InferCodec, RefusesWhatDoesNotFitAndLetsGoOfIt) {
  for (const auto& [body, header] :
       {std::pair<std::string, std::optional<uint64_t>>{"", std::nullopt},
        {"", 0},
        {"", 5},
        {"{}", 3},
        {"{}", UINT64_MAX},
        {"{}", std::nullopt},
        {"abc", 0},
        {R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]})",
         std::nullopt},
        {R"({"inputs":[{"name":"z","datatype":"FP32","shape":[1,2],"data":[1,2]}]})",
         std::nullopt}}) {
    Coding coding(Serve(EchoBackend(), Named("m")));
    const Status status = coding.Decode(body, header);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << body << ": " << status.message();
    coding.exchange->Clear(*CompletionQueue::Create());
    EXPECT_EQ(coding.pool->stats().in_use_bytes, 0u) << body;
  }
}

// A request that is answered holds nothing, however it ended: the codec is reused, and idle.
TEST(InferCodec, HoldsNoMemoryOfAnAnsweredRequest) {
  Coding coding(Serve(EchoBackend(), Named("m")));
  ASSERT_TRUE(coding.Decode("abcdABCD", 0).ok());
  ASSERT_TRUE(coding.Encode().ok());
  coding.exchange->Clear(*CompletionQueue::Create());
  EXPECT_EQ(coding.pool->stats().in_use_bytes, 0u);
}

}  // namespace
}  // namespace fastserve
