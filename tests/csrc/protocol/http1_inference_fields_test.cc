// Fields of a head that say how an inference is to be served, and nothing of where it ends.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/status.h"
#include "protocol/http1.h"

namespace fastserve {
namespace {

Http1Head Read(const std::string& text) {
  Http1HeadReader reader;
  Http1Head head;
  EXPECT_EQ(reader.Read(text, &head), Http1Progress::kDone) << text;
  return head;
}

std::string Get(std::string_view lines) {
  return StrCat("GET / HTTP/1.1\r\nHost: a\r\n", lines, "\r\n");
}

TEST(Http1InferenceFields, TakesATimeoutInMilliseconds) {
  for (const auto& [value, expected] :
       {std::pair{"1", 1u}, std::pair{"250", 250u}, std::pair{"86400000", 86'400'000u}}) {
    const std::string text = Get(StrCat("inference-TIMEOUT-ms:  ", value, " \r\n"));
    const Http1Head head = Read(text);
    EXPECT_TRUE(head.inference_timeout_is_valid);
    EXPECT_EQ(head.inference_timeout_ms, expected);
  }
  const std::string none = Get("Inference-Timeout-M: 5\r\nXnference-Timeout-Ms: 5\r\n");
  EXPECT_TRUE(Read(none).inference_timeout_is_valid);
  EXPECT_EQ(Read(none).inference_timeout_ms, 0u);
}

// The request's error, not the connection's.
TEST(Http1InferenceFields, MarksATimeoutThatIsNotOneNumberOfThose) {
  for (const char* lines : {"Inference-Timeout-Ms: 0\r\n", "Inference-Timeout-Ms: 86400001\r\n",
                            "Inference-Timeout-Ms:\r\n", "Inference-Timeout-Ms: 1ms\r\n",
                            "Inference-Timeout-Ms: -1\r\n", "Inference-Timeout-Ms: 5, 5\r\n",
                            "Inference-Timeout-Ms: 18446744073709551617\r\n",
                            "Inference-Timeout-Ms: 5\r\nInference-Timeout-Ms: 5\r\n",
                            "Inference-Timeout-Ms: 0\r\nInference-Timeout-Ms: 5\r\n",
                            "Inference-Timeout-Ms: x\r\nInference-Timeout-Ms: 5\r\n"}) {
    const std::string text = Get(lines);
    EXPECT_FALSE(Read(text).inference_timeout_is_valid) << text;
  }
}

TEST(Http1InferenceFields, TellsWhoWantsToKnowWhereTimeWent) {
  const std::string asks = Get("Fastserve-Timing: 1\r\n");
  EXPECT_TRUE(Read(asks).wants_timing);
  for (const char* lines : {"", "Fastserve-Timing: 0\r\n", "Fastserve-Timing: 11\r\n",
                            "Fastserve-Timing:\r\n", "Fastserve-Timin: 1\r\n"}) {
    const std::string text = Get(lines);
    EXPECT_FALSE(Read(text).wants_timing) << text;
  }
}

TEST(Http1InferenceFields, HoldForOneHead) {
  Http1HeadReader reader;
  Http1Head head;
  const std::string first = Get("Inference-Timeout-Ms: 5\r\nFastserve-Timing: 1\r\n");
  const std::string wrong = Get("Inference-Timeout-Ms: x\r\n");
  const std::string plain = Get("");
  ASSERT_EQ(reader.Read(first, &head), Http1Progress::kDone);
  ASSERT_EQ(reader.Read(wrong, &head), Http1Progress::kDone);
  EXPECT_FALSE(head.inference_timeout_is_valid);
  EXPECT_FALSE(head.wants_timing);
  ASSERT_EQ(reader.Read(plain, &head), Http1Progress::kDone);
  EXPECT_TRUE(head.inference_timeout_is_valid);
  EXPECT_EQ(head.inference_timeout_ms, 0u);
  EXPECT_EQ(head.fields.size(), 1u);
}

}  // namespace
}  // namespace fastserve
