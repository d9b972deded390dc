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
  void DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const override;

 private:
  void OnAnswer(Exchange& exchange) override;
  void OnLate(Exchange& exchange) override;
  void OnControlAnswer(int status, std::string_view body,
                       std::span<const HttpHeader> headers) override;

  void Dispatch();
  void FailBody(const Status& status);
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
};

}  // namespace fastserve
