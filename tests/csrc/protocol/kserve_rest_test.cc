#include "protocol/kserve_rest.h"

#include <algorithm>

#include "protocol/kserve_rest_fixture.h"

namespace fastserve {
namespace {

// What tritonclient sends for one FP32 input and one binary output.
constexpr std::string_view kBinaryHead =
    R"({"id":"7","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32",)"
    R"("parameters":{"binary_data_size":8}}],)"
    R"("outputs":[{"name":"y","parameters":{"binary_data":true}}]})";
constexpr std::string_view kEightBytes = "abcdefgh";

// The head of an input without its data.
std::string BinaryInput(std::string_view name, std::string_view type, std::string_view shape,
                        std::string_view size) {
  return StrCat(R"({"name":")", name, R"(","datatype":")", type, R"(","shape":)", shape,
                R"(,"parameters":{"binary_data_size":)", size, "}}");
}
std::string Inputs(std::string_view inputs) { return StrCat(R"({"inputs":[)", inputs, "]}"); }

TEST_F(KserveRest, ReadsABinaryRequestWithoutCopyingItsBytes) {
  ExpectOk(Decode(kBinaryHead, kEightBytes));
  EXPECT_EQ(request_.id, "7");
  EXPECT_TRUE(request_.has_id);
  ASSERT_EQ(request_.inputs.size(), 1u);
  EXPECT_EQ(request_.inputs[0].name, "x");
  EXPECT_EQ(request_.inputs[0].tensor.type, DataType::kFp32);
  EXPECT_EQ(request_.inputs[0].tensor.shape, (Shape{1, 2}));
  EXPECT_EQ(reinterpret_cast<const char*>(request_.inputs[0].tensor.bytes.data()),
            body_.get() + kBinaryHead.size());
  ASSERT_EQ(request_.outputs.size(), 1u);
  EXPECT_EQ(request_.outputs[0].name, "y");
  EXPECT_TRUE(request_.outputs[0].binary);
  EXPECT_EQ(allocator_.calls, 0u);
}

TEST_F(KserveRest, ForgetsTheRequestBefore) {
  ExpectOk(Decode(R"({"id":"a","parameters":{"k":1,"timeout":5,"sequence_id":9,
      "binary_data_output":true},"inputs":[],"outputs":[{"name":"y"}]})"));
  ExpectOk(Decode(R"({"inputs":[]})"));
  EXPECT_FALSE(request_.has_id);
  EXPECT_TRUE(request_.parameters.empty());
  EXPECT_TRUE(request_.outputs.empty());
  EXPECT_EQ(request_.timeout_us, 0u);
  EXPECT_EQ(request_.sequence.id, 0u);
  EXPECT_FALSE(request_.binary_output_default);
}

TEST_F(KserveRest, ReadsTheFieldsInAnyOrder) {
  const char* const fields[] = {R"("name":"x")", R"("datatype":"INT32")", R"("shape":[2])",
                                R"("data":[4,5])"};
  int order[] = {0, 1, 2, 3};
  do {
    std::string input = R"({"extra":{"data":[[1]]})";
    for (int i : order) input += StrCat(",", fields[i]);
    ExpectOk(Decode(Inputs(StrCat(input, "},", BinaryInput("b", "INT8", "[1]", "1"))), "z"));
    EXPECT_EQ(Values<int32_t>(), (std::vector<int32_t>{4, 5})) << input;
    EXPECT_EQ(request_.inputs[1].name, "b");
  } while (std::next_permutation(std::begin(order), std::end(order)));
}

TEST_F(KserveRest, ValidatesDataThatCameTooEarlyToBeRead) {
  for (const char* data : {"[4,05]", "[4,5}", "[4 5]", "[4,5", "[4,tru]", "{\"a\":1}", "[4,5]]"}) {
    EXPECT_FALSE(Decode(Inputs(StrCat(R"({"data":)", data,
                                      R"(,"name":"x","datatype":"INT32","shape":[2]})")))
                     .ok())
        << data;
  }
}

TEST_F(KserveRest, ComparesKeysUnescaped) {
  ExpectOk(Decode(R"({"inp\u0075ts":[{"n\u0061me":"x","shape":[1],"d\u0061ta":[3],
      "datatype":"INT\u0038"}]})"));
  EXPECT_EQ(request_.inputs[0].name, "x");
  EXPECT_EQ(Values<int8_t>(), (std::vector<int8_t>{3}));
  ExpectInvalid(Decode(R"({"inputs":[],"inp\u0075ts":[]})"), "'inputs' appears twice");
}

