#include "gateway/http2/grpc_watch_stream.h"

#include <algorithm>
#include <utility>

#include "gateway/http2/grpc_calls.h"

namespace fastserve {
namespace {

// Names of services and models are shorter.
constexpr size_t kAskedBytesMax = 4096;

}  // namespace

void GrpcWatchStream::OnMessage(BodyReceiver&& message) {
  const std::span<const std::byte> bytes = message.bytes();
  if (messages_ > 1) return Finish(InvalidArgument("Watch takes exactly one message"));
  if (bytes.size() > kAskedBytesMax) {
    return Finish(InvalidArgument("the message has ", bytes.size(), " bytes, at most ",
                                  kAskedBytesMax, " make a service's name"));
  }
  asked_.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void GrpcWatchStream::OnLastMessage() {
  if (messages_ == 0) return Finish(InvalidArgument("the request has no message"));
  if (const Status status = Ask(); !status.ok()) Finish(status);
}

Status GrpcWatchStream::Ask() {
  BodyReceiver message = NewBody();
  message.StartChunked(std::nullopt);
  FS_RETURN_IF_ERROR(message.Append(asked_));
  message.FinishChunked();
  // The next one; while this one is not answered none is due.
  deadline_ns_ = rpc_deadline_ns();
  DispatchControl(MakeRpc(path_, std::move(message)));
  return {};
}

void GrpcWatchStream::OnTimeout() {
  if (!is_received() || now() >= rpc_deadline_ns()) return GrpcStream::OnTimeout();
  // Without memory for it now, it is asked a second later.
  if (!Ask().ok()) deadline_ns_ = std::min(now() + kAskEvery, rpc_deadline_ns());
}

void GrpcWatchStream::OnDrain() {
  is_ending_ = true;
  if (answering_ != nullptr) return;
  if (!is_received() || !Ask().ok()) Finish(Code::kUnavailable, "the server is ending");
}

void GrpcWatchStream::OnControlAnswer(int status, std::string_view body,
                                      std::span<const HttpHeader> headers) {
  if (is_finished()) return;  // Its deadline was faster.
  const GrpcControlAnswer answer = ReadGrpcControlAnswer(status, headers);
  if (answer.code != Code::kOk) return Finish(answer.code, answer.message);
  if (!std::exchange(has_said_, true) || body != said_) {
    said_ = body;
    SendMessage(body);
  }
  if (is_ending_) return Finish(Code::kUnavailable, "the server is ending");
  deadline_ns_ = std::min(now() + kAskEvery, rpc_deadline_ns());
}

void GrpcWatchStream::DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const {
  if (answering_ != nullptr) out->push_back(Describe(nullptr, now));
}

}  // namespace fastserve
