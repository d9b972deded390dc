// A whole connection over HTTP/2: a gateway with models, and a client of nghttp2's. The input is a
// script: a byte of what happens next, a byte of how much, and bytes that are said.
//
// Oracles: what the server sends is HTTP/2 to nghttp2; each stream is answered at most once;
// nothing is sent after the end; when all is over, nothing is in flight and nothing held.
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway_world.h"
#include "protocol/grpc/grpc_framing.h"

namespace fastserve {
namespace {

class Client {
 public:
  Client() {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t*, size_t, uint8_t, void* self) {
          const std::string_view text(reinterpret_cast<const char*>(name), name_size);
          if (text == ":status") ++static_cast<Client*>(self)->answers[frame->hd.stream_id];
          return 0;
        });
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
  }
  ~Client() { nghttp2_session_del(session_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Request(std::string_view path, bool is_grpc, std::string_view timeout, bool ends) {
    std::vector<nghttp2_nv> nv = {Field(":method", "POST"), Field(":scheme", "http"),
                                  Field(":authority", "a"), Field(":path", path)};
    if (is_grpc) nv.push_back(Field("content-type", "application/grpc"));
    if (!timeout.empty()) nv.push_back(Field("grpc-timeout", timeout));
    auto said = std::make_unique<Said>();
    said->is_ended = ends;
    nghttp2_data_provider provider;
    provider.source.ptr = said.get();
    provider.read_callback = &Read;
    const int32_t stream =
        nghttp2_submit_request(session_, nullptr, nv.data(), nv.size(), &provider, nullptr);
    if (stream < 0) return;
    last = stream;
    said_[stream] = std::move(said);
  }
  void Say(int32_t stream, std::string_view data, bool ends) {
    const auto found = said_.find(stream);
    if (found == said_.end()) return;
    found->second->data += data;
    found->second->is_ended |= ends;
    nghttp2_session_resume_data(session_, stream);
  }
  void Reset(int32_t stream) {
    if (stream > 0) nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
  }
  void Ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }
  std::string Take() {
    std::string taken;
    const uint8_t* bytes = nullptr;
    for (ssize_t size; (size = nghttp2_session_mem_send(session_, &bytes)) > 0;) {
      taken.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    }
    return taken;
  }
  bool Receive(std::string_view bytes) {
    return nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()),
                                    bytes.size()) >= 0;
  }

  int32_t last = 0;
  std::map<int32_t, int> answers;

 private:
  struct Said {
    std::string data;
    bool is_ended = false;
  };

  static nghttp2_nv Field(std::string_view name, std::string_view value) {
    return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
            reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
            NGHTTP2_NV_FLAG_NONE};
  }
  static ssize_t Read(nghttp2_session*, int32_t, uint8_t* to, size_t length, uint32_t* flags,
                      nghttp2_data_source* source, void*) {
    Said& said = *static_cast<Said*>(source->ptr);
    const size_t given = said.data.copy(reinterpret_cast<char*>(to), length);
    said.data.erase(0, given);
    if (said.data.empty() && said.is_ended) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (given == 0) {
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(given);
  }

  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::unique_ptr<Said>> said_;
};

struct World {
  Loop loop;
  Socket socket;
  Client client;
  bool is_tampered = false;  // Bytes were sent that the client knows nothing of.

  explicit World(std::initializer_list<ServableHandle> models)
      : loop(models), socket(*loop.gateway) {}

  void Exchange() {
    const std::string sent = client.Take();
    std::string_view rest = sent;
    while (!rest.empty() && !socket.is_closed) {
      rest = socket.Feed(rest, false, [] {});
    }
    const std::string answered = std::exchange(socket.sent, {});
    if (!is_tampered) FS_CHECK(client.Receive(answered));
  }
};

constexpr std::array<std::string_view, 6> kPaths = {
    "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ModelStreamInfer",
    "/v2/models/m/infer",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/a.B/C",
    "/v2"};

