#include "gateway/http2/grpc_stream.h"

#include "gateway/http2/http2_fixture.h"

namespace fastserve {
namespace {

using proto::FloatsRequest;

class GrpcStreamTest : public Http2Gateway {
 protected:
  GrpcStreamTest()
      : Http2Gateway(
            {.body_bytes_max = 4096, .in_flight_bytes_max = 8192, .body_timeout = 5 * kSecond}) {}

  void ExpectError(const Http2Answer& answer, Code code, std::string_view message) {
    EXPECT_EQ(answer.Find("grpc-status"), GrpcCodeText(code));
    EXPECT_EQ(answer.Find("grpc-message"), message);
    EXPECT_TRUE(answer.is_closed);
  }
};

TEST_F(GrpcStreamTest, HeadsThatAreWrong) {
  ExpectError(Infer(FloatsRequest(), {{"grpc-timeout", "soon"}}), Code::kInvalidArgument,
              "grpc-timeout: expected up to eight digits and one of HMSmun, received 'soon'");
  ExpectError(Infer(FloatsRequest(), {{"grpc-encoding", "snappy"}}), Code::kUnimplemented,
              "grpc-encoding 'snappy' is not available, send messages as they are, as gzip or as "
              "deflate");
  EXPECT_EQ(Infer(FloatsRequest(), {{"grpc-encoding", "snappy"}}).Find("grpc-accept-encoding"),
            "identity,gzip,deflate");
  ExpectError(Infer(FloatsRequest(), {{"a", std::string(17'000, 'x')}}), Code::kResourceExhausted,
              "the request's metadata is too large");
  EXPECT_EQ(Infer(FloatsRequest(), {{"grpc-encoding", "identity"}}).Find("grpc-status"), "0");
}

TEST_F(GrpcStreamTest, MessagesThatAreWrong) {
  ExpectError(Ask(GrpcFields(kInfer), std::string("\x02\0\0\0\0", 5)), Code::kInternal,
              "gRPC message: the first byte is 2, expected 0 (as it is) or 1 (compressed)");
  ExpectError(Ask(GrpcFields(kInfer), std::string("\x01\0\0\0\0", 5)), Code::kInternal,
              "a message is compressed, but grpc-encoding does not say how");
  ExpectError(Ask(GrpcFields(kInfer), std::string("\0\0\0\0", 4)), Code::kInvalidArgument,
              "the request ends within a message");
  ExpectError(Ask(GrpcFields(kInfer), std::string("\0\0\0\0\5abc", 8)), Code::kInvalidArgument,
              "the request ends within a message");
}

TEST_F(GrpcStreamTest, AMessageThatIsTooLargeIsRefusedByItsLength) {
  const int32_t stream = client_.Request(GrpcFields(kInfer), "", /*goes_on=*/true);
  client_.Send(stream, std::string("\0\xFF\xFF\xFF\xFF", 5));
  Talk();
  const Http2Answer& answer = client_.answers[stream];
  ExpectError(answer, Code::kResourceExhausted,
              "a message has 4294967295 bytes, but this server accepts at most 4096");
  EXPECT_EQ(answer.error, 0u) << "the client is told to stop, but not that it failed";
}

TEST_F(GrpcStreamTest, AMessageThatDoesNotComeIsNotWaitedForForEver) {
  const int32_t stream = client_.Request(GrpcFields(kInfer), "", /*goes_on=*/true);
  Talk();
  loop_.gateway->Sweep(NowNanos() + 4 * kSecond);
  EXPECT_FALSE(client_.answers[stream].is_closed);
  loop_.gateway->Sweep(NowNanos() + 6 * kSecond);
  Talk();
  ExpectError(client_.answers[stream], Code::kDeadlineExceeded,
              "the request's message did not arrive in time");
}

TEST_F(GrpcStreamTest, ADeadlineThatPassesBeforeTheMessageIsThere) {
  const int32_t stream =
      client_.Request(GrpcFields(kInfer, {{"grpc-timeout", "1S"}}), "", /*goes_on=*/true);
  Talk();
  loop_.gateway->Sweep(NowNanos() + 2 * kSecond);
  Talk();
  ExpectError(client_.answers[stream], Code::kDeadlineExceeded, "the deadline passed");
}

TEST_F(GrpcStreamTest, BytesBeyondTheLimitOfTheServerAreRefused) {
  const auto begin = [this] {
    const int32_t stream = client_.Request(GrpcFields(kInfer), "", /*goes_on=*/true);
    client_.Send(stream, std::string("\0\0\0\x10\0a", 6));  // The first byte of 4,096.
    Talk();
    return stream;
  };
  const int32_t first = begin();
  const int32_t second = begin();
  EXPECT_EQ(loop_.gateway->in_flight_bytes(), 8192u);
  EXPECT_EQ(client_.answers[begin()].Find("grpc-status"), GrpcCodeText(Code::kUnavailable));
  client_.Reset(first);
  client_.Reset(second);
  Talk();
  EXPECT_EQ(loop_.gateway->in_flight_bytes(), 0u);
}

}  // namespace
}  // namespace fastserve