TEST_F(KserveRest, RefusesKnownKeysThatAppearTwice) {
  const std::string input = R"({"name":"x","shape":[1],"datatype":"INT8","data":[1])";
  for (const char* field :
       {R"("name":"x")", R"("shape":[1])", R"("datatype":"INT8")", R"("data":[1])"}) {
    ExpectInvalid(Decode(Inputs(StrCat(input, ",", field, "}"))), "appears twice");
  }
  ExpectInvalid(Decode(Inputs(StrCat(input, R"(,"parameters":{},"parameters":{}})"))),
                "appears twice");
  for (const char* field :
       {R"("id":"a")", R"("inputs":[])", R"("outputs":[])", R"("parameters":{})"}) {
    ExpectInvalid(Decode(StrCat("{", field, ",", field, "}")), "appears twice");
  }
  for (const char* field :
       {R"("timeout":1)", R"("priority":1)", R"("sequence_id":1)", R"("sequence_start":true)",
        R"("sequence_end":true)", R"("binary_data_output":true)", R"("mine":1)"}) {
    ExpectInvalid(Decode(StrCat(R"({"inputs":[],"parameters":{)", field, ",", field, "}}")),
                  "appears twice");
  }
  ExpectInvalid(Decode(R"({"inputs":[],"outputs":[{"name":"a","name":"a"}]})"), "appears twice");
  ExpectInvalid(Decode(R"({"inputs":[],"outputs":[{"name":"a",
      "parameters":{"binary_data":true,"binary_data":false}}]})"),
                "appears twice");
  ExpectInvalid(Decode(Inputs(R"({"name":"x","shape":[1],"datatype":"INT8",
      "parameters":{"binary_data_size":1,"binary_data_size":1}})"),
                       "a"),
                "appears twice");
}

TEST_F(KserveRest, RefusesMissingKeysAndNamesThem) {
  ExpectInvalid(Decode("{}"), "'inputs' is missing");
  ExpectInvalid(Decode(Inputs("{}")), "inputs[0]: 'name' is missing");
  ExpectInvalid(Decode(Inputs(R"({"name":"x"})")), "tensor 'x': 'shape' is missing");
  ExpectInvalid(Decode(Inputs(R"({"name":"x","shape":[]})")), "'datatype' is missing");
  ExpectInvalid(Decode(Inputs(R"({"name":"x","shape":[],"datatype":"INT8"})")),
                "expected either 'data' or 'binary_data_size' or 'shared_memory_region', received "
                "none of them");
  ExpectInvalid(Decode(R"({"inputs":[],"outputs":[{}]})"), "outputs[0]: 'name' is missing");
}

TEST_F(KserveRest, RefusesKnownKeysOfAnotherType) {
  for (const char* text :
       {R"({"inputs":{}})", R"({"inputs":[1]})", R"({"inputs":null})", R"({"id":1,"inputs":[]})",
        R"({"inputs":[],"outputs":1})", R"({"inputs":[],"outputs":[[]]})",
        R"({"inputs":[],"parameters":[]})", R"({"inputs":[{"name":1}]})",
        R"({"inputs":[{"name":"x","shape":3}]})", R"({"inputs":[{"name":"x","shape":["3"]}]})",
        R"({"inputs":[{"name":"x","shape":[1.5]}]})", R"({"inputs":[{"name":"x","datatype":8}]})",
        R"({"inputs":[],"outputs":[{"name":"y","parameters":{"binary_data":1}}]})",
        R"({"inputs":[],"outputs":[{"name":"y","parameters":{"classification":-1}}]})",
        R"({"inputs":[],"outputs":[{"name":"y","parameters":{"classification":4294967296}}]})",
        R"({"inputs":[],"parameters":{"timeout":-1}})",
        R"({"inputs":[],"parameters":{"timeout":"1"}})",
        R"({"inputs":[],"parameters":{"sequence_id":-1}})",
        R"({"inputs":[],"parameters":{"sequence_start":1}})"}) {
    ExpectInvalid(Decode(text), "expected ");
  }
}

