// A gateway with an identity model and two connections. The input is a script: a byte of what
// happens next, a byte of how much, and for bytes of a client those themselves.
//
// Oracles: nothing is sent after the end; answers are well-formed and at most one for each request
// that the gateway counted; when all is over, nothing is in flight and nothing held.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "gateway_world.h"

namespace fastserve {
namespace {

// How many answers, without those that only tell to go on.
size_t AnswersIn(std::string_view sent) {
  size_t answers = 0;
  while (!sent.empty()) {
    FS_CHECK(sent.starts_with("HTTP/1.1 "));
    const size_t end = sent.find("\r\n\r\n");
    FS_CHECK(end != std::string_view::npos);
    const std::string_view head = sent.substr(0, end + 2);
    sent.remove_prefix(end + 4);
    if (head.starts_with("HTTP/1.1 100 ")) continue;
    ++answers;
    constexpr std::string_view kLength = "\r\nContent-Length: ";
    const size_t length = head.find(kLength);
    if (length == std::string_view::npos) continue;
    const size_t bytes = std::stoul(std::string(head.substr(length + kLength.size())));
    FS_CHECK_OP(bytes, <=, sent.size());
    sent.remove_prefix(bytes);
  }
  return answers;
}

// Plays one event of the script; returns what is left of it.
std::string_view Play(std::string_view script, Loop& loop,
                      std::array<std::unique_ptr<Socket>, 2>& sockets) {
  const auto event = static_cast<uint8_t>(script[0]);
  const size_t amount = script.size() > 1 ? static_cast<uint8_t>(script[1]) : 0;
  script.remove_prefix(std::min<size_t>(2, script.size()));
  Socket& socket = *sockets[event & 1];
  switch ((event >> 1) % 12) {
    case 0:
      loop.Iterate();
      break;
    case 1:
      loop.gateway->Drain(true);
      break;
    case 2:
      loop.AnswerOne(amount % 2 == 0);
      break;
    case 3:
      if (!socket.is_closed) socket.connection->PauseWriting();
      break;
    case 4:
      socket.connection->ResumeWriting();
      break;
    case 5:
      socket.pauses = amount % 2 == 0;
      break;
    case 6:
      loop.answers_at_once = amount % 2 == 0;
      break;
    case 7:
      if (amount % 8 == 0) loop.gateway->Sweep(NowNanos() + Nanos(amount) * 10 * kSecond);
      break;
    case 8:
      if (amount % 8 == 0) socket.connection->Lost();
      if (amount % 8 == 0) sockets[event & 1] = std::make_unique<Socket>(*loop.gateway);
      break;
    case 9:
      if (amount == 0) loop.gateway->BeginDrain(NowNanos());
      if (amount % 4 == 1 && loop.wake_up_ns != kNever) {
        const Nanos at = std::exchange(loop.wake_up_ns, kNever);
        loop.gateway->WakeUp(at + Nanos(amount) * kSecond);
      }
      break;
    default: {
      const std::string_view bytes = script.substr(0, amount + 1);
      script.remove_prefix(bytes.size());
      std::string_view rest = bytes;
      while (!rest.empty()) {
        rest = socket.Feed(rest, (event & 64) != 0, [&] { loop.AnswerOne(false); });
      }
    }
  }
  return script;
}

}  // namespace
}  // namespace fastserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fastserve;
  static const ServableHandle model = IdentityModel();
  Loop loop({model});
  std::array<std::unique_ptr<Socket>, 2> sockets;
  for (auto& socket : sockets) socket = std::make_unique<Socket>(*loop.gateway);
  std::string_view script(reinterpret_cast<const char*>(data), size);
  while (!script.empty()) script = Play(script, loop, sockets);
  size_t answers = 0;
  for (auto& socket : sockets) {
    if (!socket->may_have_head() && !socket->is_http2()) answers += AnswersIn(socket->sent);
    socket->connection->Lost();
  }
  // Each connection may have been refused without a request.
  FS_CHECK_OP(answers, <=, loop.gateway->stats().requests.value() + sockets.size());
  loop.controls.clear();
  while (loop.gateway->in_flight() > 0 || loop.is_scheduled) {
    loop.Iterate();
    loop.gateway->Drain(true);
  }
  FS_CHECK_OP(loop.gateway->in_flight_bytes(), ==, size_t{0});
  FS_CHECK_OP(loop.gateway->connections(), ==, size_t{0});
  sockets = {};
  return 0;
}
