// Inputs and outputs in shared memory, over REST.
#include "protocol/expect_range.h"
#include "protocol/kserve_rest.h"
#include "protocol/kserve_rest_fixture.h"

namespace fastserve {
namespace {

class KserveRestSharedMemory : public KserveRest {
 protected:
  // An input, and an output, with these parameters; `rest` are further fields of the input.
  static std::string Input(std::string_view parameters, std::string_view rest = "",
                           std::string_view type = "INT16", std::string_view shape = "[2,3]") {
    return StrCat(R"({"inputs":[{"name":"x","datatype":")", type, R"(","shape":)", shape,
                  R"(,"parameters":{)", parameters, "}", rest, "}]}");
  }
  static std::string Output(std::string_view parameters) {
    return StrCat(R"({"inputs":[],"outputs":[{"name":"y","parameters":{)", parameters, "}}]}");
  }

  Status DecodeResponse(std::string_view json) {
    body_.reset(new char[json.size() + 64]());
    std::memcpy(body_.get(), json.data(), json.size());
    return decoder_.DecodeResponse(std::as_bytes(std::span(body_.get(), json.size())), std::nullopt,
                                   allocator_, &request_);
  }
};

constexpr std::string_view kRange =
    R"("shared_memory_region":"r","shared_memory_offset":64,"shared_memory_byte_size":12)";

TEST_F(KserveRestSharedMemory, AnInputHasARangeAndNoBytes) {
  ExpectOk(Decode(Input(kRange)));
  const InferInput& input = request_.inputs.at(0);
  ExpectRange(input.memory, "r", 64, 12);
  EXPECT_EQ(input.name, "x");
  EXPECT_EQ(input.tensor.type, DataType::kInt16);
  EXPECT_EQ(input.tensor.shape, (Shape{2, 3}));
  EXPECT_TRUE(input.tensor.bytes.empty());
  EXPECT_EQ(allocator_.calls, 0u);
}

TEST_F(KserveRestSharedMemory, TheOffsetMayBeLeftOut) {
  ExpectOk(Decode(Input(R"("shared_memory_byte_size":12,"shared_memory_region":"a\u00e9")")));
  ExpectRange(request_.inputs.at(0).memory, "aé", 0, 12);
}

TEST_F(KserveRestSharedMemory, FieldsComeInAnyOrderAndKeysMayBeEscaped) {
  ExpectOk(Decode(
      R"({"inputs":[{"parameters":{"shared\u005fmemory_region":"r","shared_memory_byte_size":1},)"
      R"("shape":[],"datatype":"BOOL","name":"x"}],)"
      R"("outputs":[{"parameters":{"shared_memory_byte_size":0,"shared_memory_region":"s"},)"
      R"("name":"y"}]})"));
  ExpectRange(request_.inputs.at(0).memory, "r", 0, 1);
  ExpectRange(request_.outputs.at(0).memory, "s", 0, 0);
}

TEST_F(KserveRestSharedMemory, TheTailIsForTheOtherInputs) {
  const std::string json =
      StrCat(R"({"inputs":[{"name":"a","datatype":"INT8","shape":[1],)"
             R"("parameters":{"binary_data_size":1}},)"
             R"({"name":"m","datatype":"INT16","shape":[6],"parameters":{)",
             kRange,
             R"(}},{"name":"j","datatype":"INT8","shape":[1],"data":[7]},)"
             R"({"name":"b","datatype":"INT8","shape":[2],"parameters":{"binary_data_size":2}}]})");
  ExpectOk(Decode(json, "abc"));
  EXPECT_EQ(Values<char>(0), (std::vector<char>{'a'}));
  EXPECT_TRUE(request_.inputs[1].tensor.bytes.empty());
  EXPECT_EQ(Values<int8_t>(2), (std::vector<int8_t>{7}));
  EXPECT_EQ(Values<char>(3), (std::vector<char>{'b', 'c'}));
  for (const size_t i : {0, 2, 3}) EXPECT_FALSE(request_.inputs[i].memory.is_set()) << i;
  ExpectRange(request_.inputs[1].memory, "r", 64, 12);
}

TEST_F(KserveRestSharedMemory, TheRequestBeforeIsForgotten) {
  ExpectOk(Decode(Input(kRange)));
  ExpectOk(DecodeData("INT8", "[1]", "[1]"));
  EXPECT_FALSE(request_.inputs.at(0).memory.is_set());
}

TEST_F(KserveRestSharedMemory, WhatIsMissingIsNamed) {
  for (const auto& [parameters, missing] :
       {std::pair{R"("shared_memory_region":"r")", "shared_memory_byte_size"},
        {R"("shared_memory_region":"r","shared_memory_offset":0)", "shared_memory_byte_size"},
        {R"("shared_memory_byte_size":12)", "shared_memory_region"},
        {R"("shared_memory_offset":0)", "shared_memory_region"},
        {R"("shared_memory_offset":0,"shared_memory_byte_size":12)", "shared_memory_region"}}) {
    const std::string part = StrCat(": parameter '", missing, "' is missing");
    ExpectInvalid(Decode(Input(parameters)), StrCat("tensor 'x'", part));
    ExpectInvalid(Decode(Input(parameters, R"(,"data":[1,2,3,4,5,6])")),
                  StrCat("tensor 'x'", part));
    ExpectInvalid(Decode(Output(parameters)), StrCat("output 'y'", part));
  }
  const std::string_view no_name = R"("shared_memory_region":"","shared_memory_byte_size":12)";
  ExpectInvalid(Decode(Input(no_name)),
                "tensor 'x': parameter 'shared_memory_region': expected the name of a registered");
  ExpectInvalid(Decode(Output(no_name)), "output 'y': parameter 'shared_memory_region'");
  ExpectInvalid(Decode(StrCat(R"({"inputs":[{"name":"x","parameters":{)", kRange, "}}]}")),
                "tensor 'x': 'shape' is missing");
  ExpectInvalid(
      Decode(StrCat(R"({"inputs":[{"name":"x","shape":[6],"parameters":{)", kRange, "}}]}")),
      "tensor 'x': 'datatype' is missing");
}

TEST_F(KserveRestSharedMemory, ValuesOfAnotherTypeAreNamed) {
  for (const std::string_view value : {"1", "null", "true", "[]", "{}"}) {
    const std::string parameters =
        StrCat(R"("shared_memory_byte_size":12,"shared_memory_region":)", value);
    const std::string_view shown = value.substr(0, value == "[]" || value == "{}" ? 1 : 9);
    const std::string part = StrCat(" 'shared_memory_region': expected a string, received ", shown);
    ExpectInvalid(Decode(Input(parameters)), StrCat("tensor 'x'", part));
    ExpectInvalid(Decode(Output(parameters)), StrCat("output 'y'", part));
  }
  for (const std::string_view key : {"shared_memory_offset", "shared_memory_byte_size"}) {
    for (const std::string_view value :
         {"-1", "1.5", "1e2", "\"1\"", "null", "true", "18446744073709551616"}) {
      const std::string parameters = StrCat(R"("shared_memory_region":"r",")", key, "\":", value);
      const std::string part =
          StrCat(" '", key, "': expected an integer of at least 0, received ", value);
      ExpectInvalid(Decode(Input(parameters)), StrCat("tensor 'x'", part));
      ExpectInvalid(Decode(Output(parameters)), StrCat("output 'y'", part));
    }
  }
  ExpectInvalid(Decode(R"({"inputs":[{"parameters":{"shared_memory_offset":-1}}]})"),
                "inputs[0] 'shared_memory_offset'");
}

TEST_F(KserveRestSharedMemory, TheValuesAreValidJson) {
  for (const std::string_view bad : {"tru", "01", "1x", "\"\\ud800\"", "-", "", "\"r", "1 2"}) {
    for (const std::string_view key :
         {"shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"}) {
      const std::string parameters = StrCat("\"", key, "\":", bad);
      EXPECT_FALSE(Decode(Input(parameters)).ok()) << parameters;
      EXPECT_FALSE(Decode(Output(parameters)).ok()) << parameters;
    }
  }
}

TEST_F(KserveRestSharedMemory, KeysThatAppearTwiceAreRefused) {
  for (const std::string_view more :
       {R"("shared_memory_region":"r")", R"("shared_memory_offset":64)",
        R"("shared_memory_byte_size":12)"}) {
    const std::string parameters = StrCat(kRange, ",", more);
    ExpectInvalid(Decode(Input(parameters)), "' appears twice");
    ExpectInvalid(Decode(Output(parameters)), "output 'y': '");
  }
}

TEST_F(KserveRestSharedMemory, OtherParametersOfThatKindAreNotOurs) {
  ExpectOk(DecodeData("INT8", "[1]", R"([1],"parameters":{"shared_memory_handle":[1]})"));
  ExpectOk(Decode(Output(R"("shared_memory":null)")));
  EXPECT_FALSE(request_.outputs.at(0).memory.is_set());
}

TEST_F(KserveRestSharedMemory, ARangeDoesNotOverflow) {
  const std::string_view parameters =
      R"("shared_memory_region":"r","shared_memory_offset":18446744073709551604,)"
      R"("shared_memory_byte_size":12)";
  ExpectInvalid(Decode(Input(parameters)), "tensor 'x': expected shared_memory_offset and ");
  ExpectInvalid(Decode(Output(parameters)), "which are more than 64 bits together");
  ExpectOk(Decode(Output(R"("shared_memory_region":"r","shared_memory_offset":1,)"
                         R"("shared_memory_byte_size":18446744073709551614)")));
  ExpectRange(request_.outputs.at(0).memory, "r", 1, UINT64_MAX - 1);
}

TEST_F(KserveRestSharedMemory, AnInputHasItsBytesInOnePlace) {
  const std::string message = "' beside 'shared_memory_region', received both";
  ExpectInvalid(Decode(Input(kRange, R"(,"data":[1,2,3,4,5,6])")),
                StrCat("tensor 'x': expected no 'data", message));
  ExpectInvalid(Decode(StrCat(R"({"inputs":[{"data":[1],"name":"x","parameters":{)", kRange,
                              R"(},"shape":[6],"datatype":"INT16"}]})")),
                StrCat("tensor 'x': expected no 'data", message));
  ExpectInvalid(Decode(Input(StrCat(kRange, R"(,"binary_data_size":12)")), "abcdefabcdef"),
                StrCat("tensor 'x': expected no 'binary_data_size", message));
  ExpectInvalid(Decode(Input(kRange), "abcdefabcdef"),
                "12 of the body's 12 binary bytes belong to no input");
}

TEST_F(KserveRestSharedMemory, TheSizeIsThatOfTypeAndShape) {
  const auto decode = [&](std::string_view type, std::string_view shape, uint64_t bytes) {
    return Decode(Input(StrCat(R"("shared_memory_region":"r","shared_memory_byte_size":)", bytes),
                        "", type, shape));
  };
  ExpectOk(decode("FP16", "[2,3]", 12));
  ExpectOk(decode("FP64", "[]", 8));
  ExpectOk(decode("FP64", "[0,7]", 0));
  ExpectInvalid(decode("INT16", "[2,3]", 11),
                "tensor 'x': expected 6 elements of INT16 for shape [2,3], 2 bytes each, but "
                "received 11 bytes");
  ExpectInvalid(decode("INT16", "[2,3]", 13), "received 13 bytes");
  ExpectInvalid(decode("INT16", "[0]", 1), "received 1 bytes");
  ExpectInvalid(decode("FP64", "[2305843009213693952]", 0), "received 0 bytes");
  // Of these only whoever has the region can tell.
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{5}, UINT64_MAX}) {
    ExpectOk(decode("BYTES", "[2]", bytes));
    EXPECT_EQ(request_.inputs.at(0).memory.bytes, bytes);
  }
}

