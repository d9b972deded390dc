// What nghttp2 calls, and how a session begins.
#include <array>

#include "protocol/http2/http2_session_state.h"

namespace fastserve {
namespace {

std::string_view Text(const uint8_t* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace

void Http2Session::State::SetCallbacks(nghttp2_session_callbacks* callbacks) {
  nghttp2_session_callbacks_set_on_begin_frame_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame_hd* head, void* self) {
        Self(self).CountFrame(*head);
        return 0;
      });
  nghttp2_session_callbacks_set_on_begin_headers_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame*, void* self) {
        Self(self).BeginHead();
        return 0;
      });
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t, void* self) {
        return Self(self).Caught(
            [&] { Self(self).AddField(Text(name, name_size), Text(value, value_size)); });
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
        return Self(self).Caught([&] { Self(self).OnFrame(*frame); });
      });
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame*, int, void* self) {
        ++Self(self).counts.glitches;
        return 0;
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks,
      [](nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t size, void* self) {
        return Self(self).Caught([&] {
          Http2StreamState* const state = Self(self).Find(stream);
          if (state != nullptr && state->has_context) {
            Self(self).events_.OnData(stream, state->context, Text(data, size));
          } else {
            nghttp2_session_consume(Self(self).session(), stream, size);
          }
        });
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      callbacks, [](nghttp2_session*, int32_t stream, uint32_t error, void* self) {
        return Self(self).Caught([&] { Self(self).OnClosed(stream, error); });
      });
  nghttp2_session_callbacks_set_send_data_callback(
      callbacks, [](nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t length,
                    nghttp2_data_source* source, void* self) {
        return Self(self).Caught([&] {
          constexpr size_t kFrameHeadBytes = 9;
          Self(self).SendData(*static_cast<Http2StreamState*>(source->ptr),
                              Text(head, kFrameHeadBytes), length);
        });
      });
}

Status Http2Session::State::Start() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  nghttp2_session* session = nullptr;
  int failed = nghttp2_session_callbacks_new(&callbacks);
  if (failed == 0) failed = nghttp2_option_new(&option);
  if (failed == 0) {
    SetCallbacks(callbacks);
    nghttp2_option_set_no_auto_window_update(option, 1);
    // A stream that is closed is of no more use here: priorities are not looked at.
    nghttp2_option_set_no_closed_streams(option, 1);
    const auto begin =
        options_.is_client ? &nghttp2_session_client_new2 : &nghttp2_session_server_new2;
    failed = begin(&session, callbacks, this, option);
  }
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  session_.reset(session);
  const std::array settings = {
      // A client takes no stream at all: none are pushed.
      options_.is_client
          ? nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}
          : nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options_.streams_max},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options_.stream_window},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
                             static_cast<uint32_t>(options_.head_bytes_max)},
  };
  if (failed == 0) {
    failed = nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  }
  if (failed == 0) {
    failed = nghttp2_session_set_local_window_size(
        session, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(options_.connection_window));
  }
  if (failed != 0) return ResourceExhausted("no memory for an HTTP/2 connection");
  return {};
}

}  // namespace fastserve
