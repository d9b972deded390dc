// Http2Session::State: nghttp2 behind a session; the inner half of Http2Session, which is the only
// one to include it.
//
// Threads: none.
#pragma once

#include <nghttp2/nghttp2.h>

#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/http2/http2_session.h"
#include "protocol/http2/http2_stream_state.h"

namespace fastserve {

inline nghttp2_nv ToNv(std::string_view name, std::string_view value) {
  auto* const n = reinterpret_cast<uint8_t*>(const_cast<char*>(name.data()));
  auto* const v = reinterpret_cast<uint8_t*>(const_cast<char*>(value.data()));
  return {n, v, name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

class Http2Session::State {
 public:
  State(const Options& options, Http2Events& events) : options_(options), events_(events) {}

  Status Start();
  Status Receive(std::string_view data);
  Status Send(Http2Output* output);

  nghttp2_session* session() const { return session_.get(); }
  Http2StreamState* Find(int32_t stream) const {
    return static_cast<Http2StreamState*>(
        nghttp2_session_get_stream_user_data(session_.get(), stream));
  }
  Result<int32_t> Request(std::span<const Http2Field> fields, void* context, Http2Output* output);
  void Answer(int32_t stream, std::span<const Http2Field> fields, bool ends);
  void Write(int32_t stream, std::string_view data, const BufferRef& owner);
  void End(int32_t stream, std::span<const Http2Field> trailers);

  // Notes that nghttp2 had no memory; the next Send says so.
  void Check(int result) {
    if (result == NGHTTP2_ERR_NOMEM) lacks_memory_ = true;
  }

  Http2Counts counts;
  size_t streams = 0;
  size_t unsent = 0;
  uint64_t sent = 0;

 private:
  class NameValues;
  struct DeleteSession {
    void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
  };
  // A field's place in the text of a head.
  struct FieldPlace {
    size_t name;
    size_t value;
    size_t end;
  };

  // nghttp2 is C: what an event throws waits until it has returned.
  template <typename Body>
  int Caught(Body&& body) noexcept {
    try {
      body();
      return 0;
    } catch (...) {
      failure_ = std::current_exception();
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
  }
  static State& Self(void* self) { return *static_cast<State*>(self); }
  static void SetCallbacks(nghttp2_session_callbacks* callbacks);

  void CountFrame(const nghttp2_frame_hd& head);
  void BeginHead();
  void AddField(std::string_view name, std::string_view value);
  Http2Head TakeHead(const nghttp2_frame& frame);
  void EndRequestHead(const nghttp2_frame& frame);
  void EndAnswerHead(const nghttp2_frame& frame);
  static nghttp2_data_provider ProviderOf(Http2StreamState* state);
  Http2StreamState* NewState();
  void OnFrame(const nghttp2_frame& frame);
  void OnClosed(int32_t stream, uint32_t error);
  void Resume(int32_t stream, Http2StreamState& state);
  ssize_t ReadData(int32_t stream, Http2StreamState& state, size_t length, uint32_t* flags);
  void SendData(Http2StreamState& state, std::string_view head, size_t length);
  void SubmitTrailers(int32_t stream, Http2StreamState& state);

  const Options options_;
  Http2Events& events_;
  std::unique_ptr<nghttp2_session, DeleteSession> session_;
  std::exception_ptr failure_;
  bool lacks_memory_ = false;
  Http2Output* output_ = nullptr;                          // While it is filled.
  std::vector<std::unique_ptr<Http2StreamState>> states_;  // All there were at once.
  std::vector<Http2StreamState*> idle_;

  // The head that is read.
  std::string head_text_;
  std::vector<FieldPlace> head_places_;
  std::vector<Http2Field> head_fields_;
  size_t head_bytes_ = 0;
  bool head_is_too_large_ = false;
};

}  // namespace fastserve