TEST_F(KserveRestSharedMemory, AnOutputIsNoBinaryOne) {
  for (const std::string_view more : {"", R"(,"binary_data":false)"}) {
    ExpectOk(Decode(
        StrCat(R"({"parameters":{"binary_data_output":true},"inputs":[],"outputs":[{"name":"y",)"
               R"("parameters":{)",
               kRange, more, R"(}},{"name":"z"}]})")));
    ExpectRange(request_.outputs.at(0).memory, "r", 64, 12);
    EXPECT_EQ(request_.outputs[0].name, "y");
    EXPECT_FALSE(request_.outputs[0].binary);
    EXPECT_FALSE(request_.outputs[1].memory.is_set());
    EXPECT_TRUE(request_.outputs[1].binary);
  }
  ExpectInvalid(Decode(Output(StrCat(R"("binary_data":true,)", kRange))),
                "output 'y': expected no 'binary_data' beside 'shared_memory_region'");
}

TEST_F(KserveRestSharedMemory, AnOutputHasNoClasses) {
  for (const int count : {0, 3}) {
    ExpectInvalid(Decode(Output(StrCat(kRange, R"(,"classification":)", count))),
                  "output 'y': expected no 'classification' beside 'shared_memory_region'");
  }
}

TEST_F(KserveRestSharedMemory, AClientDoesNotReadIt) {
  for (const std::string_view parameter :
       {R"("shared_memory_region":"r")", R"("shared_memory_offset":0)",
        R"("shared_memory_byte_size":1)"}) {
    ExpectError(DecodeResponse(StrCat(
                    R"({"outputs":[{"name":"y","datatype":"INT8","shape":[1],"parameters":{)",
                    parameter, "}}]}")),
                Code::kInternal, "the server's answer: tensor 'y': expected its bytes");
  }
}