// simdjson's on-demand mode does not look at what nobody reads.
TEST_F(KserveRest, ValidatesFieldsThatItDoesNotKnow) {
  for (const char* bad : {"tru",
                          "truex",
                          "nul",
                          "nullx",
                          "01",
                          "1.",
                          "-",
                          R"("\ud800")",
                          R"("\x")",
                          "[1,]",
                          "[1 2]",
                          "{\"a\"}",
                          "{\"a\":}",
                          "{\"a\":1,}",
                          "{\"a\" 1}",
                          "{1:1}",
                          "[}",
                          "{]",
                          "[1",
                          "NaN",
                          "'a'",
                          "\"a\tb\"",
                          "",
                          "1e999",
                          "{\"\\ud800\":1}"}) {
    for (const std::string& text :
         {StrCat(R"({"x":)", bad, R"(,"inputs":[]})"), StrCat(R"({"inputs":[],"x":)", bad, "}"),
          StrCat(R"({"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1],"x":)", bad,
                 "}]}"),
          StrCat(R"({"inputs":[],"outputs":[{"name":"y","parameters":{"x":)", bad, "}}]}"),
          StrCat(R"({"inputs":[],"parameters":{"triton_x":)", bad, "}}"),
          StrCat(R"({"inputs":[],"parameters":{"x":)", bad, "}}")}) {
      EXPECT_FALSE(Decode(text).ok()) << text;
    }
  }
  ExpectOk(Decode(R"({"x":{"a":[1,-2.5e3,true,false,null,"\u00e9",{}],"b":{}},"inputs":[]})"));
}

TEST_F(KserveRest, RefusesWhatStandsBeforeOrAfterTheObject) {
  for (const char* text : {R"({"inputs":[]} x)", R"({"inputs":[]}{})", R"({"inputs":[]}})",
                           R"({"inputs":[]},)", R"(x{"inputs":[]})", "\xEF\xBB\xBF{\"inputs\":[]}",
                           "", " ", "[]", "1", "null", "\"inputs\"", "{", R"({"inputs":[])",
                           R"({"inputs":[}])", R"({"inputs":[]} 1)", R"([{"inputs":[]}])"}) {
    ExpectInvalid(Decode(text), "");
  }
  ExpectInvalid(Decode("\xEF\xBB\xBF{\"inputs\":[]}"), "byte order mark");
  ExpectInvalid(Decode(std::string_view("{\"inputs\":[]}\0", 14)), "");
  ExpectOk(Decode(" \r\n\t{\"inputs\" : [ ] } \n"));
}

TEST_F(KserveRest, RefusesTextThatIsNotUtf8) {
  ExpectInvalid(Decode("{\"inputs\":[],\"x\":\"\xff\"}"), "UTF-8");
  ExpectInvalid(Decode("{\"inputs\":[],\"\xc3\":1}"), "UTF-8");
}

