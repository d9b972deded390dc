// RestStream: an HTTP request of an HTTP/2 connection: what HTTP/1.1 takes, answered alike.
//
// Threads: confined to the loop's.
#pragma once

#include <optional>
#include <string>

#include "gateway/http2/http2_stream.h"
#include "protocol/http1.h"

namespace fastserve {

class RestStream final : public Http2Stream {
 public:
  RestStream(Http2Connection& connection, int32_t id) : Http2Stream(connection, id) {}

  void Begin(const Http2Head& http2_head) override;
  size_t OnData(std::string_view data) override;
  void OnEnd() override;
  void OnTimeout() override;
  void FindServableAgain() override;
  void OnSent() override;
  void DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const override;

 private:
  // Of events that the client does not take.
  static constexpr size_t kUnsentMax = 1 << 20;

  void AnswerPart(Exchange& exchange, Nanos now) override;
  void OnAnswer(Exchange& exchange) override;
  void OnLate(Exchange& exchange) override;
  void OnControlAnswer(int status, std::string_view body,
                       std::span<const HttpHeader> headers) override;

  void Dispatch();
  void FailBody(const Status& status);
  // Of a stream of events: those that are ready, unless the client reads too slowly;
  void SendEvents();
  // and the rest of them, how it ended included.
  void EndEvents(const Status& status);
  void WriteEvents(std::string_view events);
  void AnswerError(int status, std::string_view message);
  void Send(Http1ResponseHead head, std::string_view body, std::span<const OutputPart> tensors);

  OwnedExchange exchange_;  // From the head to the answer.
  std::shared_ptr<ControlRequest> control_;
  std::string model_;  // As the path names it.
  HttpError refusal_{.status = 0, .message = {}};
  bool is_head_request_ = false;
  bool has_length_ = false;  // Of the body.
  bool is_received_ = false;
  bool is_answered_ = false;
  bool has_sent_events_ = false;  // The head of a stream of them is sent.
  size_t event_bytes_ = 0;
};

}  // namespace fastserve
