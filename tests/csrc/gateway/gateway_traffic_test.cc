// Seeded random traffic: many connections whose bytes arrive in pieces, whose clients leave or do
// not read, whose answers come at once, later, or never.
//
// Whatever happens: each request is answered once and in its order, or its connection has ended;
// nothing is sent after the end (FakeSocket sees to that); nothing is held when all is over.
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gateway/fake_loop.h"

namespace fastserve {
namespace {

constexpr size_t kConnections = 6;

// What a request may be answered with.
struct Expected {
  std::vector<int> statuses;
  std::string in_ok;  // In the body of a 200.
};

struct Client {
  FakeSocket* socket = nullptr;
  std::string unsent;
  std::deque<Expected> expected;
  std::string received;
};

class Traffic {
 public:
  explicit Traffic(uint64_t seed)
      : random_(seed), loop_({.in_flight_bytes_max = 8 << 20, .access_log = seed % 2 == 0}) {
    const ServableHandle cheap = Serve(EchoBackend(), Named("cheap"));
    cheap->WarmUp();
    loop_.map->Publish(cheap);
    ServableOptions options = Named("thread");
    options.caller_runs = false;
    options.instance_count = 2;
    loop_.map->Publish(Serve(EchoBackend(), options));
    options.name = "narrow";
    options.queue_depth = 1;
    loop_.map->Publish(Serve(EchoBackend(), options));
    loop_.on_control = [this](std::shared_ptr<ControlRequest> request) {
      loop_.controls.push_back(std::move(request));
      if (Chance(3)) AnswerOne();
    };
    for (size_t i = 0; i < kConnections; ++i) clients_.push_back(Connect());
  }

  void Run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) Step();
    Finish();
  }

 private:
  size_t Below(size_t limit) { return random_() % limit; }
  bool Chance(size_t in) { return Below(in) == 0; }

  Client Connect() {
    Client client;
    client.socket = &loop_.Connect();
    FakeSocket* const socket = client.socket;
    socket->on_write = [this, socket] {
      if (is_calm_) return;
      if (Chance(8)) socket->connection->PauseWriting();
      if (Chance(8)) AnswerOne();  // As a collector may drop one.
    };
    return client;
  }

