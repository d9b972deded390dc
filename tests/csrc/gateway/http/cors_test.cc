#include "gateway/http/cors.h"

#include "gateway/http2/http2_fixture.h"

namespace fastserve {
namespace {

bool Has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string Fields(const CorsPolicy& policy, std::string_view origin) {
  std::string text;
  for (const HttpHeader& field : policy.FieldsFor(origin)) {
    text += StrCat(field.name, "=", field.value, ";");
  }
  return text;
}

const std::string kExposed =
    "Access-Control-Expose-Headers=Inference-Header-Content-Length, Server-Timing, Retry-After;";

TEST(CorsPolicy, WithoutOriginsNothingIsSaid) {
  const CorsPolicy policy({});
  EXPECT_FALSE(policy.is_on());
  EXPECT_EQ(Fields(policy, "https://a.example"), "");
}

TEST(CorsPolicy, OnlyThoseThatAreNamedMayRead) {
  const CorsPolicy policy({"https://a.example", "http://localhost:3000"});
  EXPECT_EQ(Fields(policy, "https://a.example"),
            "Access-Control-Allow-Origin=https://a.example;" + kExposed + "Vary=Origin;");
  EXPECT_EQ(Fields(policy, "http://localhost:3000"),
            "Access-Control-Allow-Origin=http://localhost:3000;" + kExposed + "Vary=Origin;");
  // A cache must not give one page the answer of another.
  for (const char* origin : {"", "https://a.example.", "https://A.example", "null", "*",
                             "https://a.example, https://b.example"}) {
    EXPECT_EQ(Fields(policy, origin), "Vary=Origin;") << origin;
  }
}

TEST(CorsPolicy, OrEverybody) {
  const CorsPolicy policy({"https://a.example", "*"});
  for (const char* origin : {"", "https://a.example", "null"}) {
    EXPECT_EQ(Fields(policy, origin), "Access-Control-Allow-Origin=*;" + kExposed) << origin;
  }
}

class CorsOfGateway : public Http2Gateway {
 protected:
  CorsOfGateway() : Http2Gateway({.cors_origins = {"https://a.example"}}) {}

  std::string Http1(const std::string& request) {
    FakeSocket& socket = loop_.Connect();
    socket.Feed(request);
    loop_.RunUntilIdle();
    while (!loop_.controls.empty()) {
      const auto asked = std::move(loop_.controls.back());
      loop_.controls.pop_back();
      EXPECT_TRUE(asked->Respond(200, "", {}).ok());  // The next one may come.
    }
    socket.Lose();
    return socket.Take();
  }
};

TEST_F(CorsOfGateway, EveryAnswerSaysWhoMayReadIt) {
  const std::string origin = "Origin: https://a.example\r\n";
  const std::string allowed = "\r\nAccess-Control-Allow-Origin: https://a.example\r\n";
  const std::string inference = Http1(Post("/v2/models/m/infer", FloatsJson(), origin));
  EXPECT_TRUE(Has(inference, allowed));
  EXPECT_TRUE(Has(inference, "\r\nVary: Origin\r\n"));
  EXPECT_TRUE(Has(Http1(Post("/v2/models/m/infer", "{", origin)), allowed));
  EXPECT_TRUE(Has(Http1(Get("/v2", origin)), allowed));
  const std::string timed =
      Http1(Post("/v2/models/m/infer", FloatsJson(), origin + "Fastserve-Timing: 1\r\n"));
  EXPECT_TRUE(Has(timed, allowed));
  EXPECT_TRUE(Has(timed, "\r\nServer-Timing: receive"));
}

TEST_F(CorsOfGateway, OthersAreAnsweredWithoutLeave) {
  for (const char* fields : {"", "Origin: https://b.example\r\n"}) {
    const std::string answer = Http1(Post("/v2/models/m/infer", FloatsJson(), fields));
    EXPECT_TRUE(Has(answer, "HTTP/1.1 200"));
    EXPECT_TRUE(Has(answer, "\r\nVary: Origin\r\n"));
    EXPECT_FALSE(Has(answer, "Access-Control")) << answer;
  }
  // The next request on a connection is another one.
  const std::string two = Http1(Get("/v2", "Origin: https://a.example\r\n") + Get("/v2"));
  EXPECT_EQ(two.find("Access-Control-Allow"), two.rfind("Access-Control-Allow"));
}

TEST_F(CorsOfGateway, OverHttp2TheSame) {
  const Http2Answer& yes =
      Ask(PostFields("/v2/models/m/infer", {{"origin", "https://a.example"}}), FloatsJson());
  EXPECT_EQ(yes.Find(":status"), "200");
  EXPECT_EQ(yes.Find("access-control-allow-origin"), "https://a.example");
  EXPECT_EQ(yes.Find("vary"), "Origin");
  const Http2Answer& no =
      Ask(PostFields("/v2/models/m/infer", {{"origin", "https://b.example"}}), FloatsJson());
  EXPECT_EQ(no.Find("access-control-allow-origin"), "");
  EXPECT_EQ(no.Find("vary"), "Origin");
}

}  // namespace
}  // namespace fastserve
