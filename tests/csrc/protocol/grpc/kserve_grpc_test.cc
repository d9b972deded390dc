#include "protocol/grpc/kserve_grpc.h"

#include "protocol/grpc/kserve_grpc_fixture.h"

namespace fastserve {
namespace {

using proto::Bytes;
using proto::Entry;
using proto::Fixed;
using proto::Floats;
using proto::Input;
using proto::Varint;

TEST_F(KserveGrpc, ReadsRawContentsWhereTheyLie) {
  const std::string floats = Floats({1.5, -2});
  ASSERT_TRUE(Decode(Bytes(1, "m") + Bytes(2, "3") + Bytes(3, "id") +
                     Bytes(5, Input("x", "FP32", 2)) + Bytes(5, Input("s", "BYTES", 1)) +
                     Bytes(6, Bytes(1, "y")) + Bytes(7, floats) +
                     Bytes(7, std::string_view("\1\0\0\0a", 5)))
                  .ok());
  EXPECT_EQ(request_.model_name, "m");
  EXPECT_EQ(request_.model_version, "3");
  EXPECT_EQ(request_.id, "id");
  ASSERT_EQ(request_.inputs.size(), 2u);
  EXPECT_EQ(request_.inputs[0].tensor.type, DataType::kFp32);
  EXPECT_EQ(request_.inputs[0].tensor.shape, Shape({2}));
  EXPECT_EQ(ContentOf(0), floats);
  EXPECT_EQ(ContentOf(1), std::string_view("\1\0\0\0a", 5));
  ASSERT_EQ(request_.outputs.size(), 1u);
  EXPECT_EQ(request_.outputs[0].name, "y");
  EXPECT_TRUE(request_.outputs[0].binary);
  EXPECT_EQ(allocator_.calls, 0u) << "nothing is copied";
}

TEST_F(KserveGrpc, AnEmptyMessageIsARequestOfNothing) {
  ASSERT_TRUE(Decode("").ok());
  EXPECT_EQ(request_.model_name, "");
  EXPECT_FALSE(request_.has_id);
  EXPECT_TRUE(request_.inputs.empty());
}

TEST_F(KserveGrpc, FieldsComeInAnyOrderAndTheLastOneCounts) {
  ASSERT_TRUE(Decode(Bytes(7, Floats({1})) + Bytes(1, "a") +
                     Bytes(5, Bytes(3, "\x01") + Bytes(2, "FP64") + Bytes(1, "n") +
                                  Bytes(2, "FP32") + Bytes(1, "x")) +
                     Bytes(1, "m"))
                  .ok());
  EXPECT_EQ(request_.model_name, "m");
  EXPECT_EQ(request_.inputs[0].name, "x");
  EXPECT_EQ(request_.inputs[0].tensor.type, DataType::kFp32);
}

TEST_F(KserveGrpc, UnknownFieldsAreSkipped) {
  ASSERT_TRUE(Decode(Varint(99, 1) + Bytes(1, "m") + Varint(1, 5) + Fixed(50, uint64_t{1}) +
                     Fixed(51, uint32_t{1}) + Bytes(5, Input("x", "FP32", 0, Varint(77, 1))) +
                     Bytes(7, ""))
                  .ok());
  EXPECT_EQ(request_.model_name, "m");
}

TEST_F(KserveGrpc, ShapesArePackedOrNot) {
  ASSERT_TRUE(Decode(Bytes(5, Bytes(1, "x") + Bytes(2, "INT8") + Varint(3, 2) + Bytes(3, "\x03")) +
                     Bytes(7, "abcdef"))
                  .ok());
  EXPECT_EQ(request_.inputs[0].tensor.shape, Shape({2, 3}));
  // A scalar has none.
  ASSERT_TRUE(Decode(Bytes(5, Bytes(1, "x") + Bytes(2, "INT8")) + Bytes(7, "a")).ok());
  EXPECT_EQ(request_.inputs[0].tensor.shape.rank(), 0u);
}

TEST_F(KserveGrpc, ParametersThatTheServerKnows) {
  ASSERT_TRUE(
      Decode(Bytes(4, Entry("timeout", Varint(2, 7))) + Bytes(4, Entry("priority", Varint(5, 2))) +
             Bytes(4, Entry("sequence_id", Bytes(3, "s"))) +
             Bytes(4, Entry("sequence_start", Varint(1, 1))) +
             Bytes(4, Entry("sequence_end", Varint(1, 0))) +
             Bytes(4, Entry("binary_data_output", Varint(1, 0))) +
             Bytes(4, Entry("triton_enable_empty_final_response", Varint(1, 1))) +
             Bytes(4, Entry("triton_x", Varint(1, 1))) + Bytes(4, Entry("headers", Bytes(3, "a"))))
          .ok());
  EXPECT_EQ(request_.timeout_us, 7u);
  EXPECT_EQ(request_.priority, 2u);
  EXPECT_EQ(request_.sequence.name, "s");
  EXPECT_TRUE(request_.sequence.start);
  EXPECT_FALSE(request_.sequence.end);
  EXPECT_TRUE(request_.wants_final);
  EXPECT_TRUE(request_.parameters.empty());
  ASSERT_TRUE(Decode(Bytes(4, Entry("sequence_id", Varint(5, uint64_t{1} << 63)))).ok());
  EXPECT_EQ(request_.sequence.id, uint64_t{1} << 63);
}

TEST_F(KserveGrpc, ParametersForTheModel) {
  ASSERT_TRUE(Decode(Bytes(4, Entry("b", Varint(1, 1))) +
                     Bytes(4, Entry("i", Varint(2, static_cast<uint64_t>(-3)))) +
                     Bytes(4, Entry("s", Bytes(3, "t"))) + Bytes(4, Entry("d", Fixed(4, 0.5))) +
                     Bytes(4, Entry("u", Varint(5, 9))) + Bytes(4, Entry("s", Bytes(3, "last"))))
                  .ok());
  ASSERT_EQ(request_.parameters.size(), 5u);
  EXPECT_EQ(std::get<bool>(request_.parameters[0].value), true);
  EXPECT_EQ(std::get<int64_t>(request_.parameters[1].value), -3);
  EXPECT_EQ(std::get<std::string_view>(request_.parameters[2].value), "last");
  EXPECT_EQ(std::get<double>(request_.parameters[3].value), 0.5);
  EXPECT_EQ(std::get<uint64_t>(request_.parameters[4].value), 9u);
}

TEST_F(KserveGrpc, ParametersOfTheWrongKindAreNamed) {
  EXPECT_EQ(ErrorOf(Bytes(4, Entry("timeout", Bytes(3, "1")))),
            "parameter 'timeout': expected an integer of at least 0 (int64_param or "
            "uint64_param), received a string_param");
  EXPECT_EQ(ErrorOf(Bytes(4, Entry("priority", Varint(2, static_cast<uint64_t>(-1))))),
            "parameter 'priority': expected an integer of at least 0 (int64_param or "
            "uint64_param), received int64_param -1");
  EXPECT_EQ(ErrorOf(Bytes(4, Entry("sequence_start", Varint(2, 1)))),
            "parameter 'sequence_start': expected a bool_param, received int64_param 1");
  EXPECT_EQ(ErrorOf(Bytes(4, Entry("mine", ""))),
            "parameter 'mine': expected a value, received no value");
}

TEST_F(KserveGrpc, OutputsMayAskForClasses) {
  ASSERT_TRUE(
      Decode(Bytes(6, Bytes(1, "y") + Bytes(2, Entry("classification", Varint(2, 3))))).ok());
  EXPECT_EQ(request_.outputs[0].classification, 3u);
  EXPECT_EQ(ErrorOf(Bytes(6, Bytes(2, Entry("classification", Varint(2, uint64_t{1} << 32))))),
            "parameter 'classification': expected an integer below 4294967296, received "
            "int64_param 4294967296");
}

TEST_F(KserveGrpc, RawContentsMustSuitTheInputs) {
  EXPECT_EQ(ErrorOf(Bytes(5, Input("x", "FP32", 1)) + Bytes(7, "abcd") + Bytes(7, "abcd")),
            "request: 1 inputs, but 2 raw_input_contents");
  EXPECT_EQ(ErrorOf(Bytes(7, "abcd")), "request: 0 inputs, but 1 raw_input_contents");
  EXPECT_EQ(ErrorOf(Bytes(5, Input("x", "FP32", 1, Bytes(5, Fixed(6, 1.0f)))) + Bytes(7, "abcd")),
            "tensor 'x' has 'contents' beside raw_input_contents: a request takes either");
  EXPECT_NE(ErrorOf(Bytes(5, Input("x", "FP32", 2)) + Bytes(7, "abcd")).find("'x'"),
            std::string::npos);
}

TEST_F(KserveGrpc, InputsMustBeWhole) {
  EXPECT_EQ(InputErrorOf(Bytes(2, "FP32")), "inputs[0]: 'name' is missing");
  EXPECT_EQ(InputErrorOf(Bytes(1, "x")), "tensor 'x': datatype '' does not exist");
  EXPECT_EQ(InputErrorOf(Input("x", "fp32", 1)), "tensor 'x': datatype 'fp32' does not exist");
  EXPECT_EQ(InputErrorOf(Bytes(1, "x") + Varint(3, static_cast<uint64_t>(-1))),
            "tensor 'x' dimension 0 of 'shape': expected an integer of at least 0, received -1");
  EXPECT_EQ(InputErrorOf(Bytes(1, "x") + Bytes(3, std::string(13, '\1'))),
            "tensor 'x': shape has more than 12 dimensions");
  const std::string huge = proto::RawVarint(uint64_t{1} << 40);
  EXPECT_EQ(InputErrorOf(Bytes(1, "x") + Bytes(2, "FP32") + Bytes(3, huge + huge)),
            "tensor 'x': shape [1099511627776,1099511627776] has too many elements");
}

TEST_F(KserveGrpc, WhatIsTooMuchIsRefused) {
  std::string many;
  for (size_t i = 0; i <= kMaxRequestTensors; ++i) many += Bytes(5, "");
  EXPECT_EQ(ErrorOf(many), "request: more than 1024 inputs");
  many.clear();
  for (size_t i = 0; i <= kMaxRequestTensors; ++i) many += Bytes(6, "");
  EXPECT_EQ(ErrorOf(many), "request: more than 1024 outputs");
  many.clear();
  for (size_t i = 0; i <= kMaxRequestTensors; ++i) many += Bytes(7, "");
  EXPECT_EQ(ErrorOf(many), "request: more than 1024 raw_input_contents");
  many.clear();
  for (size_t i = 0; i <= kMaxRequestParameters; ++i) many += Bytes(4, Entry("a", Varint(1, 1)));
  EXPECT_EQ(ErrorOf(many), "request: more than 100 parameters");
  EXPECT_EQ(ErrorOf(Bytes(3, "\xFF")), "request 'id': expected UTF-8");
}

TEST_F(KserveGrpc, WhatIsNoProtobufIsRefused) {
  const std::string whole = proto::FloatsRequest();
  for (const std::string& broken : {
           std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"),      // 2^64 - 1 bytes.
           std::string("\x0A\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),  // No varint.
           std::string("\x0A\x05m"),                                         // Ends early.
           std::string("\x0B"),                                              // A group.
           std::string("\x0E\x01"),                                          // No wire type.
           std::string("\x00\x01", 2),                                       // Field 0.
           whole.substr(0, whole.size() - 1),
           Bytes(5, "\x0A\x7Fx"),  // Ends beyond its message.
       }) {
    const Status status = Decode(broken);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << broken;
    EXPECT_TRUE(
        status.message().starts_with("request: the message is no protobuf of ModelInferRequest: "))
        << status.message();
  }
}

TEST(FindRawContents, SaysWhereTensorsBegin) {
  const std::string before = Bytes(1, "m") + Bytes(5, Input("x", "FP32", 2));
  const std::string message = before + Bytes(7, Floats({1, 2}));
  EXPECT_EQ(FindRawContents(message), before.size() + 2);
  EXPECT_EQ(FindRawContents(message.substr(0, before.size() + 2)), before.size() + 2);
  for (size_t size = 0; size < before.size() + 2; ++size) {
    EXPECT_FALSE(FindRawContents(message.substr(0, size))) << size;
  }
  EXPECT_FALSE(FindRawContents(before));
  EXPECT_FALSE(FindRawContents(Varint(1, 1) + message)) << "no field of such a message";
  EXPECT_FALSE(FindRawContents("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"));
}

}  // namespace
}  // namespace fastserve
