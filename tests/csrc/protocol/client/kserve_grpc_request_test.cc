// What a client writes, the server's decoder reads; and what the server writes, a client reads.
#include "protocol/client/kserve_grpc_request.h"

#include <array>
#include <limits>

#include "protocol/grpc/grpc_framing.h"
#include "protocol/grpc/kserve_grpc_fixture.h"

namespace fastserve {
namespace {

std::string_view TextOf(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()};
}

// Puts tensors in their places, and takes the prefix off.
template <typename Named>
std::string Whole(const ByteWriter& out, const std::vector<size_t>& cuts,
                  const std::vector<Named>& tensors) {
  std::string whole;
  size_t from = 0;
  for (size_t i = 0; i < cuts.size(); ++i) {
    whole.append(out.view().substr(from, cuts[i] - from)).append(TextOf(tensors[i].tensor));
    from = cuts[i];
  }
  whole += out.view().substr(from);
  const Result<GrpcPrefix> prefix = ParseGrpcPrefix(whole);
  EXPECT_TRUE(prefix.ok());
  EXPECT_EQ(prefix->length, whole.size() - kGrpcPrefixBytes);
  return whole.substr(kGrpcPrefixBytes);
}

class KserveGrpcRequest : public KserveGrpc {
 protected:
  std::string Encode() {
    ByteWriter out;
    std::vector<size_t> cuts;
    ExpectOk(EncodeGrpcInferRequest(sent_, &out, &cuts));
    return Whole(out, cuts, sent_.inputs);
  }
  Status DecodeAnswer(std::string_view message) {
    message_.reset(new char[message.size()]);
    std::memcpy(message_.get(), message.data(), message.size());
    return decoder_.DecodeResponse(std::as_bytes(std::span(message_.get(), message.size())),
                                   allocator_, &request_);
  }

  const std::array<int32_t, 2> values_ = {7, -9};
  const Tensor tensor_{DataType::kInt32, {2, 1}, std::as_bytes(std::span(values_))};
  InferBody sent_;
};

TEST_F(KserveGrpcRequest, AllThatARequestCanSay) {
  sent_.model_name = "m";
  sent_.model_version = "3";
  sent_.id = "id";
  sent_.timeout_us = 5;
  sent_.priority = 2;
  sent_.sequence = {.id = 9, .name = {}, .start = true};
  sent_.wants_final = true;
  sent_.inputs = {{"x", tensor_}, {"scalar", {DataType::kUint8, {}, tensor_.bytes.first(1)}}};
  sent_.outputs = {{.name = "a", .binary = true, .classification = 2}, {.name = "b"}};
  sent_.parameters = {{"bool", false},
                      {"int", int64_t{-5}},
                      {"uint", std::numeric_limits<uint64_t>::max()},
                      {"part", 0.5},
                      {"text", std::string_view("t")},
                      {"", std::string_view()}};
  ExpectOk(Decode(Encode()));
  EXPECT_EQ(request_.model_name, "m");
  EXPECT_EQ(request_.model_version, "3");
  EXPECT_EQ(request_.id, "id");
  EXPECT_EQ(request_.timeout_us, 5u);
  EXPECT_EQ(request_.priority, 2u);
  EXPECT_EQ(request_.sequence.id, 9u);
  EXPECT_TRUE(request_.sequence.start);
  EXPECT_TRUE(request_.wants_final);
  ASSERT_EQ(request_.inputs.size(), 2u);
  EXPECT_EQ(request_.inputs[0].name, "x");
  EXPECT_EQ(request_.inputs[0].tensor.shape, (Shape{2, 1}));
  EXPECT_EQ(ContentOf(0), TextOf(tensor_));
  EXPECT_EQ(request_.inputs[1].tensor.shape, Shape());
  ASSERT_EQ(request_.outputs.size(), 2u);
  EXPECT_EQ(request_.outputs[0].classification, 2u);
  ASSERT_EQ(request_.parameters.size(), sent_.parameters.size());
  for (size_t i = 0; i < sent_.parameters.size(); ++i) {
    EXPECT_EQ(request_.parameters[i].name, sent_.parameters[i].name);
    EXPECT_EQ(request_.parameters[i].value, sent_.parameters[i].value) << i;
  }
}

TEST_F(KserveGrpcRequest, ANamedSequenceAndNothingElse) {
  sent_.sequence = {.name = "s", .end = true};
  ExpectOk(Decode(Encode()));
  EXPECT_EQ(request_.sequence.name, "s");
  EXPECT_TRUE(request_.sequence.end);
  EXPECT_TRUE(request_.inputs.empty());
}

TEST_F(KserveGrpcRequest, WhatIsTooLargeIsRefused) {
  const Tensor huge{DataType::kUint8, {1}, {tensor_.bytes.data(), size_t{1} << 32}};
  sent_.inputs = {{"x", huge}};
  ByteWriter out;
  std::vector<size_t> cuts;
  ExpectError(EncodeGrpcInferRequest(sent_, &out, &cuts), Code::kResourceExhausted, "4 GiB");
  EXPECT_EQ(out.size(), 0u);
}

TEST_F(KserveGrpcRequest, AnswersOfTheServer) {
  const std::vector<InferResultOutput> outputs = {{"y", tensor_, true}};
  ByteWriter out;
  std::vector<size_t> cuts;
  ExpectOk(
      EncodeGrpcInferResponse({"m", "1", "i", true}, outputs, {.is_final = true}, &out, &cuts));
  const std::string message = Whole(out, cuts, outputs);
  ExpectOk(DecodeAnswer(message));
  EXPECT_EQ(request_.model_name, "m");
  EXPECT_EQ(request_.id, "i");
  ASSERT_EQ(request_.inputs.size(), 1u);
  EXPECT_EQ(request_.inputs[0].name, "y");
  EXPECT_EQ(ContentOf(0), TextOf(tensor_));
  ASSERT_EQ(request_.parameters.size(), 1u);
  EXPECT_EQ(request_.parameters[0].name, "triton_final_response");
  const std::optional<size_t> raw = FindRawContents(message, kRawOutputContents);
  ASSERT_TRUE(raw.has_value());
  EXPECT_EQ(message.substr(*raw, 8), TextOf(tensor_));
}

TEST_F(KserveGrpcRequest, TypedAnswersOfOtherServers) {
  ExpectOk(DecodeAnswer(proto::Bytes(
      5, proto::Input("y", "UINT8", 2, proto::Bytes(5, proto::Bytes(4, "\x05\x06"))))));
  EXPECT_EQ(ContentOf(0), "\x05\x06");
}

TEST_F(KserveGrpcRequest, WhatIsNoAnswerIsAnErrorOfTheServer) {
  for (const std::string& message :
       {std::string("\x0A"),
        proto::Bytes(5, proto::Input("y", "FP33", 1)) + proto::Bytes(6, "abcd"),
        proto::Bytes(5, proto::Input("y", "FP32", 1)) + proto::Bytes(6, "abc"),
        proto::Bytes(6, "abcd")}) {
    ExpectError(DecodeAnswer(message), Code::kInternal, "the server's answer: ");
  }
}

TEST_F(KserveGrpcRequest, StreamsCarryAnswersAndErrors) {
  const std::string message = proto::Bytes(1, "wrong") + proto::Bytes(2, "answer");
  const Result<GrpcStreamResponse> parsed = ParseGrpcStreamResponse(message);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->error, "wrong");
  EXPECT_EQ(parsed->response, "answer");
  EXPECT_EQ(ParseGrpcStreamResponse("\x0A").status().code(), Code::kInternal);
}

}  // namespace
}  // namespace fastserve
