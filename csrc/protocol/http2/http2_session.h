// Http2Session: one side of an HTTP/2 connection: bytes in, events out; answers, or requests, in,
// bytes out.
//
//   session->Receive(data);             // calls Http2Events
//   session->Answer(stream, fields, /*ends=*/false);
//   session->Write(stream, message, owner);
//   session->End(stream, trailers);
//   session->Send(&output);             // what may be sent now, as far as the client's windows
//   allow
//
// A client's side (Options::is_client) begins streams with Request; Write and End are the request's
// then, and OnAnswer tells what comes back.
//
// nghttp2 does the framing, HPACK, the states of streams and flow control; this class gives it
// memory that streams reuse, keeps payloads out of its copies, and counts what only somebody who
// means harm does often. What rates are too high is for whoever has a clock to say.
//
// Only what nghttp2 1.52 and 1.64 share is used.
//
// Source: RFC 9113 (HTTP/2), RFC 7541 (HPACK).
// Threads: none; one session belongs to one thread. Events come within Receive, OnClosed also
// within Send. Within an event everything may be called but Receive and Send.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "protocol/http2/http2_output.h"
#include "tensor/buffer.h"

namespace fastserve {

// What a client sends first on every HTTP/2 connection.
inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Codes of RST_STREAM and GOAWAY (RFC 9113, 7).
enum class Http2Error : uint32_t {
  kNoError = 0,
  kProtocolError = 1,
  kInternalError = 2,
  kRefusedStream = 7,
  kCancel = 8,
  kEnhanceYourCalm = 11,
};

struct Http2Field {
  std::string_view name;  // In lower case.
  std::string_view value;
};

// A request's head, or an answer's. Views are good until the event returns.
struct Http2Head {
  std::string_view method;
  std::string_view path;
  std::string_view scheme;
  std::string_view authority;
  std::string_view status;             // An answer's; "" of trailers.
  std::span<const Http2Field> fields;  // But those five.
  size_t bytes = 0;                    // As SETTINGS_MAX_HEADER_LIST_SIZE counts.
  bool is_too_large = false;           // Then fields are missing.
  bool ends = false;                   // No body comes.

  // The value of the first field of that name; "" without one.
  std::string_view Find(std::string_view name) const;
};

class Http2Events {
 public:
  virtual ~Http2Events() = default;
  // A request begins; what is returned comes back with the other events of its stream.
  virtual void* OnHead(int32_t stream, const Http2Head& head) = 0;
  // A client's: the head of an answer, before it any number with a status of 1xx, behind its data
  // the trailers.
  virtual void OnAnswer(int32_t stream, void* context, const Http2Head& head) {}
  // A piece of the body. Whoever has taken it says so by Consume.
  virtual void OnData(int32_t stream, void* context, std::string_view data) = 0;
  // The peer says no more (of a request not when its head said so).
  virtual void OnEnd(int32_t stream, void* context) = 0;
  // The stream is gone: answered, or reset by either side. The last event.
  virtual void OnClosed(int32_t stream, void* context, uint32_t error) = 0;
};

// What only hostile or broken clients do often; since the beginning.
struct Http2Counts {
  uint64_t resets = 0;    // Streams that ended by RST_STREAM of either side, with an error.
  uint64_t glitches = 0;  // Frames that move nothing: PING, SETTINGS, PRIORITY, CONTINUATION,
                          // empty DATA, and invalid ones.
};

class Http2Session {
 public:
  struct Options {
    bool is_client = false;
    uint32_t streams_max = 256;
    // How much the peer may send before it is consumed; per stream, and of all together.
    uint32_t stream_window = 1 << 20;
    uint32_t connection_window = 16 << 20;
    size_t head_bytes_max = 16 << 10;
  };

  // `events` outlives the session. Errors: RESOURCE_EXHAUSTED.
  static Result<std::unique_ptr<Http2Session>> Create(const Options& options, Http2Events& events);
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  // Takes all of `data`, which begins with the preface. Errors: INVALID_ARGUMENT for what is no
  // HTTP/2 from its beginning: nothing can be answered. (Later errors end the connection by GOAWAY:
  // see is_over.) RESOURCE_EXHAUSTED. std::bad_alloc of an event passes through.
  Status Receive(std::string_view data);

  // `bytes` of a stream's data were taken: the client may send as many more.
  void Consume(int32_t stream, size_t bytes);

  // -- Requests.

  // Begins one: its pseudo fields come first. `context` comes back with the stream's events. What
  // is to be sent goes to `output` at once. Errors: UNAVAILABLE when this connection takes no more
  // streams; otherwise as Send.
  Result<int32_t> Request(std::span<const Http2Field> fields, void* context, Http2Output* output);
  // Whether the peer takes one more stream now.
  bool takes_requests() const;

  // -- Answers. Calls for a stream that is closed already do nothing.

  // The head of an answer; the first field is :status. `ends`: nothing follows.
  void Answer(int32_t stream, std::span<const Http2Field> fields, bool ends);
  // Data of the answer. Small, or without an owner, it is copied.
  void Write(int32_t stream, std::string_view data, const BufferRef& owner = {});
  // Nothing follows but these fields; none: no trailers.
  void End(int32_t stream, std::span<const Http2Field> trailers = {});
  void Reset(int32_t stream, Http2Error error);

  // Bytes of a stream's answer that were written and not sent: the client's windows are full.
  size_t unsent(int32_t stream) const;
  // Of all streams together.
  size_t unsent() const;
  // Of all streams together, since the beginning.
  uint64_t sent() const;

  // -- The connection.

  // "No more streams, soon": those that are on their way are still taken.
  void AnnounceEnd();
  // No more streams. Those there are go on, or with an error end.
  void GoAway(Http2Error error);
  void Ping();

  // Appends all that may be sent now. Errors: RESOURCE_EXHAUSTED, INTERNAL: the connection is of
  // no more use. std::bad_alloc passes through.
  Status Send(Http2Output* output);

  // Send would find something, if the peer's windows allow.
  bool wants_to_send() const;
  // What comes would matter.
  bool wants_to_receive() const;
  // Nothing is to be sent, and nothing that comes would matter.
  bool is_over() const;
  // Open ones.
  size_t streams() const;
  const Http2Counts& counts() const;

 private:
  class State;
  explicit Http2Session(std::unique_ptr<State> state);
  const std::unique_ptr<State> state_;
};

}  // namespace fastserve