// 100 levels, as Triton; a million must be refused and not overflow a stack.
TEST_F(KserveRest, LimitsTheDepth) {
  const auto nested = [](size_t levels, std::string_view open, std::string_view close) {
    std::string text = R"({"x":)";
    for (size_t i = 0; i < levels; ++i) text += open;
    text += "1";
    for (size_t i = 0; i < levels; ++i) text += close;
    return text + R"(,"inputs":[]})";
  };
  ExpectOk(Decode(nested(99, "[", "]")));
  ExpectInvalid(Decode(nested(100, "[", "]")), "nested more than 100 levels");
  ExpectOk(Decode(nested(99, "{\"a\":", "}")));
  ExpectInvalid(Decode(nested(100, "{\"a\":", "}")), "nested more than 100 levels");
  ExpectInvalid(Decode(nested(1'000'000, "[", "]")), "nested more than 100 levels");
  ExpectInvalid(DecodeData("INT8", "[1]", std::string(1'000'000, '[')), "tensor 'x'");
  ExpectInvalid(
      DecodeData("INT8", "[1,1]", std::string(1000000, '[') + "1" + std::string(1000000, ']')),
      "tensor 'x'");
}

TEST_F(KserveRest, RefusesShapesThatCannotBe) {
  ExpectInvalid(DecodeData("INT8", "[-1]", "[]"), "dimension 0 of 'shape'");
  ExpectInvalid(DecodeData("INT8", "[9223372036854775808]", "[]"), "dimension 0 of 'shape'");
  ExpectInvalid(DecodeData("INT8", "[9223372036854775807,2]", "[]"), "too many elements");
  ExpectInvalid(DecodeData("INT8", "[1,1,1,1,1,1,1,1,1,1,1,1,1]", "[1]"),
                "more than 12 dimensions");
  ExpectOk(DecodeData("INT8", "[1,1,1,1,1,1,1,1,1,1,1,1]", "[1]"));
  ExpectInvalid(DecodeData("FP31", "[1]", "[1]"), "datatype 'FP31' does not exist");
}

TEST_F(KserveRest, GivesTheTailToBinaryInputsInTheirOrder) {
  const std::string json = Inputs(
      StrCat(BinaryInput("a", "INT8", "[2]", "2"),
             R"(,{"name":"j","shape":[1],"datatype":"INT8","data":[9]},)",
             BinaryInput("e", "FP32", "[0]", "0"), ",", BinaryInput("b", "BYTES", "[2]", "9")));
  ExpectOk(Decode(json, std::string_view("\1\2\1\0\0\0x\0\0\0\0", 11)));
  EXPECT_EQ(Values<int8_t>(0), (std::vector<int8_t>{1, 2}));
  EXPECT_EQ(Values<int8_t>(1), (std::vector<int8_t>{9}));
  EXPECT_TRUE(request_.inputs[2].tensor.bytes.empty());
  EXPECT_EQ(SplitBytesElements(request_.inputs[3].tensor),
            (std::vector<std::string_view>{"x", ""}));
}

TEST_F(KserveRest, ChecksBinarySizesAgainstTheTailAndTheShape) {
  const auto decode = [&](std::string_view shape, std::string_view size, std::string_view tail) {
    return Decode(Inputs(BinaryInput("x", "INT16", shape, size)), tail);
  };
  ExpectOk(decode("[2]", "4", "abcd"));
  ExpectInvalid(decode("[2]", "4", "abc"), "only 3 of the body's 3 binary bytes are left");
  ExpectInvalid(decode("[2]", "4", "abcde"), "1 of the body's 5 binary bytes belong to no input");
  ExpectInvalid(decode("[2]", "3", "abc"), "received 3 bytes");
  ExpectInvalid(decode("[2]", "18446744073709551615", "abcd"), "only 4");
  ExpectInvalid(decode("[2]", "-4", "abcd"), "binary_data_size: expected an integer");
  ExpectInvalid(decode("[4611686018427387904]", "4", "abcd"), "tensor 'x'");
  ExpectInvalid(Decode(Inputs(BinaryInput("x", "INT16", "[2]", "4"))), "only 0");
  ExpectInvalid(Decode(Inputs(BinaryInput("x", "BYTES", "[1]", "5")), "\x09\0\0\0a"), "");
  ExpectInvalid(Decode(R"({"inputs":[]})", "x"), "belong to no input");
}

TEST_F(KserveRest, RefusesDataBesideABinarySize) {
  ExpectInvalid(Decode(Inputs(R"({"name":"x","datatype":"INT8","shape":[1],"data":[1],
      "parameters":{"binary_data_size":1}})"),
                       "a"),
                "received both 'data' and 'binary_data_size'");
}

