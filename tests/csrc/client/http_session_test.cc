#include "client/http_session.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "protocol/http1.h"

namespace fastserve {
namespace {

std::string Sent(Http2Output* output) {
  std::string sent;
  for (const OutputPart& part : output->parts()) sent += part.bytes;
  return sent;
}

class HttpSessionTest : public testing::Test {
 protected:
  void Ask(std::string_view method = "GET") {
    Http2Output output;
    ASSERT_TRUE(session_->Begin({.method = method, .authority = "a"}, "", &output).ok());
  }
  // Gives the session what a server says, in pieces of at most `piece` bytes.
  Status Say(std::string_view text, size_t piece = std::string_view::npos) {
    while (!text.empty()) {
      const std::span<std::byte> buffer = session_->GetBuffer();
      EXPECT_FALSE(buffer.empty());
      const size_t taken = std::min({text.size(), piece, buffer.size()});
      std::memcpy(buffer.data(), text.data(), taken);
      text.remove_prefix(taken);
      FS_RETURN_IF_ERROR(session_->Received(taken));
    }
    return {};
  }
  std::string Body() const {
    return {reinterpret_cast<const char*>(session_->body().data()), session_->body().size()};
  }
  void ExpectFails(const Status& status, Code code, std::string_view part) {
    EXPECT_EQ(CodeName(status.code()), CodeName(code));
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }

  std::unique_ptr<SlabPool> pool_ = SlabPool::Create({});
  std::unique_ptr<HttpSession> session_ = *HttpSession::Create({.body_bytes_max = 1 << 20}, *pool_);
};

TEST_F(HttpSessionTest, AnswersOfEveryKindInPiecesOfEverySize) {
  const std::string long_text(100'000, 'x');
  const std::vector<std::pair<std::string, std::string>> answers = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n",
       "abcde"},
      {StrCat("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", long_text), long_text},
  };
  for (const auto& [text, body] : answers) {
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{4096}, std::string_view::npos}) {
      Ask();
      EXPECT_FALSE(session_->has_begun());
      ASSERT_TRUE(Say(text, piece).ok());
      EXPECT_TRUE(session_->has_begun());
      ASSERT_TRUE(session_->is_done());
      EXPECT_TRUE(session_->is_reusable());
      EXPECT_EQ(Body(), body);
    }
  }
}

TEST_F(HttpSessionTest, WhatEndsWithTheConnection) {
  Ask();
  ASSERT_TRUE(Say("HTTP/1.1 200 OK\r\n\r\nso far").ok());
  EXPECT_FALSE(session_->is_done());
  ASSERT_TRUE(session_->Ended().ok());
  EXPECT_EQ(Body(), "so far");
  EXPECT_FALSE(session_->is_reusable());
}

