#include "protocol/http2/http2_session.h"

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include "protocol/http2/http2_session_state.h"

namespace fastserve {
namespace {

// Of one head; as many as HTTP/1.1 heads may have here.
constexpr size_t kFieldsMax = 100;
// What RFC 9113 adds to each field when it speaks of a list's size.
constexpr size_t kFieldOverhead = 32;

Status OutOfMemory() { return ResourceExhausted("no memory for an HTTP/2 connection"); }

}  // namespace

std::string_view Http2Head::Find(std::string_view name) const {
  for (const Http2Field& field : fields) {
    if (field.name == name) return field.value;
  }
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

Http2Head Http2Session::State::TakeHead(const nghttp2_frame& frame) {
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
    } else if (name == ":status") {
      head.status = value;
    }
  }
  head.fields = head_fields_;
  head.bytes = head_bytes_;
  head.is_too_large = head_is_too_large_;
  head.ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  return head;
}

void Http2Session::State::EndRequestHead(const nghttp2_frame& frame) {
  const Http2Head head = TakeHead(frame);
  Http2StreamState* const state = NewState();
  if (nghttp2_session_set_stream_user_data(session_.get(), frame.hd.stream_id, state) != 0) {
    idle_.push_back(state);  // It is gone already.
    return;
  }
  ++streams;
  state->context = events_.OnHead(frame.hd.stream_id, head);
  state->has_context = true;
}

void Http2Session::State::EndAnswerHead(const nghttp2_frame& frame) {
  const Http2StreamState* const state = Find(frame.hd.stream_id);
  if (state != nullptr) events_.OnAnswer(frame.hd.stream_id, state->context, TakeHead(frame));
}

Http2StreamState* Http2Session::State::NewState() {
  if (idle_.empty()) {
    idle_.reserve(states_.size() + 1);  // So that giving it back needs no memory.
    states_.push_back(std::make_unique<Http2StreamState>());
    return states_.back().get();
  }
  Http2StreamState* const state = idle_.back();
  idle_.pop_back();
  return state;
}

void Http2Session::State::OnFrame(const nghttp2_frame& frame) {
  const bool is_head = frame.hd.type == NGHTTP2_HEADERS;
  if (is_head && frame.headers.cat == NGHTTP2_HCAT_REQUEST) return EndRequestHead(frame);
  if (is_head && options_.is_client) EndAnswerHead(frame);
  if (!is_head && frame.hd.type != NGHTTP2_DATA) return;
  if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  Http2StreamState* const state = Find(frame.hd.stream_id);
  if (state != nullptr && state->has_context) events_.OnEnd(frame.hd.stream_id, state->context);
}

void Http2Session::State::OnClosed(int32_t stream, uint32_t error) {
  if (error != NGHTTP2_NO_ERROR) ++counts.resets;
  Http2StreamState* const state = Find(stream);
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
  if (taken == NGHTTP2_ERR_NOMEM) return OutOfMemory();
  return InvalidArgument("the connection is no HTTP/2: ",
                         nghttp2_strerror(static_cast<int>(taken)));
}

// Fields as nghttp2 wants them.
class Http2Session::State::NameValues {
 public:
  explicit NameValues(std::span<const Http2Field> fields)
      : nv_(few_.data(), std::min(fields.size(), few_.size())) {
    if (fields.size() > few_.size()) {
      many_.resize(fields.size());
      nv_ = many_;
    }
    for (size_t i = 0; i < fields.size(); ++i) nv_[i] = ToNv(fields[i].name, fields[i].value);
  }
  const nghttp2_nv* data() const { return nv_.data(); }
  size_t size() const { return nv_.size(); }

 private:
  std::array<nghttp2_nv, 8> few_;
  std::vector<nghttp2_nv> many_;
  std::span<nghttp2_nv> nv_;
};

nghttp2_data_provider Http2Session::State::ProviderOf(Http2StreamState* state) {
  nghttp2_data_provider provider;
  provider.source.ptr = state;
  provider.read_callback = [](nghttp2_session*, int32_t id, uint8_t*, size_t length,
                              uint32_t* flags, nghttp2_data_source* source, void* self) {
    return Self(self).ReadData(id, *static_cast<Http2StreamState*>(source->ptr), length, flags);
  };
  return provider;
}

