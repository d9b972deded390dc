#include "protocol/http2/http2_session.h"

#include <string>
#include <vector>

#include "protocol/feed_three_ways.h"
#include "protocol/http2/http2_client.h"

namespace fastserve {
namespace {

// Bytes that go when nobody refers to them.
BufferRef Owned(size_t size, char content) {
  auto* const bytes = new std::byte[size];
  std::memset(bytes, content, size);
  return BufferRef::Adopt(new Buffer(bytes, size, [](Buffer* buffer) {
    delete[] buffer->data();
    delete buffer;
  }));
}

std::string_view TextOf(const BufferRef& buffer) {
  return {reinterpret_cast<const char*>(buffer->data()), buffer->size()};
}

// Writes down what happens, and answers nothing by itself.
class Recorder final : public Http2Events {
 public:
  void* OnHead(int32_t stream, const Http2Head& head) override {
    said += StrCat(stream, " ", head.method, " ", head.path, " ", head.scheme, " ", head.authority);
    for (const Http2Field& field : head.fields) said += StrCat(" ", field.name, "=", field.value);
    if (head.is_too_large) said += " too large";
    said += head.ends ? " ends; " : "; ";
    if (on_head) on_head(stream);
    return this;
  }
  void OnData(int32_t stream, void* context, std::string_view data) override {
    EXPECT_EQ(context, this);
    data_[stream] += data;
    if (consumes) session->Consume(stream, data.size());
  }
  void OnEnd(int32_t stream, void* context) override {
    EXPECT_EQ(context, this);
    said += StrCat(stream, " said '", data_[stream], "'; ");
  }
  void OnClosed(int32_t stream, void* context, uint32_t error) override {
    EXPECT_EQ(context, this);
    said += StrCat(stream, " closed ", error, "; ");
  }

  std::string said;
  bool consumes = true;
  std::function<void(int32_t)> on_head;
  Http2Session* session = nullptr;

 private:
  std::map<int32_t, std::string> data_;
};

class Http2SessionTest : public testing::Test {
 protected:
  explicit Http2SessionTest(Http2Session::Options options = {}) { Begin(options); }

  void Begin(const Http2Session::Options& options) {
    session_ = *Http2Session::Create(options, events_);
    events_.session = session_.get();
  }
  // Both sides say what they have to say, until neither has more.
  void Talk() {
    for (bool is_quiet = false; !is_quiet;) {
      const std::string sent = client_.Take();
      const Status status = session_->Receive(sent);
      EXPECT_TRUE(status.ok()) << status.message();
      const std::string answered = TakeSent();
      client_.Receive(answered);
      is_quiet = sent.empty() && answered.empty();
    }
  }
  std::string TakeSent() {
    Http2Output output;
    EXPECT_TRUE(session_->Send(&output).ok());
    std::string sent;
    references_ = 0;
    for (const OutputPart& part : output.parts()) {
      sent += part.bytes;
      if (part.owner) ++references_;
    }
    EXPECT_EQ(sent.size(), output.bytes());
    return sent;
  }

