#include "protocol/generate/generate_request.h"

#include "protocol/feed_three_ways.h"
#include "protocol/kserve_rest_fixture.h"

namespace fastserve {
namespace {

TensorSpec Spec(std::string name, DataType type, Shape shape) {
  TensorSpec spec;
  spec.name = std::move(name);
  spec.type = type;
  spec.shape = shape;
  return spec;
}

class Generate : public testing::Test {
 protected:
  Status Decode(std::string_view json) {
    memory_.reset(new char[json.size() + 64]);
    if (!json.empty()) std::memcpy(memory_.get(), json.data(), json.size());
    std::memset(memory_.get() + json.size(), '1', 64);
    const auto body = std::as_bytes(std::span(memory_.get(), json.size()));
    return decoder_.Decode(body, inputs_, batching_, allocator_, &request_);
  }
  // What was read, or why not.
  std::string Read(std::string_view json) {
    const Status status = Decode(json);
    if (!status.ok()) return StrCat("refused: ", status.message());
    std::string said(request_.id);
    for (const InferInput& input : request_.inputs) {
      said += StrCat("; ", input.name, " ", DataTypeName(input.tensor.type),
                     input.tensor.shape.ToString());
    }
    for (const InferParameter& parameter : request_.parameters) {
      said += StrCat("; ", parameter.name);
    }
    return said;
  }
  void Refused(std::string_view json, std::string_view why) {
    const std::string said = Read(json);
    EXPECT_TRUE(said.starts_with("refused: ")) << json << " " << said;
    EXPECT_NE(said.find(why), std::string::npos) << said;
  }