  void AddRequest(Client& client) {
    const std::string tag = StrCat("r", ++requests_);
    switch (Below(7)) {
      case 0:
      case 1: {
        const char* const model = Chance(2) ? "cheap" : "thread";
        client.unsent += Post(StrCat("/v2/models/", model, "/infer"), FloatsJson(1, tag));
        client.expected.push_back({{200}, "\"" + tag + "\""});
        return;
      }
      case 2: {
        const std::string json = FloatsJson(2, tag);
        char size[20];
        std::snprintf(size, sizeof size, "%zx", json.size());
        client.unsent += StrCat(
            "POST /v2/models/cheap/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            size, "\r\n", json, "\r\n0\r\n\r\n");
        client.expected.push_back({{200}, "\"" + tag + "\""});
        return;
      }
      case 3:
        client.unsent += Post("/v2/models/narrow/infer", FloatsJson(1, tag));
        client.expected.push_back({{200, 429}, "\"" + tag + "\""});
        return;
      case 4:
        client.unsent +=
            Post("/v2/models/cheap/infer", "{", Chance(2) ? "Content-Encoding: x\r\n" : "");
        client.expected.push_back({{400, 415}, ""});
        return;
      default:
        client.unsent += Post("/" + tag, std::string(Below(4) * 5000, 'b'));
        client.expected.push_back({{200, 500}, "/" + tag});
    }
  }

  void AnswerOne() {
    if (loop_.controls.empty()) return;
    const size_t which = Below(loop_.controls.size());
    const std::shared_ptr<ControlRequest> request = std::move(loop_.controls[which]);
    loop_.controls.erase(loop_.controls.begin() + static_cast<ptrdiff_t>(which));
    if (Chance(5)) return;  // Dropped.
    EXPECT_TRUE(request->Respond(200, request->path, {}).ok());
    EXPECT_FALSE(request->Respond(200, "twice", {}).ok());
  }

  void Feed(Client& client) {
    FakeSocket& socket = *client.socket;
    if (socket.is_reading_paused || socket.is_closed || client.unsent.empty()) return;
    const std::span<std::byte> buffer = socket.connection->GetBuffer();
    if (Chance(8)) AnswerOne();
    const size_t wished = Chance(3) ? 1 + Below(10) : 1 + Below(30'000);
    const size_t count = std::min({buffer.size(), client.unsent.size(), wished});
    std::memcpy(buffer.data(), client.unsent.data(), count);
    socket.connection->BufferUpdated(count);
    client.unsent.erase(0, count);
  }

  // Takes whole answers off what was received and compares them with what was asked.
  void Check(Client& client) {
    client.received += client.socket->Take();
    for (const Answer& answer : AnswersOf(client.received)) {
      if (answer.status == 408) continue;
      ASSERT_FALSE(client.expected.empty()) << "answered twice: " << answer.body;
      const Expected expected = std::move(client.expected.front());
      client.expected.pop_front();
      ASSERT_TRUE(std::ranges::count(expected.statuses, answer.status)) << answer.body;
      if (answer.status != 200) continue;
      ASSERT_NE(answer.body.find(expected.in_ok), std::string::npos) << answer.body;
    }
    client.received.clear();
  }

  void Replace(Client& client) {
    client.socket->Lose();
    Check(client);
    client = Connect();
  }

  void Step() {
    Client& client = clients_[Below(kConnections)];
    switch (Below(16)) {
      case 0:
      case 1:
      case 2:
        if (client.unsent.size() < 100'000) AddRequest(client);
        break;
      case 3:
        loop_.Iterate();
        break;
      case 4:
        if (loop_.was_signalled()) loop_.gateway->Drain(true);
        break;
      case 5:
        AnswerOne();
        break;
      case 6:
        if (client.socket->is_open()) client.socket->connection->PauseWriting();
        break;
      case 7:
      case 8:
        client.socket->connection->ResumeWriting();
        break;
      case 9:
        if (Chance(10)) Replace(client);
        break;
      case 10:
        if (client.socket->is_closed) Replace(client);
        if (Chance(100)) loop_.gateway->Sweep(NowNanos() + 1000 * kSecond);
        break;
      default:
        Feed(client);
    }
    Check(client);
  }

  void Finish() {
    is_calm_ = true;
    for (bool is_busy = true; is_busy && !testing::Test::HasFailure();) {
      loop_.RunUntilIdle();
      AnswerOne();
      is_busy = false;
      for (Client& client : clients_) {
        client.socket->connection->ResumeWriting();
        Feed(client);
        Check(client);
        is_busy = is_busy || (client.socket->is_open() && !client.unsent.empty());
      }
      is_busy = is_busy || loop_.gateway->in_flight() > 0 || !loop_.controls.empty();
    }
    for (Client& client : clients_) {
      Check(client);  // Feeding a later client may have answered an earlier one.
      EXPECT_TRUE(client.expected.empty() || !client.socket->is_open())
          << client.expected.front().in_ok << " of " << client.expected.size() << ", unsent "
          << client.unsent.size() << ", paused " << client.socket->is_reading_paused;
    }
    EXPECT_TRUE(loop_.controls.empty());
    loop_.ExpectNothingHeld();
    loop_.gateway->BeginDrain(NowNanos());
    for (const auto& socket : loop_.sockets) {
      if (!socket->is_lost) socket->Lose();
    }
    EXPECT_EQ(loop_.gateway->connections(), 0u);
    const GatewayStats& stats = loop_.gateway->stats();
    EXPECT_EQ(stats.connections_opened.value(), stats.connections_closed.value());
  }

  std::mt19937_64 random_;
  FakeLoop loop_;
  std::vector<Client> clients_;
  uint64_t requests_ = 0;
  bool is_calm_ = false;
};

class TrafficTest : public testing::TestWithParam<uint64_t> {};

TEST_P(TrafficTest, IsAnsweredOnceInOrderOrItsConnectionEnds) { Traffic(GetParam()).Run(4000); }

INSTANTIATE_TEST_SUITE_P(Seeds, TrafficTest, testing::Range<uint64_t>(1, 41));

}  // namespace
}  // namespace fastserve