  Recorder events_;
  std::unique_ptr<Http2Session> session_;
  Http2Client client_;
  size_t references_ = 0;  // Of what was sent last.
};

TEST_F(Http2SessionTest, SaysTheSameHoweverBytesCome) {
  client_.Request(GetFields("/a"));
  client_.Request(PostFields("/b", {{"x", "1"}}), "body");
  const std::string bytes = client_.Take();
  const std::string said = FeedThreeWays(bytes, [&](const Pieces& pieces) {
    Recorder events;
    const auto session = *Http2Session::Create({}, events);
    events.session = session.get();
    for (const std::string_view piece : pieces) {
      if (!session->Receive(ExactCopy(piece).view()).ok()) return events.said + "refused";
    }
    return events.said + std::string(kNeedsMore);
  });
  EXPECT_EQ(said, "1 GET /a http a ends; 3 POST /b http a x=1; 3 said 'body'; needs more");
}

TEST_F(Http2SessionTest, WhatIsNoHttp2IsRefused) {
  const Status status = session_->Receive("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_TRUE(status.message().starts_with("the connection is no HTTP/2: ")) << status.message();
}

TEST_F(Http2SessionTest, AnswersHaveAHeadABodyAndTrailers) {
  const int32_t stream = client_.Request(GetFields("/"));
  Talk();
  session_->Answer(stream, std::vector<Http2Field>{{":status", "200"}, {"a", "b"}}, false);
  session_->Write(stream, "one ");
  Talk();
  session_->Write(stream, "two");
  session_->End(stream, std::vector<Http2Field>{{"grpc-status", "0"}});
  Talk();
  const Http2Answer& answer = client_.answers[stream];
  EXPECT_EQ(answer.fields, (Http2Fields{{":status", "200"}, {"a", "b"}}));
  EXPECT_EQ(answer.data, "one two");
  EXPECT_EQ(answer.trailers, (Http2Fields{{"grpc-status", "0"}}));
  EXPECT_TRUE(answer.is_closed);
  EXPECT_EQ(session_->streams(), 0u);
  EXPECT_EQ(events_.said, "1 GET / http a ends; 1 closed 0; ");
}

TEST_F(Http2SessionTest, AnswersWithoutABody) {
  const int32_t empty = client_.Request(GetFields("/"));
  const int32_t ended = client_.Request(GetFields("/"));
  Talk();
  session_->Answer(empty, std::vector<Http2Field>{{":status", "204"}}, true);
  session_->Answer(empty, std::vector<Http2Field>{{":status", "500"}}, true);  // The first counts.
  session_->Answer(ended, std::vector<Http2Field>{{":status", "200"}}, false);
  session_->End(ended);
  Talk();
  EXPECT_EQ(client_.answers[empty].Find(":status"), "204");
  EXPECT_TRUE(client_.answers[empty].is_closed);
  EXPECT_TRUE(client_.answers[ended].is_closed);
  EXPECT_EQ(client_.answers[ended].data, "");
}

TEST_F(Http2SessionTest, LargePayloadsAreReferencesAndSmallOnesCopies) {
  const int32_t stream = client_.Request(GetFields("/"));
  Talk();
  session_->Answer(stream, std::vector<Http2Field>{{":status", "200"}}, false);
  const BufferRef large = Owned(20'000, 'l');
  const BufferRef small = Owned(100, 's');
  session_->Write(stream, "head");
  session_->Write(stream, TextOf(large), large);
  session_->Write(stream, TextOf(small), small);
  session_->End(stream);
  EXPECT_TRUE(small->has_one_owner());
  EXPECT_EQ(session_->unsent(stream), 20'104u);
  client_.Receive(TakeSent());
  EXPECT_GE(references_, 1u);
  EXPECT_EQ(client_.answers[stream].data,
            "head" + std::string(20'000, 'l') + std::string(100, 's'));
  EXPECT_TRUE(large->has_one_owner()) << "what was sent is let go";
  EXPECT_EQ(session_->unsent(), 0u);
  EXPECT_EQ(session_->sent(), 20'104u);
}

TEST_F(Http2SessionTest, TheClientsWindowIsKept) {
  const int32_t stream = client_.Request(GetFields("/"));
  Talk();
  session_->Answer(stream, std::vector<Http2Field>{{":status", "200"}}, false);
  const BufferRef large = Owned(100'000, 'l');
  session_->Write(stream, TextOf(large), large);
  session_->End(stream, std::vector<Http2Field>{{"t", "1"}});
  Talk();
  EXPECT_EQ(client_.answers[stream].data.size(), 65535u);
  EXPECT_EQ(session_->unsent(stream), 100'000u - 65535);
  client_.OpenWindow(stream, 100'000);
  client_.OpenWindow(0, 100'000);
  Talk();
  EXPECT_EQ(client_.answers[stream].data, std::string(100'000, 'l'));
  EXPECT_EQ(client_.answers[stream].Find("t"), "1");
}

TEST_F(Http2SessionTest, AnAnswerWithoutEndKeepsNothingThatWasSent) {
  const int32_t stream = client_.Request(GetFields("/"));
  Talk();
  session_->Answer(stream, std::vector<Http2Field>{{":status", "200"}}, false);
  std::string expected;
  // There is always something unsent, so that it never begins anew.
  for (int i = 0; i < 2000; ++i) {
    const std::string message(200, static_cast<char>('a' + i % 26));
    session_->Write(stream, message);
    expected += message;
    if (i % 50 == 49) {
      client_.OpenWindow(stream, 9'990);
      client_.OpenWindow(0, 9'990);
      Talk();
    }
  }
  client_.OpenWindow(stream, 1'000'000);
  client_.OpenWindow(0, 1'000'000);
  session_->End(stream);
  Talk();
  EXPECT_EQ(client_.answers[stream].data, expected);
}

TEST_F(Http2SessionTest, WhatWasNotConsumedIsNotSentAnew) {
  Begin({.stream_window = 70'000});
  events_.consumes = false;
  const int32_t stream = client_.Request(PostFields("/"), std::string(100'000, 'b'));
  Talk();
  EXPECT_EQ(events_.said, "1 POST / http a; ") << "the rest waits";
  session_->Consume(stream, 70'000);
  Talk();
  EXPECT_NE(events_.said.find("said 'bbb"), std::string::npos);
}

TEST_F(Http2SessionTest, HeadsThatAreTooLargeSaySo) {
  Begin({.head_bytes_max = 300});
  client_.Request(PostFields("/", {{"a", std::string(300, 'x')}}));
  Http2Fields many;
  for (int i = 0; i < 200; ++i) many.emplace_back("f", "1");
  Talk();
  EXPECT_EQ(events_.said, "1 POST / http a too large ends; ");
  Begin({.head_bytes_max = 1 << 20});
  events_.said.clear();
  Http2Client other;
  other.Request(PostFields("/", many));
  EXPECT_TRUE(session_->Receive(other.Take()).ok());
  EXPECT_NE(events_.said.find(" too large"), std::string::npos) << "100 fields are enough";
}

TEST_F(Http2SessionTest, FramesOfNoUseAreCounted) {
  Talk();
  const Http2Counts before = session_->counts();
  client_.Ping();
  client_.Settings();
  Talk();
  EXPECT_EQ(session_->counts().glitches, before.glitches + 2);
  constexpr uint8_t kPriority = 2, kData = 0, kContinuation = 9, kHeaders = 1;
  EXPECT_TRUE(session_->Receive(Http2Frame(kPriority, 0, 5, std::string(5, '\0'))).ok());
  EXPECT_EQ(session_->counts().glitches, before.glitches + 3);
  const int32_t stream = client_.Request(PostFields("/"), "", /*goes_on=*/true);
  Talk();
  EXPECT_TRUE(session_->Receive(Http2Frame(kData, 0, stream, "")).ok());
  EXPECT_EQ(session_->counts().glitches, before.glitches + 4);
  // A head in pieces of nothing.
  std::string flood = Http2Frame(kHeaders, 1, stream + 2, "");
  for (int i = 0; i < 5; ++i) flood += Http2Frame(kContinuation, 0, stream + 2, "");
  EXPECT_TRUE(session_->Receive(flood).ok());
  EXPECT_EQ(session_->counts().glitches, before.glitches + 9);
}

TEST_F(Http2SessionTest, ResetsAreCountedWhoeverMakesThem) {
  const int32_t stream = client_.Request(PostFields("/"), "", /*goes_on=*/true);
  Talk();
  client_.Reset(stream);
  Talk();
  EXPECT_EQ(session_->counts().resets, 1u);
  EXPECT_EQ(events_.said, StrCat("1 POST / http a; 1 closed ", NGHTTP2_CANCEL, "; "));
  // Calls for what is gone do nothing.
  session_->Answer(stream, std::vector<Http2Field>{{":status", "200"}}, false);
  session_->Write(stream, "x");
  session_->End(stream);
  session_->Consume(stream, 1);
  EXPECT_EQ(session_->unsent(stream), 0u);
  const int32_t next = client_.Request(PostFields("/"), "", /*goes_on=*/true);
  Talk();
  session_->Reset(next, Http2Error::kRefusedStream);
  Talk();
  EXPECT_EQ(session_->counts().resets, 2u);
  EXPECT_EQ(client_.answers[next].error, NGHTTP2_REFUSED_STREAM);
}

TEST_F(Http2SessionTest, AnEndIsAnnounced) {
  const int32_t stream = client_.Request(GetFields("/"));
  Talk();
  session_->AnnounceEnd();
  Talk();
  EXPECT_EQ(client_.goaways, std::vector<uint32_t>{0});
  EXPECT_FALSE(session_->is_over());
  session_->GoAway(Http2Error::kNoError);
  session_->Answer(stream, std::vector<Http2Field>{{":status", "200"}}, true);
  Talk();
  EXPECT_EQ(client_.goaways.size(), 2u);
  EXPECT_EQ(client_.answers[stream].Find(":status"), "200") << "what was there is answered";
  EXPECT_TRUE(session_->is_over());
}

TEST_F(Http2SessionTest, AnErrorEndsIt) {
  Talk();
  session_->GoAway(Http2Error::kEnhanceYourCalm);
  Talk();
  EXPECT_EQ(client_.goaways, std::vector<uint32_t>{NGHTTP2_ENHANCE_YOUR_CALM});
  EXPECT_TRUE(session_->is_over());
}

TEST_F(Http2SessionTest, WhatAnEventThrowsComesOutOfReceive) {
  events_.on_head = [](int32_t) { throw std::bad_alloc(); };
  client_.Request(GetFields("/"));
  EXPECT_THROW(static_cast<void>(session_->Receive(client_.Take())), std::bad_alloc);
}

TEST_F(Http2SessionTest, NoMoreStreamsThanAgreed) {
  Begin({.streams_max = 2});
  Talk();
  for (int i = 0; i < 4; ++i) client_.Request(GetFields("/"));
  Talk();
  EXPECT_EQ(session_->streams(), 2u);
}

TEST_F(Http2SessionTest, PingsAskWhetherTheClientIsThere) {
  Talk();
  session_->Ping();
  Talk();
  EXPECT_EQ(client_.pings, 1);
}

TEST(Http2Head, FieldsByName) {
  const std::vector<Http2Field> fields = {{"a", "1"}, {"b", "2"}, {"a", "3"}};
  Http2Head head;
  head.fields = fields;
  EXPECT_EQ(head.Find("a"), "1");
  EXPECT_EQ(head.Find("c"), "");
}

}  // namespace
}  // namespace fastserve
