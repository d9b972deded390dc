// Connection: one HTTP/1.1 connection without its socket.
//
// Whoever owns the socket (the event loop) reads into GetBuffer and reports what happened; what the
// connection wants of the socket it says to its ConnectionIo. One request is under way at a time,
// so that answers keep the order of their requests; while it is, bytes of the next ones are kept up
// to a limit, and the socket is read on, so that a client that leaves is seen.
//
//   head  -> body      the head is complete, is well-formed and is admitted
//   body  -> busy      the body is complete; it was submitted, or given to the control plane
//   busy  -> head      the answer was handed to the socket
//   busy  -> head      its deadline passed: 504, and the result goes to nobody
//   any   -> closing   an error after which nobody knows where the next request begins, or the end
//
// Errors of a request are answered and the connection goes on; errors of a connection are answered,
// then what still comes is read and dropped for a while (a reset would take the answer away from
// the client), then it is closed.
//
// Memory that cannot be had (std::bad_alloc) ends the connection for which it was wanted, and no
// other; what that held is given back.
//
// Threads: confined to the loop's.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "gateway/debug_snapshot.h"
#include "gateway/exchange.h"
#include "gateway/gateway_stats.h"
#include "gateway/http/client_counts.h"
#include "gateway/http/control_request.h"
#include "gateway/http2/http2_connection.h"
#include "gateway/infer_codec.h"
#include "protocol/http1.h"
#include "protocol/http1_response.h"

namespace fastserve {

class Gateway;

// Who is at the other end. Found out only if somebody wants to know.
// The socket, as a connection sees it. None of these calls back into the connection.
class ConnectionIo {
 public:
  virtual ~ConnectionIo() = default;
  // Sends the parts in order, or keeps them until they can be sent.
  virtual void Write(std::span<const OutputPart> parts) = 0;
  virtual void PauseReading() = 0;
  virtual void ResumeReading() = 0;
  // Sends what was written, then says that no more comes. Reading goes on.
  virtual void FinishWriting() = 0;
  // Sends what was written, then closes.
  virtual void Close() = 0;
  // Closes at once; what was written may be lost.
  virtual void Abort() = 0;
  // Now, if it can still be known.
  virtual Peer FindPeer() { return {}; }
};

// What Retry-After says of a model that is expected to answer in so long: 1 to 60 whole seconds.
uint32_t RetryAfterSeconds(Nanos expected_wait);

class Connection final : private ExchangeOwner, private ControlOwner, private Http2Host {
 public:
  // `peer` is needed for an access log and for a limit per client.
  Connection(Gateway& gateway, ConnectionIo& io, Peer peer, Nanos now);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Where the socket's next bytes go; never empty. Good until BufferUpdated.
  std::span<std::byte> GetBuffer();
  // Of the buffer that GetBuffer gave last.
  size_t buffer_bytes() const;
  // True when the next GetBuffer is the buffer that all connections share.
  bool reads_into_shared_buffer() const { return state_ != State::kBody; }
  // What keeps GetBuffer's bytes alive when they are not shared.
  const BufferRef& body_owner() const { return exchange_->body.owner(); }
  // `bytes` of it were filled.
  void BufferUpdated(size_t bytes);

  // The socket is gone; nothing of `io` is called any more. `end` is why, unless the connection
  // knows of an earlier reason.
  void Lost(ConnectionEnd end = ConnectionEnd::kClient) noexcept;
  // The socket has more to send than it likes; no further request is begun until it has less.
  void PauseWriting();
  void ResumeWriting();

  // The map of what is served has changed: a request whose body still arrives is for the version
  // that its path names now. So one that dawdles keeps no version that was retired.
  void FindServableAgain();
  // Called when the deadline of the present phase may have passed.
  void CheckDeadline(Nanos now);
  Nanos deadline_ns() const { return http2_ ? http2_->deadline_ns() : deadline_ns_; }
  // The server drains: closes when its grace is over and nothing is under way, else after the
  // answer.
  void BeginDrain(Nanos now);

  // For a DebugSnapshot.
  size_t state_number() const;
  void DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const;

 private:
  friend class ConnectionList;
  enum class State : uint8_t { kHead, kBody, kChunks, kBusy, kHttp2, kLingering, kClosed };

  void AnswerInference(Exchange& exchange, Nanos now) override;
  void AnswerPart(Exchange& exchange, Nanos now) override;
  void AnswerLate(Exchange& exchange, Nanos now) override;
  void AnswerControl(ControlRequest& request, int status, std::string_view body,
                     std::span<const HttpHeader> headers) override;
  Peer FindPeer() const override { return peer_.address.empty() ? io_.FindPeer() : peer_; }