  std::vector<TensorSpec> inputs_ = {Spec("text", DataType::kBytes, {-1, 1}),
                                     Spec("image", DataType::kFp32, {-1, 2, 2}),
                                     Spec("ids", DataType::kInt64, {-1, -1})};
  bool batching_ = true;
  std::unique_ptr<char[]> memory_;
  CountingAllocator allocator_;
  GenerateDecoder decoder_;
  InferBody request_;
};

TEST_F(Generate, AValueIsAnElementAndAListIsAsMany) {
  EXPECT_EQ(Read(R"({"text":"a","image":[1,2,3,4.5],"ids":[7,8,9]})"),
            "; text BYTES[1,1]; image FP32[1,2,2]; ids INT64[1,3]");
  const auto bytes = request_.inputs[1].tensor.bytes;
  float last = 0;
  std::memcpy(&last, bytes.data() + 12, 4);
  EXPECT_EQ(last, 4.5);
  EXPECT_EQ(Read(R"({"ids":5})"), "; ids INT64[1,1]");
  EXPECT_EQ(Read(R"({"ids":[]})"), "; ids INT64[1,0]");
  EXPECT_EQ(Read("{}"), "");
}

TEST_F(Generate, WithoutABatchTheLastOpenDimensionTakesWhatThereIs) {
  batching_ = false;
  inputs_ = {Spec("x", DataType::kInt8, {-1, 3}), Spec("s", DataType::kInt8, {}),
             Spec("z", DataType::kInt8, {-1, -1, 2})};
  EXPECT_EQ(Read(R"({"x":[1,2,3,4,5,6],"s":1,"z":[1,2,3,4]})"),
            "; x INT8[2,3]; s INT8[]; z INT8[1,2,2]");
  Refused(R"({"x":[1,2]})", "input 'x': 2 elements do not fit shape [-1,3]");
}

TEST_F(Generate, AllOtherKeysAreParameters) {
  EXPECT_EQ(Read(R"({"id":"7","text":"a","temperature":0.5,"parameters":{"top":3,"ids":[1]}})"),
            "7; text BYTES[1,1]; ids INT64[1,1]; temperature; top");
  EXPECT_TRUE(request_.has_id);
  ExpectOk(Decode(R"({"parameters":{"timeout":50,"priority":2,"sequence_id":9}})"));
  EXPECT_EQ(request_.timeout_us, 50u);
  EXPECT_EQ(request_.priority, 2u);
  EXPECT_EQ(request_.sequence.id, 9u);
  EXPECT_FALSE(request_.binary_output_default);
}

TEST_F(Generate, InputsMayHaveTheProtocolsNames) {
  inputs_ = {Spec("id", DataType::kInt8, {-1, 1}), Spec("parameters", DataType::kInt8, {-1, 1})};
  EXPECT_EQ(Read(R"({"id":1,"parameters":2})"), "; id INT8[1,1]; parameters INT8[1,1]");
}

TEST_F(Generate, WhatIsWrongIsNamed) {
  Refused("", "not valid JSON");
  Refused("[1]", "");
  Refused(R"({"text":"a")", "not valid JSON");
  Refused(R"({"text":"a"} x)", "");
  Refused(R"({"text":1})", "text");
  Refused(R"({"text":["a","b"]})",
          "input 'text': 2 elements do not fit shape [-1,1] with a batch of 1");
  Refused(R"({"image":[[1,2],[3,4]]})", "image");
  Refused(R"({"text":"a","text":"b"})", "input 'text' appears twice");
  Refused(R"({"id":"a","id":"b"})", "'id' appears twice");
  Refused(R"({"parameters":{},"parameters":{}})", "'parameters' appears twice");
  Refused(R"({"parameters":[]})", "an object");
  Refused(R"({"other":[1]})", "'other', which is no input of the model");
  Refused(R"({"other":{"a":1}})", "'other', which is no input of the model");
  Refused(R"({"other":null})", "'other', which is no input of the model");
  Refused(R"({"a":1,"a":2})", "twice");
  std::string many = "{";
  for (int i = 0; i <= 100; ++i) many += StrCat(i == 0 ? "\"p" : ",\"p", i, "\":1");
  Refused(many + "}", "more than 100 parameters");
}

TEST_F(Generate, WithoutMemory) {
  allocator_.limit_bytes = 10;
  EXPECT_EQ(Decode(R"({"image":[1,2,3,4]})").code(), Code::kResourceExhausted);
}

TEST_F(Generate, GenerateDecoderReadsAlikeHoweverItComes) {
  const auto read = [&](std::string_view text) {
    return FeedThreeWays(text, [&](const Pieces& pieces) {
      std::string gathered;
      for (const std::string_view piece : pieces) gathered += piece;
      return Read(std::string_view(gathered).substr(0, text.size()));  // HTTP says its length.
    });
  };
  EXPECT_EQ(read(R"({"text":"a","p":1})"), "; text BYTES[1,1]; p");
  EXPECT_TRUE(read(R"({"text":})").starts_with("refused: "));
}

TEST(GenerateResponse, SingleElementsAreValues) {
  const std::array<float, 2> numbers = {1.5, 2};
  const std::string text("\1\0\0\0\"", 5);
  const auto bytes = std::as_bytes(std::span(numbers));
  const std::vector<InferResultOutput> outputs = {
      {"one", {DataType::kFp32, {1, 1}, bytes.first(4)}},
      {"two", {DataType::kFp32, {1, 2}, bytes}},
      {"none", {DataType::kFp32, {0}, {}}},
      {"text", {DataType::kBytes, {1}, std::as_bytes(std::span(text))}}};
  ByteWriter out;
  ExpectOk(EncodeGenerateResponse({"m", "1", "7", true}, outputs, &out));
  EXPECT_EQ(out.view(), R"({"id":"7","model_name":"m","model_version":"1","one":1.5,)"
                        R"("two":[1.5,2.0],"none":[],"text":"\""})");
  ByteWriter event;
  AppendServerSentEvent(R"({"a":1})", &event);
  EXPECT_EQ(event.view(), "data: {\"a\":1}\n\n");
}

TEST(GenerateResponse, WhatJsonCannotSayIsAnError) {
  const std::array<uint16_t, 1> half = {0};
  const InferResultOutput output{"h", {DataType::kFp16, {1}, std::as_bytes(std::span(half))}};
  ByteWriter out;
  out.Append("before");
  ExpectInvalid(EncodeGenerateResponse({"m", "1", "", false}, {&output, 1}, &out), "h");
  EXPECT_EQ(out.view(), "before");
}

}  // namespace
}  // namespace fastserve
