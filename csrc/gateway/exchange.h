// Exchange: one inference over the network, from the head of its request to the last byte of its
// answer.
//
// It carries what the phases hand to each other: the connection fills the body, the codec binds it
// to the model, the scheduler gives it back through ResponseSink, and the connection sends the
// answer. Exchanges are reused (Gateway keeps a pool), with the capacity of their vectors.
//
// Threads: all members belong to the loop's thread, except from Servable::Submit until it comes out
// of the CompletionQueue: then `request` and what is said to be from the scheduler are the
// scheduler's, who looks at no other member but `notes_end`, and of `request` the loop may touch
// `cancelled` only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/completion_queue.h"
#include "gateway/http/body_receiver.h"
#include "gateway/http/router.h"
#include "gateway/memory/shared_tensors.h"
#include "gateway/memory/tensor_arena.h"
#include "gateway/streamed_responses.h"
#include "protocol/compression/content_coding.h"
#include "protocol/http1_response.h"
#include "serving/inference_request.h"
#include "serving/servable.h"

namespace fastserve {

class Exchange;

// Who has an exchange under way, and is told what became of it.
class ExchangeOwner {
 public:
  // It has ended: to be answered, and given back to the gateway.
  virtual void AnswerInference(Exchange& exchange, Nanos now) = 0;
  // It has not, and its deadline has passed: to be answered so, and abandoned.
  virtual void AnswerLate(Exchange& exchange, Nanos now) = 0;
  // One that streams: more is `ready`.
  virtual void AnswerPart(Exchange&, Nanos) {}

 protected:
  ~ExchangeOwner() = default;
};

// An output that the answer shall have.
struct WantedOutput {
  size_t index;  // In Servable::outputs().
  bool binary;
  uint32_t classification = 0;  // So many of its classes in place of it.
};

class Exchange final : public CompletionLink, public ResponseSink {
 public:
  Exchange(std::shared_ptr<CompletionQueue> queue, std::shared_ptr<Admission> admission,
           std::shared_ptr<SlabPool> pool);

  // ResponseSink: on any thread.
  void OnResponse(InferenceRequest& request, std::span<ResponseOutput> outputs) override;
  void OnEnd(RequestPtr request, Status status) override;

  // Gives the body as the client meant it: plain.
  Status Decompress() { return body.Decompress(coding, inference_header_length); }

  // Counts, for its model if it has one, that it failed before the scheduler had it;
  void CountFailure(Code code) const;
  // that its answer was handed over.
  void CountAnswer() const;

  // Called when it has come out of the queue (or never went in): as new.
  void Clear(const std::shared_ptr<CompletionQueue>& queue) noexcept;
  static constexpr size_t kNoDeadline = SIZE_MAX;

  ExchangeOwner* owner = nullptr;  // Null when the client has left, or has its answer.
  ServableHandle servable;
  bool is_submitted = false;            // The scheduler has it.
  bool is_in_flight = false;            // It is counted so; of HTTP/2 alone.
  size_t deadline_index = kNoDeadline;  // In the gateway's DeadlineList.

  // From the head.
  InferFormat format = InferFormat::kKserve;
  // As the path names them; the model's only once the map has changed meanwhile.
  std::string model_asked;
  std::string version_asked;
  uint64_t map_changes = 0;  // When `servable` was found.
  std::optional<uint64_t> inference_header_length;
  Nanos timeout = kNever;                           // From the request's arrival.
  ContentCoding coding = ContentCoding::kIdentity;  // Of the body, until it is decompressed.
  AcceptedCoding accepted;                          // For the answer.
  // Whether its client may share memory with us; nothing when nobody had shared any.
  std::optional<bool> may_share;
  bool wants_timing = false;
  bool notes_end = false;  // OnEnd is to note when it was called.
  bool is_traced = false;
  std::span<const HttpHeader> cors;  // Of its answer; the gateway's CorsPolicy has them.
  size_t head_bytes = 0;
  std::string method;  // Only with an access log or a trace, as is the path.
  std::string path;

  BodyReceiver body;
  TensorArena arena;  // Tensors that the body does not hold as they are.
  SharedTensors shared;

  // From the body.
  size_t body_bytes = 0;
  std::string id;
  bool has_id = false;
  std::vector<WantedOutput> wanted;
  InferenceRequest request;

  // From the scheduler.
  std::vector<ResponseOutput> outputs;  // Of the first response, unless it streams.
  size_t responses = 0;
  bool lacks_memory = false;  // For them.
  Status end;
  Nanos ended_ns = 0;  // When it was called, if notes_end.

  // Whether each response is handed over as it comes, by the loop into `ready`.
  bool streams = false;
  StreamedResponses streamed;
  std::deque<StreamedResponses::Response> ready;

  Nanos first_byte_ns = 0;
  Nanos received_ns = 0;

 private:
  std::shared_ptr<CompletionQueue> queue_;  // Null while it is in the queue.
};

}  // namespace fastserve