TEST_F(KserveRest, RefusesAHeadLongerThanTheBody) {
  const std::string text = std::string(R"({"inputs":[]})") + std::string(64, ' ');
  const auto body = std::as_bytes(std::span(text)).first(13);
  ExpectOk(decoder_.Decode(body, 13, allocator_, &request_));
  ExpectInvalid(decoder_.Decode(body, 14, allocator_, &request_), "the body has only 13 bytes");
  ExpectInvalid(decoder_.Decode(body, UINT64_MAX, allocator_, &request_), "has only 13");
  EXPECT_FALSE(decoder_.Decode(body, 0, allocator_, &request_).ok());
}

// `parameters` may stand before or behind `outputs`.
TEST_F(KserveRest, ResolvesWhichOutputsAreBinary) {
  const std::string outputs = R"("outputs":[{"name":"a"},{"name":"b","parameters":
      {"binary_data":false}},{"name":"c","parameters":{"binary_data":true,"classification":3}}])";
  const std::string parameters = R"("parameters":{"binary_data_output":true})";
  for (const std::string& text : {StrCat("{\"inputs\":[],", outputs, ",", parameters, "}"),
                                  StrCat("{\"inputs\":[],", parameters, ",", outputs, "}")}) {
    ExpectOk(Decode(text));
    EXPECT_TRUE(request_.binary_output_default);
    EXPECT_TRUE(request_.outputs[0].binary);
    EXPECT_FALSE(request_.outputs[1].binary);
    EXPECT_TRUE(request_.outputs[2].binary);
    EXPECT_EQ(request_.outputs[2].classification, 3u);
    EXPECT_EQ(request_.outputs[0].classification, 0u);
  }
  ExpectOk(Decode(StrCat("{\"inputs\":[],", outputs, "}")));
  EXPECT_FALSE(request_.outputs[0].binary);
  EXPECT_TRUE(request_.outputs[2].binary);
}

TEST_F(KserveRest, ReadsReservedAndCustomParameters) {
  ExpectOk(Decode(R"({"inputs":[],"parameters":{"timeout":1500,"priority":2,
      "sequence_id":18446744073709551615,"sequence_start":true,"sequence_end":false,
      "headers":{"a":[1]},"triton_enable_empty_final_response":true,
      "b":true,"i":-5,"u":18446744073709551615,"d":1.0,"big":1e3,"s":"text","e":"\u00e9"}})"));
  EXPECT_EQ(request_.timeout_us, 1500u);
  EXPECT_EQ(request_.priority, 2u);
  EXPECT_EQ(request_.sequence.id, UINT64_MAX);
  EXPECT_TRUE(request_.sequence.start);
  EXPECT_FALSE(request_.sequence.end);
  using Value = decltype(InferParameter::value);
  const std::pair<std::string_view, Value> expected[] = {{"b", true},
                                                         {"i", int64_t{-5}},
                                                         {"u", UINT64_MAX},
                                                         {"d", 1.0},
                                                         {"big", 1e3},
                                                         {"s", std::string_view("text")},
                                                         {"e", std::string_view("é")}};
  ASSERT_EQ(request_.parameters.size(), std::size(expected));
  for (size_t i = 0; i < std::size(expected); ++i) {
    EXPECT_EQ(request_.parameters[i].name, expected[i].first);
    EXPECT_EQ(request_.parameters[i].value, expected[i].second) << expected[i].first;
  }
  ExpectOk(Decode(R"({"inputs":[],"parameters":{"sequence_id":"mine"}})"));
  EXPECT_EQ(request_.sequence.name, "mine");
  for (const char* value : {"null", "[]", "{}"}) {
    ExpectInvalid(Decode(StrCat(R"({"inputs":[],"parameters":{"k":)", value, "}}")),
                  "parameter 'k': expected a bool, a number or a string");
  }
}

