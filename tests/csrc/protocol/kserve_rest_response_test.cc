#include "protocol/kserve_rest.h"

#include <cmath>

#include "protocol/kserve_rest_fixture.h"

namespace fastserve {
namespace {

TEST(KserveRestResponse, DescribesBinaryAndJsonOutputs) {
  const float floats[] = {1.5f, 2};
  const int64_t one = -3;
  const InferResultOutput outputs[] = {
      {"a", {DataType::kFp32, Shape{1, 2}, std::as_bytes(std::span(floats))}, true},
      {"b\"", {DataType::kFp32, Shape{1, 2}, std::as_bytes(std::span(floats))}, false},
      {"scalar", {DataType::kInt64, Shape{}, std::as_bytes(std::span(&one, 1))}, false},
      {"empty", {DataType::kFp16, Shape{0}, {}}, true},
      {"none", {DataType::kFp32, Shape{0, 3}, {}}, false}};
  ByteWriter out;
  out.Append("before");
  ExpectOk(EncodeInferResponse({"m", "1", "i\n", true}, outputs, &out));
  EXPECT_EQ(out.view(),
            R"(before{"id":"i\n","model_name":"m","model_version":"1","outputs":[)"
            R"({"name":"a","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}},)"
            R"({"name":"b\"","datatype":"FP32","shape":[1,2],"data":[1.5,2.0]},)"
            R"({"name":"scalar","datatype":"INT64","shape":[],"data":[-3]},)"
            R"({"name":"empty","datatype":"FP16","shape":[0],"parameters":{"binary_data_size":0}},)"
            R"({"name":"none","datatype":"FP32","shape":[0,3],"data":[]}]})");
}

TEST(KserveRestResponse, LeavesOutAnIdThatTheRequestDidNotHave) {
  ByteWriter out;
  ExpectOk(EncodeInferResponse({"m", "1", "", false}, {}, &out));
  EXPECT_EQ(out.view(), R"({"model_name":"m","model_version":"1","outputs":[]})");
}

TEST(KserveRestResponse, AppendsNothingWhenAnOutputHasNoJsonForm) {
  const std::vector<float> floats(1000, NAN);
  const InferResultOutput output{
      "y", {DataType::kFp32, Shape{1000}, std::as_bytes(std::span(floats))}, false};
  ByteWriter out;
  out.Append("before");
  ExpectInvalid(EncodeInferResponse({"m", "1", "", false}, {&output, 1}, &out), "element 0 is NaN");
  EXPECT_EQ(out.view(), "before");
}

TEST(KserveRestResponse, WritesErrorsThatAreAlwaysJson) {
  ByteWriter out;
  EncodeError("tensor '\"\xff\n'", &out);
  EXPECT_EQ(out.view(), "{\"error\":\"tensor '\\\"\xEF\xBF\xBD\\n'\"}");
}

}  // namespace
}  // namespace fastserve
