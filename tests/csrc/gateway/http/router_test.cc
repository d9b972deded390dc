#include "gateway/http/router.h"

#include <gtest/gtest.h>

#include <string>

namespace fastserve {
namespace {

// "model@version", or "-" for what is no inference.
std::string RouteOf(std::string_view method, std::string_view target) {
  std::string storage;
  const Route route = FindRoute(method, target, &storage);
  if (!route.is_infer) return "-";
  return std::string(route.model).append("@").append(route.version);
}

TEST(Router, FindsModelAndVersion) {
  EXPECT_EQ(RouteOf("POST", "/v2/models/m/infer"), "m@");
  EXPECT_EQ(RouteOf("POST", "/v2/models/m/versions/12/infer"), "m@12");
  EXPECT_EQ(RouteOf("POST", "/v2/models/m/versions/-1/infer"), "m@-1");
  EXPECT_EQ(RouteOf("POST", "/v2/models/m/versions/v1.2_canary/infer"), "m@v1.2_canary");
  EXPECT_EQ(RouteOf("POST", "/v2/models/m/infer?a=/b?c"), "m@");
  EXPECT_EQ(RouteOf("POST", "/v2/models/versions/versions/1/infer"), "versions@1");
  EXPECT_EQ(RouteOf("POST", "/v2/models/infer/infer"), "infer@");
}

TEST(Router, KnowsHowAnInferenceIsSpelled) {
  const auto format = [](std::string_view target) {
    std::string storage;
    return FindRoute("POST", target, &storage).format;
  };
  EXPECT_EQ(format("/v2/models/m/infer"), InferFormat::kKserve);
  EXPECT_EQ(format("/v2/models/m/generate"), InferFormat::kGenerate);
  EXPECT_EQ(format("/v2/models/m/versions/3/generate_stream?a"), InferFormat::kGenerateStream);
  EXPECT_EQ(RouteOf("POST", "/v2/models/m/versions/3/generate"), "m@3");
  EXPECT_EQ(RouteOf("POST", "/v2/models/generate/generate"), "generate@");
  EXPECT_EQ(RouteOf("POST", "/v2/models/m/generates"), "-");
  EXPECT_EQ(RouteOf("POST", "/v2/models/generate"), "-");
  EXPECT_EQ(RouteOf("GET", "/v2/models/m/generate"), "-");
}

// A separator that is encoded is part of the name.
TEST(Router, DecodesTheNameAfterTakingThePathApart) {
  EXPECT_EQ(RouteOf("POST", "/v2/models/a%2Fb/infer"), "a/b@");
  EXPECT_EQ(RouteOf("POST", "/v2/models/a%20b/versions/3/infer"), "a b@3");
  EXPECT_EQ(RouteOf("POST", "/v2/models/a+b/infer"), "a+b@");
  EXPECT_EQ(RouteOf("POST", "/v2/models/a%3Fb/infer"), "a?b@");
}

TEST(Router, LeavesEverythingElseToTheControlPlane) {
  for (std::string_view target :
       {"/", "", "*", "/v2", "/v2/models/m", "/v2/models//infer", "/v2/models/infer",
        "/v2/models/m/infer/", "/v2/models/m/n/infer", "/v2/models/m/versions/infer",
        "/v2/models/m/versions//infer", "/v2/models/m/versions/a b/infer",
        "/v2/models/m/versions/1/2/infer", "/v2/models/m/versions/%31/infer",
        "/v2/models/%zz/infer", "/v2/models/a%2/infer", "/v1/models/m/infer",
        "/v2/models/m/ready?/infer"}) {
    EXPECT_EQ(RouteOf("POST", target), "-") << target;
  }
  EXPECT_EQ(RouteOf("GET", "/v2/models/m/infer"), "-");
  EXPECT_EQ(RouteOf("post", "/v2/models/m/infer"), "-");
}

TEST(Router, DividesATargetAtTheFirstQuestionMark) {
  EXPECT_EQ(PathOf("/a?b?c"), "/a");
  EXPECT_EQ(QueryOf("/a?b?c"), "b?c");
  EXPECT_EQ(PathOf("/a"), "/a");
  EXPECT_EQ(QueryOf("/a"), "");
  EXPECT_EQ(QueryOf("/a?"), "");
}

}  // namespace
}  // namespace fastserve
