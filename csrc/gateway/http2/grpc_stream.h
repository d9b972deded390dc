// GrpcStream: an RPC: its messages, put together from data, and its end, in trailers.
//
//   GrpcInferStream      inference.GRPCInferenceService/ModelInfer: a model runs
//   GrpcInferStreams     ModelStreamInfer: many requests and their responses
//   GrpcWatchStream      grpc.health.v1.Health/Watch
//   GrpcControlStream    whatever else the control plane answers
//
// Threads: confined to the loop's.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "gateway/http/body_receiver.h"
#include "gateway/http2/http2_stream.h"
#include "protocol/compression/content_coding.h"
#include "protocol/grpc/grpc_framing.h"

namespace fastserve {

class GrpcStream : public Http2Stream {
 public:
  ~GrpcStream() override { ForgetPending(); }

  // What is wrong with the head is answered.
  void Begin(const Http2Head& head) override;
  size_t OnData(std::string_view data) final;
  void OnEnd() final;
  void OnTimeout() override;

 protected:
  GrpcStream(Http2Connection& connection, int32_t id, const Http2Head& head);

  // A message is complete.
  virtual void OnMessage(BodyReceiver&& message) = 0;
  // The client has said all.
  virtual void OnLastMessage() = 0;
  // Whether more may be taken now; what is not is kept, and the client is not told to send more.
  virtual bool can_take() const { return true; }
  // It can be taken now.
  void TakePending();
  // Whether a client that says nothing is late: of a stream between two messages it is not.
  virtual bool waits_for_message() const { return true; }
  // Whether the first bytes of a message are looked at for where its tensors begin.
  virtual bool has_tensors() const { return false; }

  // The answer's head goes out with its first message.
  void SendHead();
  void SendMessage(const EncodedMessage& message);
  void SendMessage(std::string_view message);
  // The end. Nothing of this stream is sent or taken any more.
  void Finish(Code code, std::string_view message);
  void Finish(const Status& status) { Finish(status.code(), status.message()); }
  bool is_finished() const { return is_finished_; }
  // Whether it has its own access records, of exchanges: then its end is none.
  virtual bool records_itself() const { return false; }
  // How it ended.
  std::optional<Code> end_code() const { return end_code_; }
  // The client has said all, and all of it was taken.
  bool is_received() const { return is_received_; }
  // Of the RPC; counts from its head.
  Nanos rpc_deadline_ns() const { return rpc_deadline_ns_; }

  size_t messages_ = 0;  // Received.
  size_t bytes_out_ = 0;
  const std::string path_;

 private:
  // Returns how much of the data was taken.
  size_t Take(std::string_view data);
  void EndReceiving();
  // What nobody takes any more must not stay in the connection's window, which all streams share.
  void ForgetPending();
  void ReadPrefix(std::string_view* data);
  void BeginMessage(std::string_view data);
  void ReadMessage(std::string_view* data);
  void EndMessage();
  Status TakeEncoding(const Http2Head& head);
  void WriteMessage(bool is_compressed, std::string_view message);

  std::array<char, kGrpcPrefixBytes> prefix_;
  size_t prefix_bytes_ = 0;
  GrpcPrefix message_prefix_;
  bool in_message_ = false;
  bool is_placed_ = false;  // There is memory for the message.
  std::string pending_;     // Received and not yet taken; as much as the stream's window at most.
  BodyReceiver body_;
  Nanos rpc_deadline_ns_ = kNever;
  // Of messages that say that they are compressed; nothing for one that we have not.
  std::optional<ContentCoding> coding_ = ContentCoding::kIdentity;
  ContentCoding answer_coding_ = ContentCoding::kIdentity;
  bool has_head_ = false;     // Of the answer.
  bool has_end_ = false;      // The client has said all,
  bool is_received_ = false;  // and all of it was taken.
  bool is_finished_ = false;
  std::optional<Code> end_code_;
  size_t bytes_in_ = 0;
};

std::unique_ptr<Http2Stream> MakeGrpcStream(Http2Connection& connection, int32_t id,
                                            const Http2Head& head);

}  // namespace fastserve