TEST_F(KserveRestSharedMemory, AnAnswerSaysWhereTheBytesAre) {
  const std::string bytes(12, 'a');
  const Tensor tensor{DataType::kFp16, Shape{2, 3}, std::as_bytes(std::span(bytes))};
  Tensor unseen = tensor;
  unseen.bytes = {};
  const InferResultOutput outputs[] = {
      {"y", tensor, false, {"r\"", 64, 12}}, {"z", unseen, true, {"s", 0, 0}}, {"b", tensor, true}};
  ByteWriter out;
  ExpectOk(EncodeInferResponse({"m", "1", "", false}, outputs, &out));
  EXPECT_EQ(out.view(), R"({"model_name":"m","model_version":"1","outputs":[)"
                        R"({"name":"y","datatype":"FP16","shape":[2,3],"parameters":)"
                        R"({"shared_memory_region":"r\"","shared_memory_offset":64,)"
                        R"("shared_memory_byte_size":12}},)"
                        R"({"name":"z","datatype":"FP16","shape":[2,3],"parameters":)"
                        R"({"shared_memory_region":"s","shared_memory_offset":0,)"
                        R"("shared_memory_byte_size":0}},)"
                        R"({"name":"b","datatype":"FP16","shape":[2,3],"parameters":)"
                        R"({"binary_data_size":12}}]})");
}

}  // namespace
}  // namespace fastserve
