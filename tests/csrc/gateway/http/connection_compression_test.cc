#include <gtest/gtest.h>

#include <string>

#include "gateway/fake_loop.h"
#include "gateway/http/connection.h"
#include "protocol/compression/compressed.h"

// Bodies that come compressed, and answers that go so, over HTTP/1.1.
namespace fastserve {
namespace {

constexpr auto kGzip = ContentCoding::kGzip;
constexpr auto kDeflate = ContentCoding::kDeflate;

// A chunk for each byte.
std::string InChunks(std::string_view body) {
  std::string chunks;
  for (const char byte : body) chunks += StrCat("1\r\n", std::string_view(&byte, 1), "\r\n");
  return chunks + "0\r\n\r\n";
}

class ConnectionCompression : public testing::Test {
 protected:
  ConnectionCompression() : loop_({.body_bytes_max = 100'000}) {
    loop_.map->Publish(Serve(EchoBackend(), Named("m")));
    socket_ = &loop_.Connect();
  }
  ~ConnectionCompression() override {
    socket_->Lose();
    loop_.RunUntilIdle();
    loop_.ExpectNothingHeld();
  }

  Answer Ask(const std::string& request) {
    socket_->Feed(request);
    loop_.RunUntilIdle();
    std::vector<Answer> answers = AnswersOf(socket_->Take());
    EXPECT_EQ(answers.size(), 1u);
    return answers.empty() ? Answer{} : answers.front();
  }

  FakeLoop loop_;
  FakeSocket* socket_;
};

TEST_F(ConnectionCompression, BodiesAreReadInBothCodings) {
  const std::string plain = Ask(PostFloats(5, "id")).body;
  for (const ContentCoding coding : {kGzip, kDeflate}) {
    const std::string body = Compressed(coding, FloatsJson(5, "id"));
    const std::string field = StrCat("Content-Encoding: ", NameOf(coding), "\r\n");
    EXPECT_EQ(Ask(Post("/v2/models/m/infer", body, field)).body, plain);
    EXPECT_EQ(Ask(StrCat("POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\n", field,
                         "Transfer-Encoding: chunked\r\n\r\n", InChunks(body)))
                  .body,
              plain);
  }
}

// The JSON's length is that of the plain body.
TEST_F(ConnectionCompression, BinaryTensorsBehindTheJson) {
  const std::string json = R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],)"
                           R"("parameters":{"binary_data_size":8}}]})";
  const std::string body = Compressed(kGzip, json + std::string("\0\0\x80\x3F\0\0\0\x40", 8));
  const Answer answer = Ask(Post(
      "/v2/models/m/infer", body,
      StrCat("Content-Encoding: gzip\r\nInference-Header-Content-Length: ", json.size(), "\r\n")));
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_NE(answer.body.find("\"data\":[1.0,2.0]"), std::string::npos) << answer.body;
}

TEST_F(ConnectionCompression, BombsAndDamageAreTheRequestsFaultAlone) {
  const std::string gzip = "Content-Encoding: gzip\r\n";
  const std::string bomb = Compressed(kGzip, std::string(10'000'000, ' '));
  EXPECT_EQ(Ask(Post("/v2/models/m/infer", bomb, gzip)).status, 413);
  EXPECT_EQ(Ask(Post("/control", bomb, gzip)).status, 413);
  const std::string damaged = Compressed(kGzip, FloatsJson()).substr(0, 20);
  EXPECT_EQ(Ask(Post("/v2/models/m/infer", damaged, gzip)).status, 400);
  EXPECT_EQ(Ask(Post("/v2/models/m/infer", FloatsJson(), gzip)).status, 400);
  EXPECT_EQ(Ask(Post("/v2/models/m/infer", "", gzip)).status, 400);
  EXPECT_EQ(Ask(PostFloats()).status, 200) << "the connection goes on";
  EXPECT_TRUE(loop_.controls.empty()) << "the control plane sees no body that cannot be read";
}

TEST_F(ConnectionCompression, TheControlPlaneSeesPlainBodies) {
  socket_->Feed(Post("/control", Compressed(kDeflate, "plain"), "Content-Encoding: deflate\r\n"));
  ASSERT_EQ(loop_.controls.size(), 1u);
  const auto bytes = loop_.controls.front()->body.bytes();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), "plain");
  loop_.controls.clear();
}

TEST_F(ConnectionCompression, AnswersOfSomeLengthAreCompressedForThoseWhoTakeIt) {
  const std::string id(3000, 'i');
  const std::string plain = Ask(PostFloats(5, id)).body;
  for (const ContentCoding coding : {kGzip, kDeflate}) {
    const std::string field = StrCat("Accept-Encoding: ", NameOf(coding), "\r\n");
    const Answer answer = Ask(Post("/v2/models/m/infer", FloatsJson(5, id), field));
    EXPECT_NE(answer.head.find(StrCat(
                  "\r\nVary: Accept-Encoding\r\nContent-Encoding: ", NameOf(coding), "\r\n")),
              std::string::npos)
        << answer.head;
    EXPECT_LT(answer.body.size(), 500u);
    EXPECT_EQ(Plain(coding, answer.body), plain);
    const Answer small = Ask(Post("/v2/models/m/infer", FloatsJson(), field));
    EXPECT_EQ(small.head.find("Content-Encoding"), std::string::npos);
  }
  const Answer unasked =
      Ask(Post("/v2/models/m/infer", FloatsJson(5, id), "Accept-Encoding: br\r\n"));
  EXPECT_EQ(unasked.body, plain);
}

TEST_F(ConnectionCompression, AnswersOfTheControlPlaneAreCompressedToo) {
  const std::string text(5000, 'm');
  for (const std::string_view method : {"GET", "HEAD"}) {
    socket_->Feed(StrCat(method, " /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"));
    ASSERT_EQ(loop_.controls.size(), 1u);
    const auto asked = std::move(loop_.controls.front());
    loop_.controls.clear();
    ASSERT_TRUE(asked->Respond(200, text, {}).ok());
    const std::string sent = socket_->Take();
    EXPECT_NE(sent.find("\r\nContent-Encoding: gzip\r\n"), std::string::npos) << sent;
    const std::string body = sent.substr(sent.find("\r\n\r\n") + 4);
    if (method == "GET") {
      EXPECT_EQ(Plain(kGzip, body), text);
    } else {
      EXPECT_EQ(body, "");
    }
  }
}

}  // namespace
}  // namespace fastserve
