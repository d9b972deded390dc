// An event loop without sockets: what connections want of theirs is written down, what the control
// plane gets is kept until the test answers.
//
//   FakeLoop loop({.idle_timeout = kSecond});
//   loop.map.Publish(Serve(EchoBackend(), Named("m")));
//   FakeSocket& socket = loop.Connect();
//   socket.Feed(PostJson("/v2/models/m/infer", body));
//   loop.RunUntilIdle();
//   EXPECT_EQ(socket.sent, ...);
//
// Every call that a connection may not make any more (a write after the close) fails the test.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "gateway/fake_backend.h"
#include "gateway/gateway.h"

namespace fastserve {

class FakeSocket final : public ConnectionIo {
 public:
  explicit FakeSocket(Gateway& gateway, Nanos now = NowNanos(), Peer peer = {"192.0.2.1", 5}) {
    connection = std::make_unique<Connection>(gateway, *this, std::move(peer), now);
  }

  // As a loop does: get the buffer, fill it, report; as often as it takes.
  void Feed(std::string_view bytes) {
    do {
      const std::span<std::byte> buffer = connection->GetBuffer();
      ASSERT_FALSE(buffer.empty());
      const size_t count = std::min(buffer.size(), bytes.size());
      if (count > 0) std::memcpy(buffer.data(), bytes.data(), count);
      connection->BufferUpdated(count);
      bytes.remove_prefix(count);
    } while (!bytes.empty());
  }
  void Lose() {
    is_lost = true;
    connection->Lost();
  }
  bool is_open() const { return !is_closed && !is_finished && !is_lost; }
  // What was sent since the last call.
  std::string Take() { return std::exchange(sent, {}); }

  void Write(std::span<const OutputPart> parts) override {
    EXPECT_TRUE(is_open()) << "written after the end";
    ++writes;
    for (const OutputPart& part : parts) sent += part.bytes;
    if (on_write) on_write();
  }
  void PauseReading() override {
    EXPECT_FALSE(is_closed || is_lost || is_reading_paused);
    is_reading_paused = true;
  }
  void ResumeReading() override {
    EXPECT_FALSE(is_closed || is_lost);
    EXPECT_TRUE(is_reading_paused);
    is_reading_paused = false;
  }
  void FinishWriting() override {
    EXPECT_TRUE(is_open());
    is_finished = true;
  }
  void Close() override {
    EXPECT_TRUE(is_open()) << "closed twice";
    is_closed = true;
  }
  void Abort() override {
    EXPECT_FALSE(is_lost);
    is_closed = is_aborted = true;
  }

  std::string sent;
  int writes = 0;
  std::function<void()> on_write;
  bool is_reading_paused = false;
  bool is_finished = false;
  bool is_closed = false;
  bool is_aborted = false;
  bool is_lost = false;
  std::unique_ptr<Connection> connection;
};

class FakeLoop final : public GatewayHost {
 public:
  explicit FakeLoop(const GatewayOptions& options = {}) {
    Result<std::unique_ptr<Gateway>> made = Gateway::Create(map, *this, options);
    EXPECT_TRUE(made.ok());
    gateway = *std::move(made);
  }
  ~FakeLoop() override {
    sockets.clear();
    controls.clear();
  }

  FakeSocket& Connect(Nanos now = NowNanos(), Peer peer = {"192.0.2.1", 5}) {
    sockets.push_back(std::make_unique<FakeSocket>(*gateway, now, std::move(peer)));
    return *sockets.back();
  }

  bool ScheduleIteration() override {
    EXPECT_FALSE(is_scheduled) << "scheduled twice";
    is_scheduled = can_schedule;
    return can_schedule;
  }
  bool ScheduleWakeUp(Nanos at) override {
    EXPECT_LT(at, wake_up_ns) << "scheduled though an earlier one was";
    wake_up_ns = at;
    ++wake_ups;
    return can_schedule;
  }
  void OnControl(std::shared_ptr<ControlRequest> request) override {
    if (on_control) return on_control(std::move(request));
    controls.push_back(std::move(request));
  }

