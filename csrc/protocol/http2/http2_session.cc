#include "protocol/http2/http2_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"

namespace fastserve {
namespace {

// Of one head; as many as HTTP/1.1 heads may have here.
constexpr size_t kFieldsMax = 100;
// What RFC 9113 adds to each field when it speaks of a list's size.
constexpr size_t kFieldOverhead = 32;
// Copied bytes of one answer that is sent in part: then those that were sent make room.
constexpr size_t kCompactBytes = 64 << 10;

std::string_view Text(const uint8_t* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

nghttp2_nv ToNv(std::string_view name, std::string_view value) {
  auto* const n = reinterpret_cast<uint8_t*>(const_cast<char*>(name.data()));
  auto* const v = reinterpret_cast<uint8_t*>(const_cast<char*>(value.data()));
  return {n, v, name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

struct DeleteSession {
  void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
};

// A field's place in the text of a head.
struct FieldPlace {
  size_t name;
  size_t value;
  size_t end;
};

// One request and its answer. Reused, with the capacity of what it holds.
struct StreamState {
  // What is to be sent. Copied bytes stand in `text`, and know their place by `offset`.
  struct Piece {
    size_t offset = 0;
    std::string_view external;
    BufferRef owner;
    size_t size = 0;
    size_t sent = 0;
  };

  void* context = nullptr;
  bool has_context = false;
  bool is_answered = false;
  bool is_deferred = false;
  bool is_ended = false;
  ByteWriter text;
  std::vector<Piece> pieces;
  size_t next_piece = 0;
  size_t unsent = 0;
  std::vector<std::pair<std::string, std::string>> trailers;

  void Clear() {
    context = nullptr;
    has_context = is_answered = is_deferred = is_ended = false;
    ForgetPieces();
    unsent = 0;
    trailers.clear();
  }
  void ForgetPieces() {
    text.Clear();
    if (text.capacity() > kCompactBytes) text = ByteWriter();
    pieces.clear();
    next_piece = 0;
  }
  // Of an answer without an end, what was sent must not stay.
  void Compact() {
    if (text.size() < kCompactBytes || unsent > text.size() / 2) return;
    ByteWriter kept;
    std::vector<Piece> rest;
    for (size_t i = next_piece; i < pieces.size(); ++i) {
      Piece& piece = rest.emplace_back(std::move(pieces[i]));
      if (piece.owner) continue;
      const size_t offset = kept.size();
      kept.Append(text.view().substr(piece.offset + piece.sent, piece.size - piece.sent));
      piece = {.offset = offset, .external = {}, .owner = {}, .size = piece.size - piece.sent};
    }
    text = std::move(kept);
    pieces = std::move(rest);
    next_piece = 0;
  }
};

}  // namespace

std::string_view Http2Head::Find(std::string_view name) const {
  for (const Http2Field& field : fields) {
    if (field.name == name) return field.value;
  }
  return {};
}

class Http2Session::State {
 public:
  State(const Options& options, Http2Events& events) : options_(options), events_(events) {}

  Status Start();
  Status Receive(std::string_view data);
  Status Send(Http2Output* output);

  nghttp2_session* session() const { return session_.get(); }
  StreamState* Find(int32_t stream) const {
    return static_cast<StreamState*>(nghttp2_session_get_stream_user_data(session_.get(), stream));
  }
  void Answer(int32_t stream, std::span<const Http2Field> fields, bool ends);
  void Write(int32_t stream, std::string_view data, const BufferRef& owner);
  void End(int32_t stream, std::span<const Http2Field> trailers);

  Http2Counts counts;
  size_t streams = 0;
  size_t unsent = 0;
  uint64_t sent = 0;

 private:
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
  void EndHead(const nghttp2_frame& frame);
  StreamState* NewState();
  void OnFrame(const nghttp2_frame& frame);
  void OnClosed(int32_t stream, uint32_t error);
  void Resume(int32_t stream, StreamState& state);
  ssize_t ReadData(int32_t stream, StreamState& state, size_t length, uint32_t* flags);
  void SendData(StreamState& state, std::string_view head, size_t length);
  void SubmitTrailers(int32_t stream, StreamState& state);

  const Options options_;
  Http2Events& events_;
  std::unique_ptr<nghttp2_session, DeleteSession> session_;
  std::exception_ptr failure_;
  Http2Output* output_ = nullptr;                     // While it is filled.
  std::vector<std::unique_ptr<StreamState>> states_;  // All there were at once.
  std::vector<StreamState*> idle_;

  // The head that is read.
  std::string head_text_;
  std::vector<FieldPlace> head_places_;
  std::vector<Http2Field> head_fields_;
  size_t head_bytes_ = 0;
  bool head_is_too_large_ = false;
};

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
          StreamState* const state = Self(self).Find(stream);
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
          Self(self).SendData(*static_cast<StreamState*>(source->ptr), Text(head, kFrameHeadBytes),
                              length);
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
    failed = nghttp2_session_server_new2(&session, callbacks, this, option);
  }
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  session_.reset(session);
  const std::array settings = {
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options_.streams_max},
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

void Http2Session::State::CountFrame(const nghttp2_frame_hd& head) {
  switch (head.type) {
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
      if ((head.flags & NGHTTP2_FLAG_ACK) == 0) ++counts.glitches;
      break;
    case NGHTTP2_PRIORITY:
    case NGHTTP2_CONTINUATION:
      ++counts.glitches;
      break;
    case NGHTTP2_DATA:
      if (head.length == 0 && (head.flags & NGHTTP2_FLAG_END_STREAM) == 0) ++counts.glitches;
      break;
    default:
      break;
  }
}

void Http2Session::State::BeginHead() {
  head_text_.clear();
  head_places_.clear();
  head_bytes_ = 0;
  head_is_too_large_ = false;
}

void Http2Session::State::AddField(std::string_view name, std::string_view value) {
  head_bytes_ += name.size() + value.size() + kFieldOverhead;
  if (head_bytes_ > options_.head_bytes_max || head_places_.size() == kFieldsMax) {
    head_is_too_large_ = true;
    return;
  }
  const size_t at = head_text_.size();
  head_text_.append(name).append(value);
  head_places_.push_back({at, at + name.size(), head_text_.size()});
}

void Http2Session::State::EndHead(const nghttp2_frame& frame) {
  Http2Head head;
  head_fields_.clear();
  const std::string_view text = head_text_;
  for (const FieldPlace& place : head_places_) {
    const std::string_view name = text.substr(place.name, place.value - place.name);
    const std::string_view value = text.substr(place.value, place.end - place.value);
    if (!name.starts_with(':')) {
      head_fields_.push_back({name, value});
    } else if (name == ":method") {
      head.method = value;
    } else if (name == ":path") {
      head.path = value;
    } else if (name == ":scheme") {
      head.scheme = value;
    } else if (name == ":authority") {
      head.authority = value;
    }
  }
  head.fields = head_fields_;
  head.bytes = head_bytes_;
  head.is_too_large = head_is_too_large_;
  head.ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  StreamState* const state = NewState();
  if (nghttp2_session_set_stream_user_data(session_.get(), frame.hd.stream_id, state) != 0) {
    idle_.push_back(state);  // It is gone already.
    return;
  }
  ++streams;
  state->context = events_.OnHead(frame.hd.stream_id, head);
  state->has_context = true;
}

StreamState* Http2Session::State::NewState() {
  if (idle_.empty()) {
    idle_.reserve(states_.size() + 1);  // So that giving it back needs no memory.
    states_.push_back(std::make_unique<StreamState>());
    return states_.back().get();
  }
  StreamState* const state = idle_.back();
  idle_.pop_back();
  return state;
}

void Http2Session::State::OnFrame(const nghttp2_frame& frame) {
  const bool is_head = frame.hd.type == NGHTTP2_HEADERS;
  if (is_head && frame.headers.cat == NGHTTP2_HCAT_REQUEST) return EndHead(frame);
  if (!is_head && frame.hd.type != NGHTTP2_DATA) return;
  if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  StreamState* const state = Find(frame.hd.stream_id);
  if (state != nullptr && state->has_context) events_.OnEnd(frame.hd.stream_id, state->context);
}

void Http2Session::State::OnClosed(int32_t stream, uint32_t error) {
  if (error != NGHTTP2_NO_ERROR) ++counts.resets;
  StreamState* const state = Find(stream);
  if (state == nullptr) return;
  nghttp2_session_set_stream_user_data(session_.get(), stream, nullptr);
  --streams;
  unsent -= state->unsent;
  const bool has_context = state->has_context;
  void* const context = state->context;
  state->Clear();
  idle_.push_back(state);
  if (has_context) events_.OnClosed(stream, context, error);
}

Status Http2Session::State::Receive(std::string_view data) {
  const ssize_t taken = nghttp2_session_mem_recv(
      session_.get(), reinterpret_cast<const uint8_t*>(data.data()), data.size());
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  if (taken >= 0) return {};
  if (taken == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
  return InvalidArgument("the connection is no HTTP/2: ",
                         nghttp2_strerror(static_cast<int>(taken)));
}

void Http2Session::State::Answer(int32_t stream, std::span<const Http2Field> fields, bool ends) {
  StreamState* const state = Find(stream);
  if (state == nullptr || state->is_answered) return;
  state->is_answered = true;
  std::vector<nghttp2_nv> copied;
  std::array<nghttp2_nv, 8> few;
  std::span<nghttp2_nv> nv(few.data(), std::min(fields.size(), few.size()));
  if (fields.size() > few.size()) {
    copied.resize(fields.size());
    nv = copied;
  }
  for (size_t i = 0; i < fields.size(); ++i) nv[i] = ToNv(fields[i].name, fields[i].value);
  nghttp2_data_provider provider;
  provider.source.ptr = state;
  provider.read_callback = [](nghttp2_session*, int32_t id, uint8_t*, size_t length,
                              uint32_t* flags, nghttp2_data_source* source, void* self) {
    return Self(self).ReadData(id, *static_cast<StreamState*>(source->ptr), length, flags);
  };
  const int failed = nghttp2_submit_response(session_.get(), stream, nv.data(), nv.size(),
                                             ends ? nullptr : &provider);
  if (failed == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
}

void Http2Session::State::Write(int32_t stream, std::string_view data, const BufferRef& owner) {
  StreamState* const state = Find(stream);
  if (state == nullptr || data.empty()) return;
  state->Compact();
  if (!owner || data.size() <= kCopiedMax) {
    const size_t offset = state->text.size();
    state->text.Append(data);
    // One that is still whole grows: few pieces are few steps.
    if (!state->pieces.empty() && !state->pieces.back().owner) {
      state->pieces.back().size += data.size();
    } else {
      state->pieces.push_back({.offset = offset, .external = {}, .owner = {}, .size = data.size()});
    }
  } else {
    state->pieces.push_back({.external = data, .owner = owner, .size = data.size()});
  }
  state->unsent += data.size();
  unsent += data.size();
  Resume(stream, *state);
}

void Http2Session::State::End(int32_t stream, std::span<const Http2Field> trailers) {
  StreamState* const state = Find(stream);
  if (state == nullptr) return;
  for (const Http2Field& field : trailers) state->trailers.emplace_back(field.name, field.value);
  state->is_ended = true;
  Resume(stream, *state);
}

void Http2Session::State::Resume(int32_t stream, StreamState& state) {
  if (!std::exchange(state.is_deferred, false)) return;
  if (nghttp2_session_resume_data(session_.get(), stream) == NGHTTP2_ERR_NOMEM) {
    throw std::bad_alloc();
  }
}

ssize_t Http2Session::State::ReadData(int32_t stream, StreamState& state, size_t length,
                                      uint32_t* flags) {
  const size_t given = std::min(length, state.unsent);
  if (given == 0 && !state.is_ended) {
    state.is_deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (given == state.unsent && state.is_ended) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!state.trailers.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      if (Caught([&] { SubmitTrailers(stream, state); }) != 0) return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
  }
  return static_cast<ssize_t>(given);
}

void Http2Session::State::SubmitTrailers(int32_t stream, StreamState& state) {
  std::array<nghttp2_nv, 4> nv;
  const size_t count = std::min(state.trailers.size(), nv.size());
  for (size_t i = 0; i < count; ++i)
    nv[i] = ToNv(state.trailers[i].first, state.trailers[i].second);
  if (nghttp2_submit_trailer(session_.get(), stream, nv.data(), count) == NGHTTP2_ERR_NOMEM) {
    throw std::bad_alloc();
  }
}

void Http2Session::State::SendData(StreamState& state, std::string_view head, size_t length) {
  output_->Append(head);
  state.unsent -= length;
  unsent -= length;
  sent += length;
  while (length > 0) {
    StreamState::Piece& piece = state.pieces[state.next_piece];
    const size_t taken = std::min(length, piece.size - piece.sent);
    if (piece.owner) {
      const std::string_view bytes = piece.external.substr(piece.sent, taken);
      if (taken <= kCopiedMax) {
        output_->Append(bytes);
      } else {
        output_->Append(bytes, piece.owner);
      }
    } else {
      output_->Append(state.text.view().substr(piece.offset + piece.sent, taken));
    }
    piece.sent += taken;
    length -= taken;
    if (piece.sent < piece.size) break;
    piece.owner = BufferRef();
    ++state.next_piece;
  }
  if (state.unsent == 0) state.ForgetPieces();
}

Status Http2Session::State::Send(Http2Output* output) {
  output_ = output;
  ssize_t size = 0;
  do {
    const uint8_t* bytes = nullptr;
    size = nghttp2_session_mem_send(session_.get(), &bytes);
    if (size > 0) output->Append(Text(bytes, static_cast<size_t>(size)));
  } while (size > 0);
  output_ = nullptr;
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  if (size == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
  if (size < 0) return Internal("HTTP/2: ", nghttp2_strerror(static_cast<int>(size)));
  return {};
}

// -- The session itself
// ----------------------------------------------------------------------------

Result<std::unique_ptr<Http2Session>> Http2Session::Create(const Options& options,
                                                           Http2Events& events) {
  auto state = std::make_unique<State>(options, events);
  FS_RETURN_IF_ERROR(state->Start());
  return std::unique_ptr<Http2Session>(new Http2Session(std::move(state)));
}

Http2Session::Http2Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Http2Session::~Http2Session() = default;

Status Http2Session::Receive(std::string_view data) { return state_->Receive(data); }

void Http2Session::Consume(int32_t stream, size_t bytes) {
  if (nghttp2_session_consume(state_->session(), stream, bytes) == NGHTTP2_ERR_NOMEM) {
    throw std::bad_alloc();
  }
}

void Http2Session::Answer(int32_t stream, std::span<const Http2Field> fields, bool ends) {
  state_->Answer(stream, fields, ends);
}
void Http2Session::Write(int32_t stream, std::string_view data, const BufferRef& owner) {
  state_->Write(stream, data, owner);
}
void Http2Session::End(int32_t stream, std::span<const Http2Field> trailers) {
  state_->End(stream, trailers);
}

void Http2Session::Reset(int32_t stream, Http2Error error) {
  nghttp2_submit_rst_stream(state_->session(), NGHTTP2_FLAG_NONE, stream,
                            static_cast<uint32_t>(error));
}

size_t Http2Session::unsent(int32_t stream) const {
  const StreamState* const state = state_->Find(stream);
  return state == nullptr ? 0 : state->unsent;
}
size_t Http2Session::unsent() const { return state_->unsent; }
uint64_t Http2Session::sent() const { return state_->sent; }

void Http2Session::AnnounceEnd() { nghttp2_submit_shutdown_notice(state_->session()); }

void Http2Session::GoAway(Http2Error error) {
  nghttp2_session* const session = state_->session();
  if (error == Http2Error::kNoError) {
    const int32_t last = nghttp2_session_get_last_proc_stream_id(session);
    nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0);
  } else {
    nghttp2_session_terminate_session(session, static_cast<uint32_t>(error));
  }
}

void Http2Session::Ping() { nghttp2_submit_ping(state_->session(), NGHTTP2_FLAG_NONE, nullptr); }

Status Http2Session::Send(Http2Output* output) { return state_->Send(output); }

bool Http2Session::is_over() const {
  return nghttp2_session_want_read(state_->session()) == 0 &&
         nghttp2_session_want_write(state_->session()) == 0;
}
size_t Http2Session::streams() const { return state_->streams; }
const Http2Counts& Http2Session::counts() const { return state_->counts; }

}  // namespace fastserve
