// The third part of Connection: what it waits for, and how it ends.
#include <algorithm>
#include <utility>

#include "gateway/gateway.h"
#include "gateway/http/connection.h"

namespace fastserve {

void Connection::Lost(ConnectionEnd end) noexcept {
  if (previous_ == this) return;
  SetEnd(end);
  LetGoOfRequest();
  state_ = State::kClosed;
  DropExchange();
  http2_.reset();
  gateway_.clients_.Leave(peer_.address, verdict_);
  gateway_.connections_.Remove(this);
  gateway_.stats_.connections_closed.Add();
  gateway_.stats_.closes[static_cast<size_t>(end_)].Add();
}

void Connection::LetGoOfRequest() noexcept {
  if (answering_ != nullptr) std::exchange(answering_, nullptr)->owner = nullptr;
  if (state_ != State::kBusy) return;
  if (exchange_ != nullptr && exchange_->is_submitted) {
    // It ends there, before it runs if it has not begun.
    gateway_.Abandon(std::exchange(exchange_, nullptr));
  } else {
    --gateway_.in_flight_;
  }
}

void Connection::FailForLackOfMemory() noexcept {
  consuming_ = false;
  if (http2_) return http2_->FailForLackOfMemory();
  LetGoOfRequest();
  consuming_ = false;
  gateway_.encoded_.tensors.clear();  // Owners are let go.
  Abort(ConnectionEnd::kError);
}

void Connection::PauseWriting() {
  writing_paused_ = true;
  if (http2_) return http2_->PauseWriting();
  // The answer that is under way is not what it waits for; who was refused is not waited for.
  const bool waits_for_it = state_ != State::kBusy || has_sent_events_;
  if (!waits_for_it || state_ == State::kLingering) return;
  deadline_ns_ = now_ + gateway_.options_.idle_timeout;
}

void Connection::ResumeWriting() {
  writing_paused_ = false;
  now_ = NowNanos();
  if (http2_) return http2_->ResumeWriting(now_);
  if (state_ == State::kBusy && has_sent_events_) {
    deadline_ns_ = kNever;
    return Guarded([this] { SendEvents(); });
  }
  if (state_ != State::kHead) return;
  if (head_has_begun_) {
    deadline_ns_ = first_byte_ns_ + gateway_.options_.head_timeout;
  } else {
    BeginIdling(gateway_.options_.idle_timeout);
  }
  Guarded([this] { ConsumePending(); });
}

void Connection::BeginIdling(Nanos timeout) {
  if (gateway_.is_draining_) {
    timeout = std::min(timeout, gateway_.options_.drain_grace);
    gateway_.WakeAt(now_ + timeout, now_);
  }
  deadline_ns_ = now_ + timeout;
}

void Connection::BeginDrain(Nanos now) {
  if (http2_) return Guarded([&] { http2_->BeginDrain(now); });
  if (is_idle()) deadline_ns_ = std::min(deadline_ns_, now + gateway_.options_.drain_grace);
}

void Connection::CheckDeadline(Nanos now) {
  if (state_ == State::kHttp2) return http2_->CheckDeadline(now);
  if (now < deadline_ns_) return;
  now_ = now;
  // What was written is still sent, also to who reads slowly.
  if (gateway_.is_draining_ && is_idle()) return Close(ConnectionEnd::kDrain);
  if (writing_paused_) {
    LetGoOfRequest();  // Of a stream of events that nobody reads.
    return Abort(ConnectionEnd::kWriteStalled);
  }
  Guarded([this] {
    switch (state_) {
      case State::kHead:
        if (is_idle()) return Close(ConnectionEnd::kIdle);
        return Refuse(ConnectionEnd::kHeadTimeout, 408,
                      "the request's head did not arrive in time");
      case State::kBody:
      case State::kChunks:
        return Refuse(ConnectionEnd::kBodyTimeout, 408,
                      "the request's body did not arrive in time");
      default:
        return Abort(ConnectionEnd::kClient);
    }
  });
}

void Connection::SetEnd(ConnectionEnd end) {
  if (!std::exchange(has_end_, true)) end_ = end;
}

void Connection::Close(ConnectionEnd end) {
  SetEnd(end);
  state_ = State::kClosed;
  deadline_ns_ = now_ + gateway_.options_.idle_timeout;  // For a client that does not read.
  io_.Close();
}

void Connection::Abort(ConnectionEnd end) {
  SetEnd(end);
  state_ = State::kClosed;  // The socket may still report this and that before it is lost.
  deadline_ns_ = kNever;
  DropExchange();
  io_.Abort();
}

size_t Connection::state_number() const {
  switch (state_) {
    case State::kHead:
      return head_has_begun_ ? 1 : 0;
    case State::kBody:
    case State::kChunks:
      return 2;
    case State::kBusy:
      return 3;
    case State::kHttp2:
      return http2_->has_requests() ? 3 : 0;
    case State::kLingering:
      return 4;
    case State::kClosed:
      break;
  }
  return 5;
}

void Connection::DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const {
  if (http2_) return http2_->DescribeTo(now, out);
  if (exchange_ == nullptr || state_ == State::kLingering) return;
  const Exchange& exchange = *exchange_;
  InFlightRequest described;
  if (exchange.servable) {
    described.model = exchange.servable->name();
    described.version = exchange.servable->version_text();
    described.id = exchange.id;
  }
  const bool is_received = state_ == State::kBusy;
  described.phase = !is_received ? "receive" : answering_ != nullptr ? "control" : "model";
  described.peer = FindPeer().Text();
  described.age = now - first_byte_ns_;
  described.deadline_ns = gateway_.deadlines_.DeadlineOf(exchange);
  described.body_bytes = is_received ? exchange.body_bytes : exchange.body.bytes().size();
  out->push_back(std::move(described));
}

}  // namespace fastserve