  // The end of an iteration, if one was asked for.
  bool Iterate() {
    if (!std::exchange(is_scheduled, false)) return false;
    gateway->RunModels();
    gateway->Drain(false);
    return true;
  }
  // The timer fires, which a test sets to some milliseconds; false when there is none.
  bool WakeUp() {
    const Nanos at = std::exchange(wake_up_ns, kNever);
    if (at == kNever) return false;
    while (NowNanos() < at) std::this_thread::yield();
    gateway->WakeUp(NowNanos());
    return true;
  }
  // The same, and the clock says `now`.
  void WakeUpAt(Nanos now) {
    wake_up_ns = kNever;
    gateway->WakeUp(now);
  }
  bool was_signalled(int timeout_ms = 0) const {
    pollfd poller{.fd = gateway->fd(), .events = POLLIN, .revents = 0};
    return poll(&poller, 1, timeout_ms) == 1;
  }
  // Iterates and waits for completions until all that is in flight is with the control plane.
  void RunUntilIdle() {
    while (gateway->in_flight() > controls.size() || is_scheduled) {
      if (Iterate()) continue;
      ASSERT_TRUE(was_signalled(10'000)) << "nothing ends";
      gateway->Drain(true);
    }
  }
  void ExpectNothingHeld() const {
    EXPECT_EQ(gateway->in_flight(), 0u);
    EXPECT_EQ(gateway->in_flight_bytes(), 0u);
  }
  uint64_t responses(size_t status) const { return gateway->stats().responses[status].value(); }

  std::shared_ptr<ServingMap> map = std::make_shared<ServingMap>();
  std::unique_ptr<Gateway> gateway;
  std::vector<std::unique_ptr<FakeSocket>> sockets;
  std::vector<std::shared_ptr<ControlRequest>> controls;
  std::function<void(std::shared_ptr<ControlRequest>)> on_control;
  bool is_scheduled = false;
  bool can_schedule = true;
  Nanos wake_up_ns = kNever;
  int wake_ups = 0;  // That were scheduled.
};

// What was said, whenever it was said.
inline std::string WithoutDates(std::string text) {
  constexpr std::string_view kField = "\r\nDate: ";
  for (size_t at; (at = text.find(kField)) != std::string::npos;) {
    text.erase(at, kField.size() + sizeof(HttpDate));
  }
  return text;
}

inline std::string Post(std::string_view target, std::string_view body,
                        std::string_view fields = "") {
  return StrCat("POST ", target, " HTTP/1.1\r\nHost: a\r\nContent-Length: ", body.size(), "\r\n",
                fields, "\r\n", body);
}

inline std::string Get(std::string_view target, std::string_view fields = "") {
  return StrCat("GET ", target, " HTTP/1.1\r\nHost: a\r\n", fields, "\r\n");
}

// Two floats for the model "m".
inline std::string FloatsJson(int first = 1, std::string_view id = "") {
  std::string json = "{";
  if (!id.empty()) json += StrCat("\"id\":\"", id, "\",");
  return json + StrCat("\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,2],",
                       "\"data\":[", first, ",2]}]}");
}

inline std::string PostFloats(int first = 1, std::string_view id = "") {
  return Post("/v2/models/m/infer", FloatsJson(first, id));
}

// The answers in `sent`, one after the other; fails when something is no answer.
struct Answer {
  int status = 0;
  std::string head;
  std::string body;
};
inline std::vector<Answer> AnswersOf(std::string_view sent, bool to_head = false) {
  std::vector<Answer> answers;
  while (!sent.empty()) {
    const size_t end = sent.find("\r\n\r\n");
    if (!sent.starts_with("HTTP/1.1 ") || end == std::string_view::npos) {
      ADD_FAILURE() << "no answer: " << sent;
      break;
    }
    Answer answer;
    answer.head = sent.substr(0, end + 2);
    answer.status = std::stoi(answer.head.substr(9, 3));
    sent.remove_prefix(end + 4);
    const size_t length = answer.head.find("\r\nContent-Length: ");
    size_t bytes = length == std::string::npos ? 0 : std::stoul(answer.head.substr(length + 18));
    if (to_head || answer.status == 304) bytes = 0;
    EXPECT_LE(bytes, sent.size());
    answer.body = sent.substr(0, bytes);
    sent.remove_prefix(std::min(bytes, sent.size()));
    answers.push_back(std::move(answer));
  }
  return answers;
}

}  // namespace fastserve