TEST_F(KserveRest, LimitsTensorsAndParameters) {
  const auto repeat = [](size_t count, auto&& make) {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += StrCat(i == 0 ? "" : ",", make(i));
    return text;
  };
  const auto input = [](size_t i) {
    return StrCat(R"({"name":"x)", i, R"(","shape":[0],"datatype":"INT8","data":[]})");
  };
  const auto output = [](size_t i) { return StrCat(R"({"name":"y)", i, "\"}"); };
  const auto parameter = [](size_t i) { return StrCat("\"p", i, "\":1"); };
  const auto with_outputs = [&](size_t count) {
    return StrCat(R"({"inputs":[],"outputs":[)", repeat(count, output), "]}");
  };
  const auto with_parameters = [&](size_t count) {
    return StrCat(R"({"inputs":[],"parameters":{)", repeat(count, parameter), "}}");
  };
  ExpectOk(Decode(Inputs(repeat(1024, input))));
  ExpectInvalid(Decode(Inputs(repeat(1025, input))), "more than 1024 inputs");
  ExpectOk(Decode(with_outputs(1024)));
  ExpectInvalid(Decode(with_outputs(1025)), "more than 1024 outputs");
  ExpectOk(Decode(with_parameters(100)));
  ExpectInvalid(Decode(with_parameters(101)), "more than 100 parameters");
}

// Views must not point into the parser, which goes away after a large document.
TEST_F(KserveRest, KeepsViewsValidAfterALargeDocument) {
  std::string json = R"({"id":"the id","parameters":{"k\u0065y":"esc\u0061ped"},"pad":")";
  json += std::string(2 << 20, 'p');
  json += R"(","inputs":[{"name":"n\u00e9","shape":[1],"datatype":"INT8","data":[1]}]})";
  ExpectOk(Decode(json));
  EXPECT_EQ(request_.id, "the id");
  EXPECT_TRUE(request_.id.data() > body_.get() && request_.id.data() < body_.get() + json.size());
  EXPECT_EQ(request_.inputs[0].name, "né");
  EXPECT_EQ(request_.parameters[0].name, "key");
  EXPECT_EQ(std::get<std::string_view>(request_.parameters[0].value), "escaped");
  ExpectOk(Decode(kBinaryHead, kEightBytes));
  EXPECT_EQ(request_.id, "7");
}

// What lies behind the text, a tail or some old request's bytes, must not close or continue it.
TEST_F(KserveRest, DoesNotReadBeyondATextThatIsNotClosed) {
  const std::string input = R"({"name":"x","shape":[1],"datatype":"INT8","data":[1]})";
  for (const char padding : {',', ']', '}', ':', '"', '[', '{', '1', ' ', '\0'}) {
    padding_ = padding;
    for (const std::string& text :
         {StrCat(R"({"inputs":[)", input), StrCat(R"({"inputs":[],"outputs":[{"name":"y"})"),
          StrCat(R"({"inputs":[],"x":[{})"), StrCat(R"({"inputs":[],"x":{"a":{})"),
          StrCat(R"({"inputs":[],"x":[[{})"), StrCat(R"({"inputs":[],"parameters":{})"),
          StrCat(R"({"inputs":[{"parameters":{})")}) {
      ExpectInvalid(Decode(text), "");
      ExpectInvalid(Decode(text, std::string(3, padding)), "");
    }
    ExpectOk(Decode(Inputs(input)));
  }
}

// Cutting a good body anywhere must give an error, never a crash or a success.
TEST_F(KserveRest, RefusesEveryPrefixOfARequest) {
  const std::string json = R"({"id":"a","inputs":[{"data":[[1,2]],"name":"x","shape":[1,2],
      "datatype":"INT8"}],"outputs":[{"name":"y","parameters":{"binary_data":true}}],
      "parameters":{"k":"v","t":1.5},"x":[{"a":null}]})";
  ExpectOk(Decode(json));
  for (size_t size = 0; size < json.size(); ++size) {
    EXPECT_FALSE(Decode(std::string_view(json).substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace fastserve
