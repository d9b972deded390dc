// Bodies and messages that come compressed, and answers that go so, over HTTP/2.
#include "gateway/http2/http2_fixture.h"
#include "protocol/compression/compressed.h"

namespace fastserve {
namespace {

using proto::FloatsRequest;

constexpr auto kGzip = ContentCoding::kGzip;
constexpr auto kDeflate = ContentCoding::kDeflate;

std::string CompressedGrpc(ContentCoding coding, std::string_view message) {
  const std::string compressed = Compressed(coding, message);
  const auto prefix =
      FormatGrpcPrefix({.is_compressed = true, .length = static_cast<uint32_t>(compressed.size())});
  return std::string(prefix.data(), prefix.size()) + compressed;
}

class Http2StreamCompression : public Http2Gateway {
 protected:
  Http2StreamCompression() : Http2Gateway({.body_bytes_max = 100'000}) {}
};

TEST_F(Http2StreamCompression, RestAsOverHttp1) {
  const std::string id(3000, 'i');
  const std::string plain = Ask(PostFields("/v2/models/m/infer"), FloatsJson(5, id)).data;
  for (const ContentCoding coding : {kGzip, kDeflate}) {
    const std::string name(NameOf(coding));
    const Http2Answer& answer = Ask(
        PostFields("/v2/models/m/infer", {{"content-encoding", name}, {"accept-encoding", name}}),
        Compressed(coding, FloatsJson(5, id)));
    EXPECT_EQ(answer.Find("content-encoding"), name);
    EXPECT_EQ(answer.Find("vary"), "accept-encoding");
    EXPECT_EQ(answer.Find("content-length"), std::to_string(answer.data.size()));
    EXPECT_EQ(Plain(coding, answer.data), plain);
  }
  const Http2Fields gzip = {{"content-encoding", "gzip"}};
  const std::string bomb = Compressed(kGzip, std::string(10'000'000, ' '));
  EXPECT_EQ(Ask(PostFields("/v2/models/m/infer", gzip), bomb).Find(":status"), "413");
  EXPECT_EQ(Ask(PostFields("/v2/models/m/infer", gzip), "{}").Find(":status"), "400");
  EXPECT_EQ(Ask(PostFields("/control", gzip), "{}").Find(":status"), "400");
}

TEST_F(Http2StreamCompression, MessagesAreReadInBothCodings) {
  const std::string plain = Infer(FloatsRequest(3)).data;
  for (const ContentCoding coding : {kGzip, kDeflate}) {
    const Http2Fields fields = GrpcFields(kInfer, {{"grpc-encoding", std::string(NameOf(coding))}});
    EXPECT_EQ(Ask(fields, CompressedGrpc(coding, FloatsRequest(3))).data, plain);
    EXPECT_EQ(Ask(fields, Grpc(FloatsRequest(3))).data, plain) << "each message says it for itself";
  }
}

TEST_F(Http2StreamCompression, AnswersAreCompressedLikewiseForThoseWhoReadIt) {
  const std::string id(3000, 'i');
  const std::string plain = MessagesOf(Infer(FloatsRequest(3, id)).data).at(0);
  for (const ContentCoding coding : {kGzip, kDeflate}) {
    const std::string name(NameOf(coding));
    Http2Fields fields = GrpcFields(
        kInfer, {{"grpc-encoding", name}, {"grpc-accept-encoding", "identity,deflate, gzip"}});
    const Http2Answer& answer = Ask(fields, CompressedGrpc(coding, FloatsRequest(3, id)));
    EXPECT_EQ(answer.Find("grpc-encoding"), name);
    EXPECT_TRUE(ParseGrpcPrefix(answer.data)->is_compressed);
    EXPECT_EQ(Plain(coding, MessagesOf(answer.data).at(0)), plain);
    const Http2Answer& small = Ask(fields, CompressedGrpc(coding, FloatsRequest(3)));
    EXPECT_FALSE(ParseGrpcPrefix(small.data)->is_compressed);
    fields.back().second = "identity";
    const Http2Answer& unread = Ask(fields, CompressedGrpc(coding, FloatsRequest(3, id)));
    EXPECT_EQ(unread.Find("grpc-encoding"), "");
    EXPECT_EQ(MessagesOf(unread.data).at(0), plain);
  }
}

TEST_F(Http2StreamCompression, StreamsTakeBothKindsOfMessages) {
  const std::string id(3000, 'i');
  const Http2Answer& answer =
      Ask(GrpcFields(kStreamInfer, {{"grpc-encoding", "gzip"}, {"grpc-accept-encoding", "gzip"}}),
          CompressedGrpc(kGzip, FloatsRequest(1, id)) + Grpc(FloatsRequest(2)));
  EXPECT_EQ(answer.Find("grpc-status"), "0");
  const auto messages = MessagesOf(answer.data);
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_NE(Plain(kGzip, messages[0]).find(id), std::string::npos);
}

TEST_F(Http2StreamCompression, BombsAndDamageEndTheirRpcAlone) {
  const Http2Fields gzip = GrpcFields(kInfer, {{"grpc-encoding", "gzip"}});
  const Http2Answer& bomb = Ask(gzip, CompressedGrpc(kGzip, std::string(10'000'000, ' ')));
  EXPECT_EQ(bomb.Find("grpc-status"), GrpcCodeText(Code::kResourceExhausted));
  EXPECT_EQ(Ask(gzip, std::string("\1\0\0\0\4text", 9)).Find("grpc-status"),
            GrpcCodeText(Code::kInvalidArgument));
  EXPECT_EQ(Infer(FloatsRequest(3)).Find("grpc-status"), "0");
}

}  // namespace
}  // namespace fastserve
