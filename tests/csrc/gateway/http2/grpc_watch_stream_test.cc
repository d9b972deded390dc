#include "gateway/http2/grpc_watch_stream.h"

#include "gateway/http2/http2_fixture.h"

namespace fastserve {
namespace {

// HealthCheckResponse{status: 1}, and 2.
constexpr std::string_view kServing = "\x08\x01";
constexpr std::string_view kNotServing = "\x08\x02";

class GrpcWatchStreamTest : public Http2Gateway {
 protected:
  GrpcWatchStreamTest() : Http2Gateway({.drain_grace = kSecond}) {}

  // Sends a Watch of a service.
  void Watch(Http2Fields more = {}) {
    stream_ = client_.Request(GrpcFields(GrpcWatchStream::kPath, std::move(more)),
                              Grpc(proto::Bytes(1, "m")));
    Talk();
  }
  // The control plane answers what it is asked, which is `asked` of it.
  void Answer(std::string_view message, size_t asked = 1) {
    ASSERT_EQ(loop_.controls.size(), asked);
    for (const auto& control : std::exchange(loop_.controls, {})) {
      EXPECT_EQ(control->path, GrpcWatchStream::kPath);
      const auto bytes = control->body.bytes();
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                proto::Bytes(1, "m"));
      EXPECT_TRUE(control->Respond(200, message, {}).ok());
    }
    Talk();
  }
  void SweepAfter(Nanos time) {
    loop_.gateway->Sweep(NowNanos() + time);
    Talk();
  }
  const Http2Answer& answer() { return client_.answers[stream_]; }
  std::string said() {
    std::string all;
    for (const std::string& message : MessagesOf(answer().data)) all += message;
    return all;
  }

  int32_t stream_ = 0;
};

TEST_F(GrpcWatchStreamTest, SaysHowItIsAndThenWhatChanged) {
  Watch();
  EXPECT_EQ(said(), "");
  Answer(kServing);
  EXPECT_EQ(said(), kServing);
  EXPECT_FALSE(answer().is_closed);
  SweepAfter(kSecond / 2);
  EXPECT_TRUE(loop_.controls.empty()) << "once a second is enough";
  SweepAfter(2 * kSecond);
  Answer(kServing);
  EXPECT_EQ(said(), kServing) << "the same is not said again";
  SweepAfter(4 * kSecond);
  SweepAfter(6 * kSecond);
  Answer(kNotServing);
  SweepAfter(9 * kSecond);
  Answer(kServing);
  EXPECT_EQ(said(), StrCat(kServing, kNotServing, kServing));
}

TEST_F(GrpcWatchStreamTest, NobodyIsAskedForAClientThatLeft) {
  Watch();
  client_.Reset(stream_);
  Talk();
  Answer(kServing);
  EXPECT_EQ(said(), "");
  SweepAfter(3 * kSecond);
  EXPECT_TRUE(loop_.controls.empty());
}

TEST_F(GrpcWatchStreamTest, TheServersEndIsSaid) {
  Watch();
  Answer(kServing);
  loop_.gateway->BeginDrain(NowNanos());
  SweepAfter(3 * kSecond);
  Answer(kNotServing);
  EXPECT_EQ(said(), StrCat(kServing, kNotServing));
  EXPECT_EQ(answer().Find("grpc-status"), GrpcCodeText(Code::kUnavailable));
  EXPECT_TRUE(answer().is_closed);
}

TEST_F(GrpcWatchStreamTest, ADeadlineEndsIt) {
  Watch({{"grpc-timeout", "1500m"}});
  Answer(kServing);
  SweepAfter(2 * kSecond);
  EXPECT_EQ(answer().Find("grpc-status"), GrpcCodeText(Code::kDeadlineExceeded));
  EXPECT_TRUE(loop_.controls.empty());
}

TEST_F(GrpcWatchStreamTest, AskedWrongly) {
  const Http2Fields fields = GrpcFields(GrpcWatchStream::kPath);
  EXPECT_EQ(Ask(fields, "").Find("grpc-message"), "the request has no message");
  EXPECT_EQ(Ask(fields, Grpc("") + Grpc("")).Find("grpc-message"),
            "Watch takes exactly one message");
  EXPECT_EQ(Ask(fields, Grpc(std::string(5000, 'x'))).Find("grpc-message"),
            "the message has 5000 bytes, at most 4096 make a service's name");
  EXPECT_TRUE(loop_.controls.empty());
}

}  // namespace
}  // namespace fastserve
