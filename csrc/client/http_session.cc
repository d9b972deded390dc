#include "client/http_session.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "client/sent_tensors.h"
#include "protocol/client/kserve_rest_request.h"

namespace fastserve {
namespace {

// More than a head may have, so that there is always room behind it.
constexpr size_t kReceiveBytes = 64 << 10;

Status OutOfMemory(uint64_t bytes) {
  return ResourceExhausted("no memory for an answer of ", bytes, " bytes");
}

}  // namespace

Result<std::unique_ptr<HttpSession>> HttpSession::Create(const Options& options, SlabPool& pool) {
  BufferRef receive = pool.Acquire(kReceiveBytes);
  if (!receive) return OutOfMemory(kReceiveBytes);
  return std::unique_ptr<HttpSession>(new HttpSession(options, pool, std::move(receive)));
}

void HttpSession::Start(std::string_view method) {
  state_ = State::kHead;
  has_begun_ = false;
  is_head_request_ = method == "HEAD";
  filled_ = 0;
  body_ = {};
  body_bytes_ = 0;
  tensors_.SetMessage({});
}

Status HttpSession::Begin(const Http1RequestHead& head, std::string_view body,
                          Http2Output* output) {
  ByteWriter text;
  FS_RETURN_IF_ERROR(AppendHttp1RequestHead(head, &text));
  output->Append(text.view());
  output->Append(body);
  Start(head.method);
  return {};
}

Status HttpSession::BeginInfer(const InferBody& request, std::span<const BufferRef> owners,
                               Http1RequestHead head, bool binary, Http2Output* output) {
  json_.Clear();
  FS_RETURN_IF_ERROR(EncodeInferRequest(request, binary, &json_));
  uint64_t tail = 0;
  if (binary) {
    for (const InferInput& input : request.inputs) tail += input.tensor.bytes.size();
    head.inference_header_length = json_.size();
  }
  head.content_type = binary ? "application/octet-stream" : "application/json";
  head.content_length = json_.size() + tail;
  FS_RETURN_IF_ERROR(Begin(head, json_.view(), output));
  if (!binary) return {};
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    AppendTensorBytes(request.inputs[i].tensor, owners[i], output);
  }
  return {};
}

std::span<std::byte> HttpSession::GetBuffer() {
  if (state_ == State::kLength) return body_.subspan(body_bytes_);
  // Of chunks only the head stays, which the answer's fields are views of.
  const size_t kept = state_ == State::kHead ? filled_ : answer_.bytes;
  return receive_->bytes().subspan(kept, kReceiveBytes - kept);
}

Status HttpSession::Received(size_t bytes) {
  has_begun_ = true;
  const std::string_view behind_head(
      reinterpret_cast<const char*>(receive_->data()) + answer_.bytes, bytes);
  switch (state_) {
    case State::kHead:
      filled_ += bytes;
      return ReadHead();
    case State::kLength:
      body_bytes_ += bytes;
      if (body_bytes_ == body_.size()) state_ = State::kDone;
      return {};
    case State::kChunked:
      return ReadChunks(behind_head);
    case State::kUntilEnd:
      return Gather(behind_head);
    case State::kIdle:
    case State::kDone:
      return Internal("the server says something that nobody asked for");
  }
  return {};
}

Status HttpSession::ReadHead() {
  while (true) {
    switch (reader_.Read(ReceivedText(), &answer_)) {
      case Http1Progress::kNeedMore:
        return {};
      case Http1Progress::kFailed:
        return Internal(reader_.error());
      case Http1Progress::kDone:
        break;
    }
    if (answer_.status >= 200) return StartBody();
    if (answer_.status == 101) return Internal("the server changes the protocol unasked");
    // An interim answer: the one that counts follows.
    filled_ -= answer_.bytes;
    std::memmove(receive_->data(), receive_->data() + answer_.bytes, filled_);
    if (filled_ == 0) return {};
  }
}

Status HttpSession::StartBody() {
  if (is_head_request_) answer_.body = HttpAnswerBody::kNone;
  const std::string_view rest = ReceivedText().substr(answer_.bytes);
  switch (answer_.body) {
    case HttpAnswerBody::kNone:
      state_ = State::kDone;
      if (!rest.empty()) answer_.keep_alive = false;
      return {};
    case HttpAnswerBody::kLength: {
      FS_RETURN_IF_ERROR(PlaceBody(answer_.content_length));
      body_bytes_ = std::min<uint64_t>(rest.size(), body_.size());
      std::memcpy(body_.data(), rest.data(), body_bytes_);
      state_ = body_bytes_ == body_.size() ? State::kDone : State::kLength;
      if (rest.size() > body_.size()) answer_.keep_alive = false;
      return {};
    }
    case HttpAnswerBody::kChunked:
      state_ = State::kChunked;
      gathered_.Clear();
      chunks_.Reset(options_.body_bytes_max);
      return ReadChunks(rest);
    case HttpAnswerBody::kUntilEnd:
      state_ = State::kUntilEnd;
      gathered_.Clear();
      return Gather(rest);
  }
  return {};
}

// Memory for the body, where what stands behind the JSON is aligned.
Status HttpSession::PlaceBody(uint64_t bytes) {
  if (bytes > options_.body_bytes_max) {
    return ResourceExhausted("the answer has ", bytes, " bytes, this client takes at most ",
                             options_.body_bytes_max);
  }
  constexpr size_t kAlignment = SlabPool::kAlignment;
  const size_t json = answer_.inference_header_length.value_or(0) % kAlignment;
  const size_t offset = (kAlignment - json) % kAlignment;
  BufferRef slab = pool_.Acquire(bytes + offset);
  if (!slab) return OutOfMemory(bytes);
  body_ = slab->bytes().subspan(offset, bytes);
  tensors_.SetMessage(std::move(slab));
  return {};
}

Status HttpSession::ReadChunks(std::string_view received) {
  while (true) {
    const ChunkedReader::Step step = chunks_.Read(received);
    if (step.progress == Http1Progress::kFailed) {
      return Internal("the answer's chunks: ", chunks_.error().message);
    }
    gathered_.Append(step.data);
    received.remove_prefix(step.consumed);
    if (step.progress == Http1Progress::kDone) {
      if (!received.empty()) answer_.keep_alive = false;
      return EndGathered();
    }
    if (received.empty()) return {};
  }
}

Status HttpSession::Gather(std::string_view received) {
  if (received.size() > options_.body_bytes_max - gathered_.size()) {
    return ResourceExhausted("the answer has more than ", options_.body_bytes_max, " bytes");
  }
  gathered_.Append(received);
  return {};
}

Status HttpSession::EndGathered() {
  FS_RETURN_IF_ERROR(PlaceBody(gathered_.size()));
  if (gathered_.size() > 0) std::memcpy(body_.data(), gathered_.view().data(), gathered_.size());
  body_bytes_ = gathered_.size();
  gathered_ = ByteWriter();
  state_ = State::kDone;
  return {};
}

Status HttpSession::Ended() {
  if (state_ == State::kUntilEnd) return EndGathered();
  return Unavailable(has_begun_ ? "the server closed the connection within its answer"
                                : "the server closed the connection without an answer");
}

Status HttpSession::DecodeInfer(InferBody* out) {
  return decoder_.DecodeResponse(body(), answer_.inference_header_length, tensors_, out);
}

}  // namespace fastserve
