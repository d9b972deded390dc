// ControlRequest: a request that the control plane answers: health, metadata, metrics, anything
// that is no inference.
//
// Exactly one Respond each; a control request that is dropped without one is answered with 500.
//
// Threads: confined to the event loop's. An answer from another one is refused.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "gateway/http/body_receiver.h"
#include "gateway/peer.h"
#include "protocol/http1_response.h"

namespace fastserve {

struct ControlRequest;

// Who asked.
class ControlOwner {
 public:
  // Once, and not after it let go of the request (owner = nullptr).
  virtual void AnswerControl(ControlRequest& request, int status, std::string_view body,
                             std::span<const HttpHeader> headers) = 0;
  virtual Peer FindPeer() const = 0;

 protected:
  ~ControlOwner() = default;
};

struct ControlRequest {
  bool is_grpc = false;    // `body` is a message of the RPC `path`.
  bool may_share = false;  // Whether its client may share memory with us; see IsLocalClient.
  std::string method;
  std::string target;  // As received, with the query.
  std::string path;    // Percent-decoded.
  std::string query;
  std::vector<std::pair<std::string, std::string>> headers;
  BodyReceiver body;
  ControlOwner* owner = nullptr;  // Null when answered, or when the client has left.
  bool answered = false;

  explicit ControlRequest(BodyReceiver&& received) : body(std::move(received)) {}
  ~ControlRequest();
  ControlRequest(const ControlRequest&) = delete;
  ControlRequest& operator=(const ControlRequest&) = delete;

  // Errors: FAILED_PRECONDITION when it was answered already, or on a thread that is not the
  // loop's, INVALID_ARGUMENT for a status or a header that cannot be sent. An answer to a client
  // that has left goes nowhere.
  Status Respond(int status, std::string_view body, std::span<const HttpHeader> headers);
  // Whether this is the thread that may answer it, and drop it without an answer.
  bool is_on_its_thread() const { return std::this_thread::get_id() == thread_; }

 private:
  // Of the loop, which makes it.
  const std::thread::id thread_ = std::this_thread::get_id();
};

}  // namespace fastserve