void Http2Session::State::Answer(int32_t stream, std::span<const Http2Field> fields, bool ends) {
  Http2StreamState* const state = Find(stream);
  if (state == nullptr || state->is_answered) return;
  state->is_answered = true;
  const NameValues nv(fields);
  const nghttp2_data_provider provider = ProviderOf(state);
  Check(nghttp2_submit_response(session_.get(), stream, nv.data(), nv.size(),
                                ends ? nullptr : &provider));
}

// Sent at once: until then nghttp2 does not know the stream, and nothing could be written to it.
Result<int32_t> Http2Session::State::Request(std::span<const Http2Field> fields, void* context,
                                             Http2Output* output) {
  if (nghttp2_session_check_request_allowed(session_.get()) == 0) {
    return Unavailable("this HTTP/2 connection takes no more requests");
  }
  const NameValues nv(fields);
  Http2StreamState* const state = NewState();
  state->context = context;
  state->has_context = true;
  const nghttp2_data_provider provider = ProviderOf(state);
  const int32_t stream =
      nghttp2_submit_request(session_.get(), nullptr, nv.data(), nv.size(), &provider, state);
  if (stream < 0) {
    state->Clear();
    idle_.push_back(state);
    if (stream == NGHTTP2_ERR_NOMEM) return OutOfMemory();
    return Unavailable("HTTP/2: ", nghttp2_strerror(stream));
  }
  ++streams;
  FS_RETURN_IF_ERROR(Send(output));
  return stream;
}

void Http2Session::State::Write(int32_t stream, std::string_view data, const BufferRef& owner) {
  Http2StreamState* const state = Find(stream);
  if (state == nullptr || data.empty()) return;
  state->Write(data, owner);
  unsent += data.size();
  Resume(stream, *state);
}

void Http2Session::State::End(int32_t stream, std::span<const Http2Field> trailers) {
  Http2StreamState* const state = Find(stream);
  if (state == nullptr) return;
  for (const Http2Field& field : trailers) state->trailers.emplace_back(field.name, field.value);
  state->is_ended = true;
  Resume(stream, *state);
}

void Http2Session::State::Resume(int32_t stream, Http2StreamState& state) {
  if (!std::exchange(state.is_deferred, false)) return;
  Check(nghttp2_session_resume_data(session_.get(), stream));
}

ssize_t Http2Session::State::ReadData(int32_t stream, Http2StreamState& state, size_t length,
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

void Http2Session::State::SubmitTrailers(int32_t stream, Http2StreamState& state) {
  std::array<nghttp2_nv, 4> nv;
  const size_t count = std::min(state.trailers.size(), nv.size());
  for (size_t i = 0; i < count; ++i)
    nv[i] = ToNv(state.trailers[i].first, state.trailers[i].second);
  Check(nghttp2_submit_trailer(session_.get(), stream, nv.data(), count));
}

void Http2Session::State::SendData(Http2StreamState& state, std::string_view head, size_t length) {
  output_->Append(head);
  unsent -= length;
  sent += length;
  state.Send(length, output_);
}

Status Http2Session::State::Send(Http2Output* output) {
  output_ = output;
  ssize_t size = 0;
  do {
    const uint8_t* bytes = nullptr;
    size = nghttp2_session_mem_send(session_.get(), &bytes);
    if (size > 0) output->Append({reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)});
  } while (size > 0);
  output_ = nullptr;
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  if (size == NGHTTP2_ERR_NOMEM || lacks_memory_) return OutOfMemory();
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
  state_->Check(nghttp2_session_consume(state_->session(), stream, bytes));
}

Result<int32_t> Http2Session::Request(std::span<const Http2Field> fields, void* context,
                                      Http2Output* output) {
  return state_->Request(fields, context, output);
}
bool Http2Session::takes_requests() const {
  nghttp2_session* const session = state_->session();
  return nghttp2_session_check_request_allowed(session) != 0 &&
         state_->streams <
             nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
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
  const Http2StreamState* const state = state_->Find(stream);
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

bool Http2Session::wants_to_send() const {
  return nghttp2_session_want_write(state_->session()) != 0;
}

bool Http2Session::wants_to_receive() const {
  return nghttp2_session_want_read(state_->session()) != 0;
}

bool Http2Session::is_over() const { return !wants_to_receive() && !wants_to_send(); }
size_t Http2Session::streams() const { return state_->streams; }
const Http2Counts& Http2Session::counts() const { return state_->counts; }

}  // namespace fastserve
