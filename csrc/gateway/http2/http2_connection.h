// Http2Connection: an HTTP/2 connection without its socket: the requests of its streams.
//
// A Connection whose first bytes are HTTP/2's preface hands all its bytes to one of these. REST and
// gRPC are told apart by the content type; each request is an Http2Stream.
//
// What is to be sent is sent once for all streams: at the end of the loop's iteration when
// something runs in it, else when what was received is taken.
//
// Limits: streams at a time (the client is told), bytes of heads, and how often a client may do
// what is of no use (reset streams, send empty frames): a budget that grows with time, beyond which
// the connection ends with ENHANCE_YOUR_CALM.
//
// Threads: confined to the loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "gateway/debug_snapshot.h"
#include "gateway/gateway_stats.h"
#include "gateway/peer.h"
#include "protocol/http2/http2_session.h"

namespace fastserve {

class Gateway;
class Http2Stream;

// The socket's owner, as HTTP/2 sees it.
class Http2Host {
 public:
  virtual void WriteHttp2(std::span<const OutputPart> parts) = 0;
  // Sends what was written, then closes.
  virtual void CloseHttp2(ConnectionEnd end) = 0;
  virtual void AbortHttp2(ConnectionEnd end) = 0;
  virtual Peer PeerHttp2() const = 0;

 protected:
  ~Http2Host() = default;
};

// Something that may be done now and then: `burst` times at once, `per_second` times for long.
class RateBudget {
 public:
  RateBudget(double burst, double per_second) : left_(burst), burst_(burst), rate_(per_second) {}

  // False when it was done too often.
  bool Take(uint64_t times, Nanos now);

 private:
  double left_;
  const double burst_;
  const double rate_;
  Nanos at_ = 0;
};

class Http2Connection final : private Http2Events {
 public:
  // Errors: RESOURCE_EXHAUSTED.
  static Result<std::unique_ptr<Http2Connection>> Create(Gateway& gateway, Http2Host& host,
                                                         Nanos now);
  // Lets go of all requests.
  ~Http2Connection() override;
  Http2Connection(const Http2Connection&) = delete;
  Http2Connection& operator=(const Http2Connection&) = delete;

  void Receive(std::string_view data, Nanos now);
  // Sends what may be sent now, and closes what is over.
  void Flush() noexcept;

  void PauseWriting() { writing_paused_ = true; }
  void ResumeWriting(Nanos now);
  void CheckDeadline(Nanos now) noexcept;
  // When the next CheckDeadline is due while the server drains.
  Nanos deadline_ns() const { return drain_is_over_ ? kNever : drain_deadline_ns_; }
  void BeginDrain(Nanos now);
  void FindServablesAgain();

  bool has_requests() const { return !streams_.empty(); }
  void DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const;

  // -- For its streams.

  Gateway& gateway() { return gateway_; }
  Http2Session& session() { return *session_; }
  Nanos now() const { return now_; }
  void SetNow(Nanos now) { now_ = now; }
  Peer FindPeer() const { return host_.PeerHttp2(); }
  // Something is to be sent: soon, and never within this call.
  void WantFlush();
  // Memory is lacking: the connection ends, and no other.
  void FailForLackOfMemory() noexcept;
  // The answer to this stream is complete, but the client has more to say: it may stop.
  void StopReceiving(int32_t stream) { to_reset_.push_back(stream); }

 private:
  friend class Gateway;
  Http2Connection(Gateway& gateway, Http2Host& host, Nanos now);

  void* OnHead(int32_t stream, const Http2Head& head) override;
  void OnData(int32_t stream, void* context, std::string_view data) override;
  void OnEnd(int32_t stream, void* context) override;
  void OnClosed(int32_t stream, void* context, uint32_t error) override;

  void CheckRates();
  void CheckTimes(Nanos now);
  void CheckStreams(Nanos now);
  // True when the client is gone.
  bool CheckKeepalive(Nanos now);
  void BeginEnd(ConnectionEnd end, Nanos now);
  void SendAll();
  void End();

  Gateway& gateway_;
  Http2Host& host_;
  std::unique_ptr<Http2Session> session_;
  std::vector<std::unique_ptr<Http2Stream>> streams_;
  std::vector<int32_t> to_reset_;
  RateBudget resets_;
  RateBudget glitches_;
  Http2Counts seen_;
  Nanos now_;
  Nanos received_ns_;         // When something was received last.
  Nanos progress_ns_;         // When something was sent last, or nothing was to be sent.
  const Nanos age_ends_ns_;   // When it is as old as it may be.
  Nanos pinged_ns_ = kNever;  // When the client was asked whether it is there; nothing came since.
  Nanos idle_since_ns_;       // Since when there is no stream.
  Nanos drain_deadline_ns_ = kNever;
  bool drain_is_over_ = false;  // New streams are refused.
  uint64_t sent_ = 0;           // At progress_ns_.
  bool receiving_ = false;
  bool writing_paused_ = false;
  bool is_dirty_ = false;  // In the gateway's list of those that have something to send.
  bool is_over_ = false;   // What there is to say is said, then it ends.
  bool has_ended_ = false;
  ConnectionEnd end_ = ConnectionEnd::kClient;
};

}  // namespace fastserve
