// What a client writes, the server's decoder reads; and what the server writes, a client reads.
#include "protocol/client/kserve_rest_request.h"

#include <limits>

#include "protocol/kserve_rest_fixture.h"

namespace fastserve {
namespace {

class KserveRestRequest : public KserveRest {
 protected:
  KserveRestRequest() {
    Tensor tensor{
        .type = DataType::kInt16, .shape = {2, 1}, .bytes = std::as_bytes(std::span(values_))};
    sent_.inputs.push_back({.name = "x \"1\"", .tensor = tensor});
  }
  std::string Encode(bool binary) {
    ByteWriter out;
    ExpectOk(EncodeInferRequest(sent_, binary, &out));
    return std::string(out.view());
  }

  std::array<int16_t, 2> values_ = {-7, 300};
  InferBody sent_;
};

TEST_F(KserveRestRequest, AnInputAsNumbers) {
  EXPECT_EQ(Encode(false),
            R"({"parameters":{},"inputs":[{"name":"x \"1\"","datatype":"INT16","shape":[2,1],)"
            R"("data":[-7,300]}]})");
  ExpectOk(Decode(Encode(false)));
  EXPECT_EQ(Values<int16_t>(), (std::vector<int16_t>{-7, 300}));
  EXPECT_FALSE(request_.binary_output_default);
}

TEST_F(KserveRestRequest, AnInputBehindTheJson) {
  const std::string json = Encode(true);
  ExpectOk(Decode(json, std::string_view(reinterpret_cast<const char*>(values_.data()), 4)));
  EXPECT_EQ(request_.inputs[0].name, "x \"1\"");
  EXPECT_EQ(Values<int16_t>(), (std::vector<int16_t>{-7, 300}));
  EXPECT_TRUE(request_.binary_output_default);
}

TEST_F(KserveRestRequest, AllThatARequestCanSay) {
  sent_.id = "7";
  sent_.timeout_us = 5;
  sent_.priority = 3;
  sent_.sequence = {.id = 9, .name = {}, .start = true};
  sent_.outputs = {{.name = "a", .binary = true, .classification = 2}, {.name = "b"}};
  sent_.parameters = {{"bool", true},
                      {"int", int64_t{-5}},
                      {"least", std::numeric_limits<int64_t>::min()},
                      {"uint", std::numeric_limits<uint64_t>::max()},
                      {"whole", 2.0},
                      {"part", 0.5},
                      {"text", std::string_view("\"\n")}};
  ExpectOk(Decode(Encode(false)));
  EXPECT_EQ(request_.id, "7");
  EXPECT_EQ(request_.timeout_us, 5u);
  EXPECT_EQ(request_.priority, 3u);
  EXPECT_EQ(request_.sequence.id, 9u);
  EXPECT_TRUE(request_.sequence.start);
  EXPECT_FALSE(request_.sequence.end);
  ASSERT_EQ(request_.outputs.size(), 2u);
  EXPECT_EQ(request_.outputs[0].classification, 2u);
  EXPECT_EQ(request_.outputs[1].name, "b");
  ASSERT_EQ(request_.parameters.size(), sent_.parameters.size());
  for (size_t i = 0; i < sent_.parameters.size(); ++i) {
    EXPECT_EQ(request_.parameters[i].name, sent_.parameters[i].name);
    EXPECT_EQ(request_.parameters[i].value, sent_.parameters[i].value) << i;
  }
}

TEST_F(KserveRestRequest, ANamedSequence) {
  sent_.sequence = {.name = "s", .end = true};
  ExpectOk(Decode(Encode(false)));
  EXPECT_EQ(request_.sequence.name, "s");
  EXPECT_TRUE(request_.sequence.end);
}

TEST_F(KserveRestRequest, WhatJsonCannotSayIsAnError) {
  ByteWriter out;
  out.Append("before");
  sent_.parameters = {{"p", std::numeric_limits<double>::infinity()}};
  ExpectInvalid(EncodeInferRequest(sent_, true, &out), "parameter 'p'");
  sent_.parameters.clear();
  sent_.inputs[0].tensor.type = DataType::kFp16;
  ExpectInvalid(EncodeInferRequest(sent_, false, &out), "x \"1\"");
  EXPECT_EQ(out.view(), "before");
}

// -- Answers

class KserveRestAnswer : public KserveRest {
 protected:
  Status DecodeAnswer(std::string_view json, std::optional<std::string_view> tail = {}) {
    const std::string_view behind = tail.value_or("");
    const size_t bytes = json.size() + behind.size();
    body_.reset(new char[bytes + 64]);
    std::memcpy(body_.get(), json.data(), json.size());
    if (!behind.empty()) std::memcpy(body_.get() + json.size(), behind.data(), behind.size());
    return decoder_.DecodeResponse(std::as_bytes(std::span(body_.get(), bytes)),
                                   tail ? std::optional<uint64_t>(json.size()) : std::nullopt,
                                   allocator_, &request_);
  }
};

TEST_F(KserveRestAnswer, WhatTheServerWrites) {
  const std::array<float, 2> values = {1.5, -2};
  const std::vector<InferResultOutput> outputs = {
      {"y", {DataType::kFp32, {2}, std::as_bytes(std::span(values))}, true},
      {"z", {DataType::kFp32, {1, 2}, std::as_bytes(std::span(values))}, false}};
  ByteWriter out;
  ExpectOk(EncodeInferResponse({"m", "3", "id", true}, outputs, &out));
  const std::string_view tail(reinterpret_cast<const char*>(values.data()), 8);
  ExpectOk(DecodeAnswer(out.view(), tail));
  EXPECT_EQ(request_.model_name, "m");
  EXPECT_EQ(request_.model_version, "3");
  EXPECT_EQ(request_.id, "id");
  ASSERT_EQ(request_.inputs.size(), 2u);
  EXPECT_EQ(request_.inputs[0].name, "y");
  EXPECT_EQ(Values<float>(0), (std::vector<float>{1.5, -2}));
  EXPECT_EQ(Values<float>(1), (std::vector<float>{1.5, -2}));
  EXPECT_EQ(request_.inputs[1].tensor.shape, (Shape{1, 2}));
}

TEST_F(KserveRestAnswer, WhatOtherServersWrite) {
  ExpectOk(DecodeAnswer(R"({"id":null,"model_name":"m","model_version":null,"parameters":null,)"
                        R"("more":{"a":[1]},"outputs":[{"name":"y","shape":[1],"datatype":)"
                        R"("BYTES","parameters":null,"data":["a"]}]})"));
  EXPECT_FALSE(request_.has_id);
  EXPECT_EQ(request_.model_version, "");
  ExpectOk(DecodeAnswer(R"({"outputs":[],"parameters":{"triton_final_response":true,"n":null,)"
                        R"("o":{"p":1}}})"));
  ASSERT_EQ(request_.parameters.size(), 1u);
  EXPECT_EQ(request_.parameters[0].name, "triton_final_response");
}

TEST_F(KserveRestAnswer, WhatIsNoAnswerIsAnErrorOfTheServer) {
  const auto refused = [&](std::string_view json, std::string_view why) {
    const Status status = DecodeAnswer(json);
    ExpectError(status, Code::kInternal, why);
    EXPECT_TRUE(status.message().starts_with("the server's answer: ")) << status.message();
  };
  refused("<html>", "");
  refused("{}", "'outputs' is missing");
  refused(R"({"outputs":[{"name":"y","shape":[2],"datatype":"FP32","data":[1]}]})", "y");
  refused(R"({"outputs":[{"name":"y","shape":[2],"datatype":"FP32"}]})", "y");
  refused(R"({"outputs":[],"outputs":[]})", "twice");
  refused(R"({"outputs":[{"name":"y","shape":[1],"datatype":"FP32",)"
          R"("parameters":{"binary_data_size":4}}]})",
          "only 0 of the body's 0");
}

}  // namespace
}  // namespace fastserve
