// Says what the gateway makes of bytes, for a test that compares it with other readers of HTTP.
//
// On stdin one case after the other: the number of bytes and the size of the pieces in which they
// arrive (0: all at once), each 32 bits of this machine's order, then the bytes. On stdout, for
// each case: how many requests it saw and what they are (method, target, the number of fields and
// their names and values, body; every text behind its size), how many heads it accepted, the status
// with which the connection was refused (0: it was not), and whether it was ended.
//
// No model is served, so every request goes to the control plane, which is here: nothing but the
// framing decides what is seen.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "gateway/gateway.h"

namespace fastserve {
namespace {

constexpr int kAccepted = 200;  // No refusal has this status.

class Reader final : public ConnectionIo, public GatewayHost {
 public:
  Reader()
      : gateway_(*Gateway::Create(std::make_shared<ServingMap>(), *this,
                                  {.body_bytes_max = size_t{1} << 20})) {}

  // What is made of `bytes`, as described above.
  std::string Read(std::string_view bytes, size_t piece_bytes) {
    const uint64_t heads_before = gateway_->stats().requests.value();
    said_.clear();
    requests_ = refused_ = 0;
    is_ended_ = is_closed_ = false;
    Connection connection(*gateway_, *this, Peer{"reader"}, NowNanos());
    while (!bytes.empty() && !is_closed_) {
      const std::span<std::byte> buffer = connection.GetBuffer();
      size_t count = std::min(buffer.size(), bytes.size());
      if (piece_bytes > 0) count = std::min(count, piece_bytes);
      std::memcpy(buffer.data(), bytes.data(), count);
      connection.BufferUpdated(count);
      bytes.remove_prefix(count);
    }
    connection.Lost();
    std::string answer;
    AppendNumber(requests_, &answer);
    answer += said_;
    AppendNumber(gateway_->stats().requests.value() - heads_before, &answer);
    AppendNumber(refused_, &answer);
    AppendNumber(is_ended_ || is_closed_ ? 1 : 0, &answer);
    return answer;
  }

  void OnControl(std::shared_ptr<ControlRequest> request) override {
    FS_CHECK(!is_ended_ && !is_closed_);
    ++requests_;
    AppendText(request->method, &said_);
    AppendText(request->target, &said_);
    AppendNumber(request->headers.size(), &said_);
    for (const auto& [name, value] : request->headers) {
      AppendText(name, &said_);
      AppendText(value, &said_);
    }
    const auto body = request->body.bytes();
    AppendText({reinterpret_cast<const char*>(body.data()), body.size()}, &said_);
    FS_CHECK(request->Respond(kAccepted, "", {}).ok());
  }
  bool ScheduleIteration() override { return true; }
  bool ScheduleWakeUp(Nanos) override { return true; }

  // Each answer is one call; what is not the answer to a request refuses the connection.
  void Write(std::span<const OutputPart> parts) override {
    const std::string_view head = parts.front().bytes;
    if (!head.starts_with("HTTP/1.1 ")) {  // It is HTTP/2, which the others do not speak.
      refused_ = 505;
      return;
    }
    const int status = std::stoi(std::string(head.substr(9, 3)));
    if (status != kAccepted && status != 100) refused_ = static_cast<uint32_t>(status);
  }
  void PauseReading() override {}
  void ResumeReading() override {}
  void FinishWriting() override { is_ended_ = true; }
  void Close() override { is_closed_ = true; }
  void Abort() override { is_closed_ = true; }

 private:
  static void AppendNumber(size_t number, std::string* out) {
    const auto value = static_cast<uint32_t>(number);
    out->append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static void AppendText(std::string_view text, std::string* out) {
    AppendNumber(text.size(), out);
    out->append(text);
  }

  const std::unique_ptr<Gateway> gateway_;
  std::string said_;
  uint32_t requests_ = 0;
  uint32_t refused_ = 0;
  bool is_ended_ = false;
  bool is_closed_ = false;
};

}  // namespace
}  // namespace fastserve

int main() {
  fastserve::Reader reader;
  uint32_t sizes[2];
  std::string bytes;
  while (std::cin.read(reinterpret_cast<char*>(sizes), sizeof sizes)) {
    bytes.resize(sizes[0]);
    std::cin.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    std::cout << reader.Read(bytes, sizes[1]);
  }
  std::cout.flush();
  return std::cout.good() ? 0 : 1;
}
