// HttpSession: a client's side of one HTTP/1.1 connection, one exchange after the other.
//
//   session.BeginInfer(request, owners, head, /*binary=*/true, &output);
//   io.Write(output.parts());
//   while (!session.is_done()) {
//     const size_t n = io.Read(session.GetBuffer());
//     status = n > 0 ? session.Received(n) : session.Ended();
//   }
//   session.DecodeInfer(&answer);
//
// The answer's body is received where its first binary tensor will be aligned to 64 bytes, and
// tensors are views of it.
//
// Whoever has an error of Received or Ended closes the connection.
// Threads: none; belongs to one connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/status.h"
#include "client/received_tensors.h"
#include "memory/slab_pool.h"
#include "protocol/byte_writer.h"
#include "protocol/client/http1_request.h"
#include "protocol/client/http1_response_reader.h"
#include "protocol/http2/http2_output.h"
#include "protocol/kserve_rest.h"

namespace fastserve {

class HttpSession {
 public:
  struct Options {
    uint64_t body_bytes_max = uint64_t{4} << 30;
  };

  // `pool` outlives the session. Errors: RESOURCE_EXHAUSTED.
  static Result<std::unique_ptr<HttpSession>> Create(const Options& options, SlabPool& pool);

  // What is to be sent goes to `output`. The answer before has been read whole.
  // Errors: INVALID_ARGUMENT: nothing is to be sent then.
  Status Begin(const Http1RequestHead& head, std::string_view body, Http2Output* output);
  // `owners` has one for each input. The lengths in `head` are filled in.
  Status BeginInfer(const InferBody& request, std::span<const BufferRef> owners,
                    Http1RequestHead head, bool binary, Http2Output* output);

  // Where the next bytes are to be received; never empty while the answer is not done.
  std::span<std::byte> GetBuffer();
  // `bytes` of it were. Errors: INTERNAL for what is no answer; RESOURCE_EXHAUSTED.
  Status Received(size_t bytes);
  // The server closed the connection. Errors: UNAVAILABLE unless that ends the answer.
  Status Ended();

  bool is_done() const { return state_ == State::kDone; }
  // Anything of the answer has come.
  bool has_begun() const { return has_begun_; }
  // After the answer: the connection may be used again.
  bool is_reusable() const { return is_done() && answer_.keep_alive; }

  // -- The answer, until the next Begin.
  const Http1Answer& answer() const { return answer_; }
  std::span<const std::byte> body() const { return body_.subspan(0, body_bytes_); }
  // Errors: INTERNAL for what is no answer of an inference.
  Status DecodeInfer(InferBody* out);
  BufferRef OwnerOf(std::span<const std::byte> bytes) const { return tensors_.OwnerOf(bytes); }

 private:
  enum class State : uint8_t { kIdle, kHead, kLength, kChunked, kUntilEnd, kDone };

  HttpSession(const Options& options, SlabPool& pool, BufferRef receive)
      : options_(options), pool_(pool), receive_(std::move(receive)), tensors_(pool) {}

  void Start(std::string_view method);
  Status ReadHead();
  Status StartBody();
  Status PlaceBody(uint64_t bytes);
  Status ReadChunks(std::string_view received);
  Status Gather(std::string_view received);
  Status EndGathered();
  std::string_view ReceivedText() const {
    return {reinterpret_cast<const char*>(receive_->data()), filled_};
  }

  const Options options_;
  SlabPool& pool_;
  const BufferRef receive_;  // Heads, and what is not placed yet.
  size_t filled_ = 0;
  State state_ = State::kIdle;
  bool has_begun_ = false;
  bool is_head_request_ = false;
  Http1ResponseReader reader_{{.head_bytes_max = size_t{32} << 10}};
  Http1Answer answer_;  // Views of `receive_`.
  ChunkedReader chunks_;
  ByteWriter gathered_;  // Of a body whose length is not known.
  std::span<std::byte> body_;
  uint64_t body_bytes_ = 0;  // That are there.
  ByteWriter json_;
  KserveRestDecoder decoder_;
  ReceivedTensors tensors_;
};

}  // namespace fastserve
