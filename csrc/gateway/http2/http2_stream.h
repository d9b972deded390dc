// Http2Stream: one request over HTTP/2 and its answer. RestStream and the gRPC streams say what it
// means; this is what they share.
//
// Threads: confined to the loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "gateway/exchange.h"
#include "gateway/gateway.h"
#include "gateway/http/control_request.h"
#include "gateway/http2/http2_connection.h"
#include "gateway/memory/local_client.h"

namespace fastserve {

class Http2Stream : public ExchangeOwner, public ControlOwner {
 public:
  Http2Stream(Http2Connection& connection, int32_t id);
  // Lets go of a control request that is not answered yet.
  virtual ~Http2Stream();
  Http2Stream(const Http2Stream&) = delete;
  Http2Stream& operator=(const Http2Stream&) = delete;

  // What its head asks for; once, before anything else. Not the constructor's: memory that is
  // lacking half-way takes the stream with it, and what the stream holds by then.
  virtual void Begin(const Http2Head& head) = 0;
  // A piece of the body. Returns how much of it the client may send anew; of the rest the stream
  // says so later.
  virtual size_t OnData(std::string_view data) = 0;
  virtual void OnEnd() = 0;
  // What it waits for did not come in time.
  virtual void OnTimeout() = 0;
  virtual void FindServableAgain() {}
  // The server ends: what is under way is answered, and no more is taken.
  virtual void OnDrain() {}
  // Something of its answers was sent.
  virtual void OnSent() {}
  virtual void DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const = 0;

  // When the client must have done what is waited for.
  Nanos deadline_ns() const { return deadline_ns_; }

  // Where it stands among the connection's.
  size_t index = 0;

 protected:
  // What gateway.h keeps for those that hold requests.
  Gateway& gateway() const { return connection_.gateway(); }
  const GatewayOptions& options() const { return gateway().options_; }
  Http2Session& session() const { return connection_.session(); }
  Nanos now() const { return connection_.now(); }
  InferCodec& codec() const { return gateway().codec_; }
  GatewayStats& stats() const { return gateway().stats_; }

  struct ExchangeDeleter {
    Http2Stream* stream = nullptr;
    void operator()(Exchange* exchange) const noexcept { stream->LetGo(exchange); }
  };
  using OwnedExchange = std::unique_ptr<Exchange, ExchangeDeleter>;

  // An exchange of this stream.
  OwnedExchange NewExchange();
  // From here on it is one of those in flight.
  void Submit(Exchange* exchange);
  BodyReceiver NewBody() const { return {gateway().admission_, gateway().pool_}; }
  // Whether the client may share memory with us.
  bool MayShare(const Http2Head& head) const { return IsLocalClient(FindPeer(), head); }
  ServableHandle FindServable(std::string_view model, std::string_view version) const {
    return gateway().serving_.Find(model, version);
  }
  uint64_t map_changes() const { return gateway().serving_map_->changes(); }
  // As Gateway::BeginTrace, which is for those who may ask it.
  void BeginTrace(Exchange* exchange, std::string_view method, std::string_view path) {
    gateway().BeginTrace(exchange, method, path);
  }
  const CorsPolicy& cors() const { return gateway().cors_; }
  void RecordAccess(const Exchange* exchange, int status, size_t bytes_out,
                    std::optional<Code> grpc_code = {});
  // Of an RPC without an exchange, which ended.
  void RecordRpc(std::string_view path, Code code, size_t bytes_in, size_t bytes_out);

  void DispatchControl(std::shared_ptr<ControlRequest> request);
  std::string_view Date() const { return gateway().DateAt(now()); }
  EncodedBody& encoded() const { return gateway().encoded_; }
  EncodedMessage& message() const { return gateway().message_; }
  AnswerCompressor& compressor() const { return gateway().compressor_; }

  InFlightRequest Describe(const Exchange* exchange, Nanos now) const;
  Peer FindPeer() const override { return connection_.FindPeer(); }

  // As the answers of ExchangeOwner and ControlOwner, but may throw std::bad_alloc, which ends the
  // connection.
  virtual void OnAnswer(Exchange& exchange) = 0;
  virtual void OnLate(Exchange& exchange) = 0;
  virtual void OnControlAnswer(int status, std::string_view body,
                               std::span<const HttpHeader> headers) = 0;

  Http2Connection& connection_;
  const int32_t id_;
  const Nanos first_byte_ns_;
  Nanos deadline_ns_ = kNever;
  ControlRequest* answering_ = nullptr;  // While the control plane has it.

  // Memory that is lacking in it ends the connection.
  template <typename Body>
  void Guarded(Body&& body) noexcept {
    try {
      body();
    } catch (const std::bad_alloc&) {
      connection_.FailForLackOfMemory();
    }
  }

 private:
  void AnswerInference(Exchange& exchange, Nanos now) final;
  void AnswerLate(Exchange& exchange, Nanos now) final;
  void AnswerControl(ControlRequest& request, int status, std::string_view body,
                     std::span<const HttpHeader> headers) final;
  void EndControl() noexcept;
  // To be used again: now, or when the scheduler has done with it.
  void LetGo(Exchange* exchange) noexcept;

  bool has_control_ = false;  // It is counted among those in flight.
};

// The stream that a head begins.
std::unique_ptr<Http2Stream> MakeHttp2Stream(Http2Connection& connection, int32_t id,
                                             const Http2Head& head);

}  // namespace fastserve
