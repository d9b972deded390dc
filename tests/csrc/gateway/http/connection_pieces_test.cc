// Inferences that arrive in pieces: the answer is the same however the bytes come.
#include <string>
#include <string_view>

#include "gateway/fake_loop.h"
#include "gateway/http/connection.h"
#include "protocol/feed_three_ways.h"

namespace fastserve {
namespace {

// The answer to the message in `pieces`, or that there is none yet.
std::string AnswerTo(const ServableHandle& model, const Pieces& pieces) {
  FakeLoop loop;
  loop.map->Publish(model);
  FakeSocket& socket = loop.Connect();
  for (std::string_view piece : pieces) socket.Feed(piece);
  loop.RunUntilIdle();
  const std::vector<Answer> answers = AnswersOf(WithoutDates(socket.Take()));
  if (answers.empty()) return std::string(kNeedsMore);
  return StrCat(answers[0].status, " ", answers[0].body);
}

std::string FeedModel(std::string_view message) {
  const ServableHandle model = Serve(EchoBackend(), Named("m"));
  model->WarmUp();
  return FeedThreeWays(message, [&](const Pieces& pieces) { return AnswerTo(model, pieces); });
}

constexpr std::string_view kBinaryJson =
    R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],)"
    R"("parameters":{"binary_data_size":8}}]})";

std::string Chunked(std::string_view head, std::string_view body) {
  ByteWriter out;
  out.Append(StrCat("POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\n", head,
                    "Transfer-Encoding: chunked\r\n\r\n"));
  for (size_t at = 0; at < body.size(); at += 50) AppendChunk(body.substr(at, 50), &out);
  out.Append(kHttp1LastChunk);
  return std::string(out.view());
}

TEST(ConnectionPieces, AnswersJsonAlike) {
  const std::string said = FeedModel(PostFloats(7, "a"));
  EXPECT_TRUE(said.starts_with("200 {")) << said;
  EXPECT_NE(said.find("\"data\":[7.0,2.0]"), std::string::npos) << said;
}

TEST(ConnectionPieces, AnswersABinaryTailAlike) {
  const std::string tail("\0\0\x80?\0\0\0@", 8);  // 1.0 and 2.0.
  const std::string length =
      StrCat("Inference-Header-Content-Length: ", kBinaryJson.size(), "\r\n");
  const std::string body = StrCat(kBinaryJson, tail);
  const std::string said = FeedModel(Post("/v2/models/m/infer", body, length));
  EXPECT_NE(said.find("\"data\":[1.0,2.0]"), std::string::npos) << said;
  EXPECT_EQ(FeedModel(Chunked(length, body)), said);
}

TEST(ConnectionPieces, AnswersChunksAlike) {
  EXPECT_EQ(FeedModel(Chunked("", FloatsJson(7, "a"))), FeedModel(PostFloats(7, "a")));
}

TEST(ConnectionPieces, RefusesAlike) {
  EXPECT_TRUE(FeedModel(Post("/v2/models/m/infer", "{")).starts_with("400 "));
  EXPECT_TRUE(
      FeedModel(Post("/v2/models/m/infer", "{}", "Content-Encoding: br\r\n")).starts_with("415 "));
  EXPECT_TRUE(FeedModel("POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n")
                  .starts_with("400 "));
}

}  // namespace
}  // namespace fastserve