TEST_F(HttpSessionTest, AnEndTooSoon) {
  Ask();
  ExpectFails(session_->Ended(), Code::kUnavailable, "without an answer");
  Ask();
  ASSERT_TRUE(Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe").ok());
  ExpectFails(session_->Ended(), Code::kUnavailable, "within its answer");
}

TEST_F(HttpSessionTest, WhatFollowsAnAnswerIsNotKept) {
  Ask();
  ASSERT_TRUE(Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n").ok());
  EXPECT_TRUE(session_->is_done());
  EXPECT_FALSE(session_->is_reusable());
  ExpectFails(session_->Received(1), Code::kInternal, "nobody asked");
}

TEST_F(HttpSessionTest, AHeadHasNoBody) {
  Ask("HEAD");
  ASSERT_TRUE(Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").ok());
  EXPECT_TRUE(session_->is_reusable());
  EXPECT_EQ(Body(), "");
}

TEST_F(HttpSessionTest, WhatIsNoAnswerOrTooMuch) {
  const std::vector<std::tuple<std::string, Code, std::string>> wrongs = {
      {"SSH-2.0\r\n", Code::kInternal, "expected an answer of HTTP/1.1"},
      {"HTTP/1.1 101 Switching\r\n\r\n", Code::kInternal, "changes the protocol"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", Code::kResourceExhausted,
       "99999999999 bytes"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Code::kInternal, "chunks"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n", Code::kInternal, ""},
      {StrCat("HTTP/1.1 200 OK\r\nA: ", std::string(40'000, 'x')), Code::kInternal, "32768 bytes"},
      {StrCat("HTTP/1.1 200 OK\r\n\r\n", std::string(1'100'000, 'x')), Code::kResourceExhausted,
       "more than 1048576 bytes"},
  };
  for (const auto& [text, code, why] : wrongs) {
    session_ = *HttpSession::Create({.body_bytes_max = 1 << 20}, *pool_);
    Ask();
    ExpectFails(Say(text), code, why);
  }
}

class HttpSessionInfer : public HttpSessionTest {
 protected:
  HttpSessionInfer() {
    request_.inputs.push_back({"x", {DataType::kFp32, {2}, std::as_bytes(std::span(values_))}});
    owners_.emplace_back();
  }
  std::string AskInfer(bool binary) {
    Http2Output output;
    EXPECT_TRUE(session_
                    ->BeginInfer(request_, owners_,
                                 {.method = "POST", .target = "/i", .authority = "a"}, binary,
                                 &output)
                    .ok());
    return Sent(&output);
  }

  const std::array<float, 2> values_ = {1, 2};
  InferBody request_;
  std::vector<BufferRef> owners_;
};

TEST_F(HttpSessionInfer, ARequestSaysWhereItEnds) {
  for (const bool binary : {false, true}) {
    const std::string sent = AskInfer(binary);
    Http1HeadReader reader;
    Http1Head head;
    ASSERT_EQ(reader.Read(sent, &head), Http1Progress::kDone);
    EXPECT_EQ(head.content_length, sent.size() - head.bytes);
    EXPECT_EQ(head.inference_header_length.has_value(), binary);
    if (binary) {
      EXPECT_EQ(*head.inference_header_length + 8, head.content_length);
    }
    ASSERT_TRUE(Say("HTTP/1.1 204 OK\r\n\r\n").ok());
  }
}

TEST_F(HttpSessionInfer, LargeTensorsAreNotCopied) {
  std::vector<std::byte> large(100'000);
  request_.inputs[0].tensor = {DataType::kUint8, {100'000}, large};
  owners_[0] = pool_->Acquire(1);
  Http2Output output;
  ASSERT_TRUE(session_
                  ->BeginInfer(request_, owners_,
                               {.method = "POST", .target = "/i", .authority = "a"}, true, &output)
                  .ok());
  ASSERT_EQ(output.parts().size(), 2u);
  EXPECT_EQ(static_cast<const void*>(output.parts()[1].bytes.data()), large.data());
  EXPECT_TRUE(output.parts()[1].owner);
}

TEST_F(HttpSessionInfer, TheAnswersTensorsAreAlignedWhereverTheJsonEnds) {
  for (const std::string_view spaces : {"", " ", "  ", "   "}) {
    AskInfer(true);
    const std::string json = StrCat(R"({"outputs":[{"name":"y","datatype":"FP32","shape":[1],)",
                                    spaces, R"("parameters":{"binary_data_size":4}}]})");
    const std::string text =
        StrCat("HTTP/1.1 200 OK\r\nInference-Header-Content-Length: ", json.size(),
               "\r\nContent-Length: ", json.size() + 4, "\r\n\r\n", json);
    ASSERT_TRUE(Say(text + std::string("\0\0\x80\x3f", 4), 10).ok());
    InferBody answer;
    ASSERT_TRUE(session_->DecodeInfer(&answer).ok());
    const Tensor& tensor = answer.inputs.at(0).tensor;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.bytes.data()) % 64, 0u);
    EXPECT_TRUE(session_->OwnerOf(tensor.bytes));
    float value = 0;
    std::memcpy(&value, tensor.bytes.data(), 4);
    EXPECT_EQ(value, 1);
  }
}

TEST_F(HttpSessionInfer, WhatIsNotWellSaidIsNotSent) {
  request_.inputs[0].tensor.type = DataType::kFp16;
  request_.inputs[0].tensor.shape = {4};
  Http2Output output;
  const Status status = session_->BeginInfer(
      request_, owners_, {.method = "POST", .target = "/i", .authority = "a"}, false, &output);
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_TRUE(output.empty());
}

}  // namespace
}  // namespace fastserve