  void WriteHttp2(std::span<const OutputPart> parts) override { io_.Write(parts); }
  void CloseHttp2(ConnectionEnd end) override { Close(end); }
  void AbortHttp2(ConnectionEnd end) override { Abort(end); }
  Peer PeerHttp2() const override { return FindPeer(); }

  // Whether the connection begins with HTTP/2's preface; as long as it may, more is waited for.
  bool MayBeHttp2(std::string_view data);
  void BeginHttp2();

  void FindServable();
  void TakeReceived(size_t bytes);
  // Takes as much of `data` as it can now; returns how much.
  size_t Consume(std::string_view data);
  size_t ConsumeHead(std::string_view data);
  size_t ConsumeBody(std::string_view data);
  size_t ConsumeChunks(std::string_view data);
  void ConsumePending();
  void LimitPending();

  void BeginRequest();
  void BeginBody();
  void RefuseBody(const Status& status);
  void Dispatch();
  void DispatchControl();
  // A request that was read to its end and goes no further: is answered so.
  void Fail(Code code, int http_status, std::string_view message);
  // The answer was handed to the socket: what comes next?
  void EndRequest();

  void RefuseIfTooMany();
  void EncodeAndSend();
  // Of a stream of events: those that are ready, unless the client reads too slowly;
  void SendEvents();
  // and the rest of them, how it ended included.
  void EndEvents(const Status& status);
  void WriteEvents(std::string_view events, bool is_last);
  // Answers {"error": ...} to a request that was read to its end.
  void AnswerError(int status, std::string_view message);
  // The same, and closes: the request was not read to its end, or its end is unknown.
  void Refuse(ConnectionEnd end, int status, std::string_view message);
  // `tensors` follow `body`. Fills in what every answer has.
  void Send(Http1ResponseHead head, std::string_view body, std::span<const OutputPart> tensors);
  void Complete(Http1ResponseHead* head);
  void NoteSent(int status, size_t bytes);
  Nanos ExpectedWait() const;
  void RecordAccess(int status, size_t bytes_out);

  // Runs what an event of the loop asks for; ends the connection when memory is lacking.
  template <typename Body>
  void Guarded(Body&& body) {
    try {
      body();
    } catch (const std::bad_alloc&) {
      FailForLackOfMemory();
    }
  }
  void FailForLackOfMemory() noexcept;
  // Of the request that is under way, whoever has it.
  void LetGoOfRequest() noexcept;
  bool is_idle() const { return state_ == State::kHead && !head_has_begun_; }
  // When a connection without a request is closed, from now on.
  void BeginIdling(Nanos timeout);
  // The first one counts.
  void SetEnd(ConnectionEnd end);
  void Close(ConnectionEnd end);
  void Abort(ConnectionEnd end);
  void DropExchange() noexcept;
  // Takes the bytes that wait, if the next request may begin.
  void GoOn();

  Gateway& gateway_;
  ConnectionIo& io_;
  const Peer peer_;
  ClientCounts::Verdict verdict_ = ClientCounts::Verdict::kUncounted;
  State state_ = State::kHead;
  bool has_end_ = false;
  ConnectionEnd end_ = ConnectionEnd::kClient;
  bool consuming_ = false;
  bool reads_into_body_ = false;  // The buffer that was given out.
  bool writing_paused_ = false;
  bool has_sent_events_ = false;  // The head of a stream of them is sent.
  size_t event_bytes_ = 0;
  bool reading_paused_ = false;
  bool keep_alive_ = true;
  bool is_http10_ = false;
  bool is_head_request_ = false;
  bool head_has_begun_ = false;
  bool is_first_head_ = true;
  Nanos now_;          // When the loop last called.
  Nanos deadline_ns_;  // When the client must have done what this phase waits for.
  const Nanos opened_ns_;
  Nanos first_byte_ns_ = 0;

  Http1HeadReader head_reader_;
  Http1Head head_;
  ChunkedReader chunks_;
  std::string pending_;  // Received and not yet taken.
  // The request that is received or under way. The scheduler has it while it is_submitted.
  Exchange* exchange_ = nullptr;
  std::shared_ptr<ControlRequest> control_;  // While it is received.
  ControlRequest* answering_ = nullptr;      // While the control plane has it.
  // What to answer when the body is there: the head alone was reason enough, but the connection
  // goes on only if the body is read.
  HttpError refusal_{.status = 0, .message = {}};

  // Once the first bytes were those of HTTP/2.
  std::unique_ptr<Http2Connection> http2_;

  Connection* previous_ = nullptr;  // In the gateway's list.
  Connection* next_ = nullptr;
};

}  // namespace fastserve