// A request of three numbers for "m" or "n", whose first byte is `content`.
std::string Message(char content) {
  std::string message("\x0A\x01m\x2A\x0D\x0A\x01x\x12\x05INT32\x1A\x01\x03\x3A\x0C", 20);
  message += std::string(12, content);
  if (content % 2 != 0) message[2] = 'n';
  const auto prefix = FormatGrpcPrefix({.length = static_cast<uint32_t>(message.size())});
  return std::string(prefix.data(), prefix.size()) + message;
}

// What happens to the server, whatever its client does.
void PlayServer(int event, size_t amount, World& world) {
  switch (event) {
    case 7:
      world.loop.AnswerOne(amount % 2 == 0);
      break;
    case 8:
      if (world.socket.is_closed) break;
      amount % 2 == 0 ? world.socket.connection->PauseWriting()
                      : world.socket.connection->ResumeWriting();
      break;
    case 9:
      if (amount % 8 == 0) world.loop.gateway->Sweep(NowNanos() + Nanos(amount) * 10 * kSecond);
      break;
    case 10:
      if (amount == 0) world.loop.gateway->BeginDrain(NowNanos());
      if (amount % 4 == 1 && world.loop.wake_up_ns != kNever) {
        const Nanos at = std::exchange(world.loop.wake_up_ns, kNever);
        world.loop.gateway->WakeUp(at + Nanos(amount) * kSecond);
      }
      break;
    default:
      break;
  }
}

std::string_view Play(std::string_view script, World& world) {
  const auto event = static_cast<uint8_t>(script[0]);
  const size_t amount = script.size() > 1 ? static_cast<uint8_t>(script[1]) : 0;
  script.remove_prefix(std::min<size_t>(2, script.size()));
  Client& client = world.client;
  switch (event % 14) {
    case 0:
    case 1:
      client.Request(kPaths[amount % 6], (amount & 64) == 0, (amount & 128) != 0 ? "1m" : "",
                     (amount & 32) != 0);
      break;
    case 2:
    case 3: {
      std::string message;
      for (size_t i = 0; i <= amount % 80; ++i) message += Message(static_cast<char>(amount));
      client.Say(client.last, message, (event & 128) != 0);
      break;
    }
    case 4: {
      const std::string_view bytes = script.substr(0, amount);
      script.remove_prefix(bytes.size());
      client.Say(client.last, bytes, (event & 128) != 0);
      break;
    }
    case 5:
      client.Reset(client.last - 2 * static_cast<int32_t>(amount % 4));
      break;
    case 6:
      client.Ping();
      break;
    case 7:
    case 8:
    case 9:
    case 10:
      PlayServer(event % 14, amount, world);
      break;
    case 11: {
      const std::string_view bytes = script.substr(0, amount);
      script.remove_prefix(bytes.size());
      world.is_tampered = true;
      std::string_view rest = bytes;
      while (!rest.empty() && !world.socket.is_closed) {
        rest = world.socket.Feed(rest, false, [] {});
      }
      break;
    }
    default:
      world.Exchange();
      world.loop.Iterate();
      world.loop.gateway->Drain(true);
      world.Exchange();
  }
  return script;
}

}  // namespace
}  // namespace fastserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fastserve;
  static const ServableHandle one = IdentityModel();
  static const ServableHandle many = IdentityModel("n", 3);
  World world({one, many});
  std::string_view script(reinterpret_cast<const char*>(data), size);
  while (!script.empty()) script = Play(script, world);
  world.Exchange();
  for (const auto& [stream, answers] : world.client.answers) {
    if (!world.is_tampered) FS_CHECK_OP(answers, <=, 1);
  }
  world.socket.connection->Lost();
  world.loop.controls.clear();
  while (world.loop.gateway->in_flight() > 0 || world.loop.is_scheduled) {
    world.loop.Iterate();
    world.loop.gateway->Drain(true);
  }
  FS_CHECK_OP(world.loop.gateway->in_flight_bytes(), ==, size_t{0});
  FS_CHECK_OP(world.loop.gateway->connections(), ==, size_t{0});
  return 0;
}
