// The client's side of HTTP/2 for tests, by nghttp2: requests in, bytes out; bytes in, answers out.
//
//   Http2Client client;
//   const int32_t stream = client.Request({{":method", "GET"}, ...}, body);
//   socket.Feed(client.Take());
//   client.Receive(socket.Take());
//   EXPECT_EQ(client.answers[stream].data, ...);
#pragma once

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fastserve {

using Http2Fields = std::vector<std::pair<std::string, std::string>>;

struct Http2Answer {
  Http2Fields fields;
  std::string data;
  Http2Fields trailers;
  bool is_closed = false;
  uint32_t error = 0;
  // Of both lists; "" without one.
  std::string Find(std::string_view name) const {
    for (const Http2Fields* list : {&fields, &trailers}) {
      for (const auto& [key, value] : *list) {
        if (key == name) return value;
      }
    }
    return "";
  }
};

class Http2Client {
 public:
  explicit Http2Client(uint32_t window = 65535) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    SetCallbacks(callbacks);
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_client_new2(&session_, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &entry, 1);
  }
  ~Http2Client() { nghttp2_session_del(session_); }
  Http2Client(const Http2Client&) = delete;
  Http2Client& operator=(const Http2Client&) = delete;

  // A request with this body; `goes_on`: Send and End follow.
  int32_t Request(const Http2Fields& fields, std::string_view body = "", bool goes_on = false) {
    std::vector<nghttp2_nv> nv;
    for (const auto& [name, value] : fields) {
      nv.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                    reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(),
                    value.size(), NGHTTP2_NV_FLAG_NONE});
    }
    auto pending = std::make_unique<Pending>();
    pending->data = body;
    pending->is_ended = !goes_on;
    nghttp2_data_provider provider;
    provider.source.ptr = pending.get();
    provider.read_callback = &Read;
    const bool has_body = goes_on || !body.empty();
    const int32_t stream = nghttp2_submit_request(session_, nullptr, nv.data(), nv.size(),
                                                  has_body ? &provider : nullptr, nullptr);
    pending_[stream] = std::move(pending);
    return stream;
  }
  void Send(int32_t stream, std::string_view data) {
    pending_[stream]->data += data;
    nghttp2_session_resume_data(session_, stream);
  }
  void End(int32_t stream) {
    pending_[stream]->is_ended = true;
    nghttp2_session_resume_data(session_, stream);
  }
  void Reset(int32_t stream, uint32_t error = NGHTTP2_CANCEL) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, error);
  }
  void Ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }
  void Settings() { nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0); }
  // Lets the server send as much as it has sent on a stream anew, and more.
  void OpenWindow(int32_t stream, int32_t bytes) {
    nghttp2_submit_window_update(session_, NGHTTP2_FLAG_NONE, stream, bytes);
  }

  // What is to be sent.
  std::string Take() {
    std::string taken;
    const uint8_t* bytes = nullptr;
    for (ssize_t size; (size = nghttp2_session_mem_send(session_, &bytes)) > 0;) {
      taken.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    }
    return taken;
  }
  void Receive(std::string_view bytes) {
    EXPECT_EQ(nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()),
                                       bytes.size()),
              static_cast<ssize_t>(bytes.size()));
  }

  std::map<int32_t, Http2Answer> answers;
  std::vector<uint32_t> goaways;  // Their errors.
  int pings = 0;                  // Of the server.

 private:
  struct Pending {
    std::string data;
    bool is_ended = false;
  };

  static ssize_t Read(nghttp2_session*, int32_t, uint8_t* to, size_t length, uint32_t* flags,
                      nghttp2_data_source* source, void*) {
    Pending& pending = *static_cast<Pending*>(source->ptr);
    const size_t given = pending.data.copy(reinterpret_cast<char*>(to), length);
    pending.data.erase(0, given);
    if (pending.data.empty() && pending.is_ended) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (given == 0) {
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(given);
  }

  static void SetCallbacks(nghttp2_session_callbacks* callbacks) {
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks,
        [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
           const uint8_t* value, size_t value_size, uint8_t, void* self) {
          Http2Answer& answer = static_cast<Http2Client*>(self)->answers[frame->hd.stream_id];
          Http2Fields& to =
              frame->headers.cat == NGHTTP2_HCAT_RESPONSE ? answer.fields : answer.trailers;
          to.emplace_back(std::string(reinterpret_cast<const char*>(name), name_size),
                          std::string(reinterpret_cast<const char*>(value), value_size));
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t size,
                      void* self) {
          static_cast<Http2Client*>(self)->answers[stream].data.append(
              reinterpret_cast<const char*>(data), size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks, [](nghttp2_session*, int32_t stream, uint32_t error, void* self) {
          Http2Answer& answer = static_cast<Http2Client*>(self)->answers[stream];
          answer.is_closed = true;
          answer.error = error;
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          auto& client = *static_cast<Http2Client*>(self);
          if (frame->hd.type == NGHTTP2_GOAWAY) client.goaways.push_back(frame->goaway.error_code);
          const bool is_ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
          if (frame->hd.type == NGHTTP2_PING && !is_ack) ++client.pings;
          return 0;
        });
  }

  nghttp2_session* session_ = nullptr;
  std::map<int32_t, std::unique_ptr<Pending>> pending_;
};

// A frame, whatever it says.
inline std::string Http2Frame(uint8_t type, uint8_t flags, uint32_t stream,
                              std::string_view payload) {
  std::string frame;
  const auto size = static_cast<uint32_t>(payload.size());
  for (const int shift : {16, 8, 0}) frame += static_cast<char>(size >> shift);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) frame += static_cast<char>(stream >> shift);
  return frame.append(payload);
}

inline Http2Fields GetFields(std::string_view path) {
  return {
      {":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", std::string(path)}};
}
inline Http2Fields PostFields(std::string_view path, Http2Fields more = {}) {
  Http2Fields fields = {
      {":method", "POST"}, {":scheme", "http"}, {":authority", "a"}, {":path", std::string(path)}};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

}  // namespace fastserve
