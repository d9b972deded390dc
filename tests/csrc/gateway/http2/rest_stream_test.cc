#include "gateway/http2/rest_stream.h"

#include "gateway/http2/http2_fixture.h"

namespace fastserve {
namespace {

class RestStreamTest : public Http2Gateway {
 protected:
  RestStreamTest() : Http2Gateway({.body_bytes_max = 4096, .body_timeout = 5 * kSecond}) {}

  void Respond(int status, std::string_view body, std::vector<HttpHeader> headers = {}) {
    ASSERT_EQ(loop_.controls.size(), 1u);
    const auto asked = std::move(loop_.controls.front());
    loop_.controls.clear();
    EXPECT_TRUE(asked->Respond(status, body, headers).ok());
    Talk();
  }
};

TEST_F(RestStreamTest, AnInferenceIsAnsweredAsOverHttp1) {
  const Http2Answer& answer = Ask(PostFields("/v2/models/m/infer"), FloatsJson(7, "id"));
  EXPECT_EQ(answer.Find(":status"), "200");
  EXPECT_EQ(answer.Find("content-type"), "application/json");
  EXPECT_EQ(answer.Find("content-length"), std::to_string(answer.data.size()));
  FakeSocket& http1 = loop_.Connect();
  http1.Feed(PostFloats(7, "id"));
  loop_.RunUntilIdle();
  EXPECT_EQ(answer.data, AnswersOf(http1.Take()).front().body);
  http1.Lose();
}

TEST_F(RestStreamTest, BinaryTensorsAndTheirFields) {
  const std::string json =
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],)"
      R"("parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}})";
  const std::string body = json + proto::Floats({1, 2});
  const Http2Answer& answer =
      Ask(PostFields("/v2/models/m/infer",
                     {{"inference-header-content-length", std::to_string(json.size())},
                      {"content-length", std::to_string(body.size())},
                      {"fastserve-timing", "1"}}),
          body);
  EXPECT_EQ(answer.Find(":status"), "200") << answer.data;
  EXPECT_EQ(answer.Find("content-type"), "application/octet-stream");
  EXPECT_TRUE(answer.Find("server-timing").starts_with("receive;dur="));
  const size_t head = std::stoul(answer.Find("inference-header-content-length"));
  EXPECT_EQ(answer.data.substr(head), proto::Floats({1, 2}));
}

TEST_F(RestStreamTest, ControlRequestsHaveHeadAndBody) {
  const int32_t stream =
      client_.Request(PostFields("/v2/a%20b?q=1", {{"x", "y"}, {"te", "trailers"}}), "body");
  Talk();
  ASSERT_EQ(loop_.controls.size(), 1u);
  const ControlRequest& asked = *loop_.controls[0];
  EXPECT_FALSE(asked.is_grpc);
  EXPECT_EQ(asked.method, "POST");
  EXPECT_EQ(asked.path, "/v2/a b");
  EXPECT_EQ(asked.query, "q=1");
  const std::vector<std::pair<std::string, std::string>> headers = {{"host", "a"}, {"x", "y"}};
  EXPECT_EQ(asked.headers, headers);
  EXPECT_EQ(asked.body.bytes().size(), 4u);
  Respond(418, "tea", {{"Content-Type", "text/plain"}});
  EXPECT_EQ(client_.answers[stream].Find(":status"), "418");
  EXPECT_EQ(client_.answers[stream].Find("content-type"), "text/plain");
  EXPECT_EQ(client_.answers[stream].data, "tea");
  EXPECT_EQ(loop_.responses(418), 1u);
}

TEST_F(RestStreamTest, AnAnswerToHeadHasNoBody) {
  Http2Fields fields = GetFields("/x");
  fields[0].second = "HEAD";
  const int32_t stream = client_.Request(fields);
  Talk();
  Respond(200, "four");
  EXPECT_EQ(client_.answers[stream].Find("content-length"), "4");
  EXPECT_EQ(client_.answers[stream].data, "");
  EXPECT_TRUE(client_.answers[stream].is_closed);
}

TEST_F(RestStreamTest, ErrorsAreThoseOfHttp1) {
  EXPECT_EQ(Ask(PostFields("/v2/models/m/infer"), "{").Find(":status"), "400");
  EXPECT_EQ(Ask(PostFields("/v2/models/m/infer")).Find(":status"), "400");
  const Http2Answer& coded =
      Ask(PostFields("/v2/models/m/infer", {{"content-encoding", "br"}}), FloatsJson());
  EXPECT_EQ(coded.Find(":status"), "415");
  EXPECT_EQ(Ask(GetFields("/with#fragment")).Find(":status"), "400");
  EXPECT_EQ(Ask(GetFields("no-path")).Find(":status"), "") << "HTTP/2 itself forbids it";
  EXPECT_EQ(Ask(PostFields("/x", {{"a", std::string(17'000, 'x')}})).Find(":status"), "431");
}

TEST_F(RestStreamTest, BodiesThatAreTooLargeAreRefusedEarly) {
  const int32_t told = client_.Request(
      PostFields("/v2/models/m/infer", {{"content-length", "5000"}}), "", /*goes_on=*/true);
  Talk();
  EXPECT_EQ(client_.answers[told].Find(":status"), "413");
  const int32_t untold = client_.Request(PostFields("/v2/models/m/infer"), "", /*goes_on=*/true);
  client_.Send(untold, std::string(5000, ' '));
  Talk();
  EXPECT_EQ(client_.answers[untold].Find(":status"), "413");
  EXPECT_TRUE(client_.answers[untold].is_closed);
  EXPECT_EQ(client_.answers[untold].error, 0u);
}

TEST_F(RestStreamTest, ABodyThatDoesNotComeIsNotWaitedForForEver) {
  const int32_t stream = client_.Request(PostFields("/v2/models/m/infer"), "", /*goes_on=*/true);
  Talk();
  loop_.gateway->Sweep(NowNanos() + 6 * kSecond);
  Talk();
  EXPECT_EQ(client_.answers[stream].Find(":status"), "408");
}

TEST_F(RestStreamTest, AModelThatGoesMeanwhile) {
  const int32_t stream = client_.Request(PostFields("/v2/models/m/infer"), "", /*goes_on=*/true);
  Talk();
  static_cast<void>(loop_.map->Retire("m", 1));
  client_.Send(stream, FloatsJson());
  client_.End(stream);
  Talk();
  EXPECT_EQ(client_.answers[stream].Find(":status"), "503");
  EXPECT_EQ(client_.answers[stream].Find("retry-after"), "1");
}

}  // namespace
}  // namespace fastserve
