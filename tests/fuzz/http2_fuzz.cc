// An HTTP/2 session. An input is what a client sends; unless it begins with a NUL, the preface and
// empty SETTINGS are put before it. Each request is answered with what it said.
//
// Oracles: events are in order (head, data, end, closed; nothing after that); what a client says is
// said alike in one piece and byte by byte; what the server sends, a client of nghttp2's accepts.
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "protocol/http2/http2_session.h"

namespace fastserve {
namespace {

class Echo final : public Http2Events {
 public:
  void* OnHead(int32_t stream, const Http2Head& head) override {
    Stream& opened = streams[stream];
    FS_CHECK(!std::exchange(opened.is_open, true));
    said += StrCat(stream, ":", head.method, head.path, head.fields.size(), head.ends, ";");
    if (head.ends) Answer(stream, "");
    return &opened;
  }
  void OnData(int32_t stream, void* context, std::string_view data) override {
    Stream& open = Check(stream, context);
    FS_CHECK(!open.has_end);
    open.data += data;
    session->Consume(stream, data.size());
  }
  void OnEnd(int32_t stream, void* context) override {
    Stream& open = Check(stream, context);
    FS_CHECK(!std::exchange(open.has_end, true));
    said += StrCat(stream, "=", open.data.size(), ";");
    Answer(stream, open.data);
  }
  void OnClosed(int32_t stream, void* context, uint32_t) override {
    Check(stream, context).is_open = false;
  }

  std::string said;
  Http2Session* session = nullptr;

 private:
  struct Stream {
    bool is_open = false;
    bool has_end = false;
    std::string data;
  };

  Stream& Check(int32_t stream, void* context) {
    Stream& open = streams.at(stream);
    FS_CHECK(open.is_open && context == &open);
    return open;
  }
  void Answer(int32_t stream, std::string_view data) {
    const std::vector<Http2Field> head = {{":status", "200"}, {"a", "b"}};
    session->Answer(stream, head, /*ends=*/false);
    session->Write(stream, data);
    session->End(stream, std::vector<Http2Field>{{"t", "1"}});
  }

  std::map<int32_t, Stream> streams;
};

// What came of it; what was sent goes to `sent`.
std::string Play(std::string_view bytes, size_t piece, std::string* sent) {
  Echo events;
  Result<std::unique_ptr<Http2Session>> session =
      Http2Session::Create({.streams_max = 8, .head_bytes_max = 512}, events);
  FS_CHECK(session.ok());
  events.session = session->get();
  const auto send = [&] {
    Http2Output output;
    FS_CHECK((*session)->Send(&output).ok());
    for (const OutputPart& part : output.parts()) sent->append(part.bytes);
  };
  send();
  for (size_t at = 0; at < bytes.size(); at += piece) {
    if (!(*session)->Receive(bytes.substr(at, piece)).ok()) break;
    if ((*session)->is_over()) break;
  }
  send();
  return events.said;
}

void CheckWithClient(const std::string& sent) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session* client = nullptr;
  nghttp2_session_client_new(&client, callbacks, nullptr);
  nghttp2_session_callbacks_del(callbacks);
  const ssize_t taken =
      nghttp2_session_mem_recv(client, reinterpret_cast<const uint8_t*>(sent.data()), sent.size());
  // Streams that it did not open it may complain of, but by frames, not by failing.
  FS_CHECK_OP(taken, >=, ssize_t{0});
  nghttp2_session_del(client);
}

}  // namespace
}  // namespace fastserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fastserve;
  std::string bytes;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.starts_with('\0')) {
    input.remove_prefix(1);
  } else {
    bytes = std::string(kHttp2Preface) + std::string("\0\0\0\4\0\0\0\0\0", 9);
  }
  bytes += input;
  std::string sent;
  const std::string whole = Play(bytes, std::max<size_t>(bytes.size(), 1), &sent);
  CheckWithClient(sent);
  sent.clear();
  FS_CHECK(Play(bytes, 1, &sent) == whole);
  return 0;
}
