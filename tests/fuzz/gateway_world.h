// What the fuzz targets of the gateway share: a loop and sockets that are none, and a model that
// gives back what it gets.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/identity/identity_backend.h"
#include "base/check.h"
#include "gateway/gateway.h"

namespace fastserve {

class Socket final : public ConnectionIo {
 public:
  explicit Socket(Gateway& gateway)
      : connection(std::make_unique<Connection>(gateway, *this, Peer{"fuzz", 1}, NowNanos())) {}

  void Write(std::span<const OutputPart> parts) override {
    FS_CHECK(!is_finished && !is_closed);
    for (const OutputPart& part : parts) sent += part.bytes;
    if (pauses && connection != nullptr) connection->PauseWriting();
  }
  void PauseReading() override { FS_CHECK(!std::exchange(is_reading_paused, true)); }
  void ResumeReading() override { FS_CHECK(std::exchange(is_reading_paused, false)); }
  void FinishWriting() override { FS_CHECK(!std::exchange(is_finished, true) && !is_closed); }
  void Close() override { FS_CHECK(!std::exchange(is_closed, true)); }
  void Abort() override { is_closed = true; }

  std::string_view Feed(std::string_view bytes, bool answer_between, auto&& answer) {
    if (is_reading_paused || is_closed) return {};
    const std::span<std::byte> buffer = connection->GetBuffer();
    FS_CHECK(!buffer.empty());
    if (answer_between) answer();
    const size_t count = std::min(buffer.size(), bytes.size());
    if (count > 0) std::memcpy(buffer.data(), bytes.data(), count);
    received += bytes.substr(0, count);
    connection->BufferUpdated(count);
    return bytes.substr(count);
  }

  // An answer to HEAD looks as if it had a body, and cannot be told from the others.
  bool may_have_head() const { return received.find("HEAD ") != std::string::npos; }

  // Its first bytes were HTTP/2's.
  bool is_http2() const { return received.starts_with(kHttp2Preface); }

  std::string received;
  std::string sent;
  bool pauses = false;
  bool is_reading_paused = false;
  bool is_finished = false;
  bool is_closed = false;
  std::unique_ptr<Connection> connection;
};

inline ServableHandle IdentityModel(std::string name = "m", int repeat = 1) {
  IdentityOptions options;
  options.repeat = repeat;
  for (std::vector<TensorSpec>* specs : {&options.inputs, &options.outputs}) {
    TensorSpec& numbers = specs->emplace_back();
    numbers.name = specs == &options.inputs ? "x" : "y";
    numbers.type = DataType::kInt32;
    numbers.shape = {-1};
  }
  ServableOptions served;
  served.name = std::move(name);
  auto backend = OpenIdentity(std::move(options));
  FS_CHECK(backend.ok());
  auto servable = Servable::Create(*std::move(backend), std::move(served));
  FS_CHECK(servable.ok());
  (*servable)->WarmUp();
  return *std::move(servable);
}

class Loop final : public GatewayHost {
 public:
  explicit Loop(std::initializer_list<ServableHandle> models) {
    for (const ServableHandle& model : models) map_->Publish(model);
    gateway = *Gateway::Create(
        map_, *this, {.body_bytes_max = 4096, .in_flight_bytes_max = 8192, .access_log = true});
  }
  bool ScheduleIteration() override {
    FS_CHECK(!std::exchange(is_scheduled, true));
    return true;
  }
  bool ScheduleWakeUp(Nanos at) override {
    FS_CHECK_OP(at, <, wake_up_ns);
    wake_up_ns = at;
    return true;
  }
  void OnControl(std::shared_ptr<ControlRequest> request) override {
    if (answers_at_once) return Respond(*request);
    controls.push_back(std::move(request));
  }
  static void Respond(ControlRequest& request) {
    const auto body = request.body.bytes();
    const std::string_view text(reinterpret_cast<const char*>(body.data()), body.size());
    FS_CHECK(request.Respond(200, text, {}).ok());
    FS_CHECK(!request.Respond(200, text, {}).ok());
  }
  void AnswerOne(bool drop) {
    if (controls.empty()) return;
    const auto request = std::move(controls.front());
    controls.erase(controls.begin());
    if (!drop) Respond(*request);
  }
  void Iterate() {
    if (!std::exchange(is_scheduled, false)) return;
    gateway->RunModels();
    gateway->Drain(false);
  }

  std::unique_ptr<Gateway> gateway;
  std::vector<std::shared_ptr<ControlRequest>> controls;
  bool answers_at_once = false;
  bool is_scheduled = false;
  Nanos wake_up_ns = kNever;

 private:
  std::shared_ptr<ServingMap> map_ = std::make_shared<ServingMap>();
};

}  // namespace fastserve
