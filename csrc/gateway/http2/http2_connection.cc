#include "gateway/http2/http2_connection.h"

#include <algorithm>
#include <new>
#include <utility>

#include "gateway/gateway.h"
#include "gateway/http2/http2_stream.h"

namespace fastserve {
namespace {

// What a client may do for no purpose. Deadlines that pass reset streams, too.
constexpr double kResetsBurst = 500;
constexpr double kResetsPerSecond = 200;
constexpr double kGlitchesBurst = 1000;
constexpr double kGlitchesPerSecond = 100;

// A client that was asked whether it is there has this long to say so; gRPC's servers wait as long.
constexpr Nanos kKeepaliveTimeout = 20 * kSecond;

// A tenth sooner or later, so that connections that began together do not end together.
Nanos AgeEnd(Nanos age, Nanos now) {
  if (age == 0) return kNever;
  constexpr Nanos kSteps = 1000;
  return now + age - age / 10 + age / 5 * (now / 64 % kSteps) / kSteps;
}

}  // namespace

bool RateBudget::Take(uint64_t times, Nanos now) {
  left_ = std::min(burst_, left_ + rate_ * static_cast<double>(now - at_) / kSecond);
  at_ = now;
  left_ -= static_cast<double>(times);
  return left_ >= 0;
}

Result<std::unique_ptr<Http2Connection>> Http2Connection::Create(Gateway& gateway, Http2Host& host,
                                                                 Nanos now) {
  std::unique_ptr<Http2Connection> connection(new Http2Connection(gateway, host, now));
  const GatewayOptions& options = gateway.options_;
  Result<std::unique_ptr<Http2Session>> session = Http2Session::Create(
      {.streams_max = static_cast<uint32_t>(options.streams_per_connection_max)}, *connection);
  if (!session.ok()) return session.status();
  connection->session_ = *std::move(session);
  gateway.dirty_.reserve(gateway.connections_.size());  // So that WantFlush needs no memory.
  gateway.stats_.http2_connections.Add();
  if (gateway.is_draining_) connection->BeginDrain(now);
  return connection;
}

Http2Connection::Http2Connection(Gateway& gateway, Http2Host& host, Nanos now)
    : gateway_(gateway),
      host_(host),
      resets_(kResetsBurst, kResetsPerSecond),
      glitches_(kGlitchesBurst, kGlitchesPerSecond),
      now_(now),
      received_ns_(now),
      progress_ns_(now),
      age_ends_ns_(AgeEnd(gateway.options_.connection_age, now)),
      idle_since_ns_(now) {}

Http2Connection::~Http2Connection() {
  streams_.clear();
  if (is_dirty_) std::erase(gateway_.dirty_, this);
}

void Http2Connection::Receive(std::string_view data, Nanos now) {
  now_ = received_ns_ = now;
  pinged_ns_ = kNever;
  if (has_ended_) return;
  receiving_ = true;
  const Status status = session_->Receive(data);
  receiving_ = false;
  CheckRates();
  if (!status.ok()) {
    const bool lacks_memory = status.code() == Code::kResourceExhausted;
    end_ = lacks_memory ? ConnectionEnd::kError : ConnectionEnd::kProtocolError;
    is_over_ = true;
  }
  // Answers of this iteration go out with it.
  gateway_.iteration_is_scheduled_ && !is_over_ ? WantFlush() : Flush();
}

void Http2Connection::CheckRates() {
  const Http2Counts& counts = session_->counts();
  const uint64_t resets = counts.resets - std::exchange(seen_.resets, counts.resets);
  const uint64_t glitches = counts.glitches - std::exchange(seen_.glitches, counts.glitches);
  if (resets + glitches == 0) return;
  const bool are_few = resets_.Take(resets, now_) && glitches_.Take(glitches, now_);
  if (are_few || end_ == ConnectionEnd::kLimit) return;
  end_ = ConnectionEnd::kLimit;
  gateway_.stats_.http2_floods.Add();
  session_->GoAway(Http2Error::kEnhanceYourCalm);
}

void* Http2Connection::OnHead(int32_t id, const Http2Head& head) {
  std::unique_ptr<Http2Stream> stream = MakeHttp2Stream(*this, id, head);
  stream->index = streams_.size();
  streams_.push_back(std::move(stream));
  return streams_.back().get();
}

void Http2Connection::OnData(int32_t id, void* context, std::string_view data) {
  const size_t taken = static_cast<Http2Stream*>(context)->OnData(data);
  if (taken > 0) session_->Consume(id, taken);
}

void Http2Connection::OnEnd(int32_t, void* context) { static_cast<Http2Stream*>(context)->OnEnd(); }

void Http2Connection::OnClosed(int32_t, void* context, uint32_t) {
  const size_t index = static_cast<Http2Stream*>(context)->index;
  const std::unique_ptr<Http2Stream> closed = std::move(streams_[index]);
  if (index + 1 < streams_.size()) {
    streams_[index] = std::move(streams_.back());
    streams_[index]->index = index;
  }
  streams_.pop_back();
  if (streams_.empty()) idle_since_ns_ = now_;
}

void Http2Connection::WantFlush() {
  if (receiving_ || is_dirty_ || has_ended_) return;
  is_dirty_ = true;
  gateway_.FlushSoon(this);
}

void Http2Connection::FailForLackOfMemory() noexcept {
  if (std::exchange(has_ended_, true)) return;
  host_.AbortHttp2(ConnectionEnd::kError);
}

void Http2Connection::Flush() noexcept {
  if (has_ended_) return;
  try {
    if (!writing_paused_) SendAll();
    const bool is_drained = drain_is_over_ && streams_.empty() && session_->unsent() == 0;
    if (is_over_ || is_drained || session_->is_over()) End();
  } catch (const std::bad_alloc&) {
    FailForLackOfMemory();
  }
}

void Http2Connection::SendAll() {
  Http2Output output = std::move(gateway_.http2_output_);
  Status status = session_->Send(&output);
  // The answers are out: clients that still send to them may stop.
  while (status.ok() && !to_reset_.empty()) {
    for (const int32_t id : std::exchange(to_reset_, {})) {
      session_->Reset(id, Http2Error::kNoError);
    }
    status = session_->Send(&output);
  }
  if (!output.empty()) {
    gateway_.stats_.bytes_out.Add(output.bytes());
    host_.WriteHttp2(output.parts());
    output.Clear();
  }
  gateway_.http2_output_ = std::move(output);
  for (const auto& stream : streams_) stream->OnSent();
  if (!status.ok()) {
    end_ = ConnectionEnd::kError;
    is_over_ = true;
  }
}

void Http2Connection::End() {
  has_ended_ = true;
  streams_.clear();
  host_.CloseHttp2(end_);
}

void Http2Connection::ResumeWriting(Nanos now) {
  now_ = progress_ns_ = now;
  writing_paused_ = false;
  Flush();
}

void Http2Connection::FindServablesAgain() {
  for (const auto& stream : streams_) stream->FindServableAgain();
}

void Http2Connection::BeginDrain(Nanos now) { BeginEnd(ConnectionEnd::kDrain, now); }

void Http2Connection::BeginEnd(ConnectionEnd end, Nanos now) {
  now_ = now;
  if (drain_deadline_ns_ != kNever) return;
  drain_deadline_ns_ = now + gateway_.options_.drain_grace;
  if (end_ == ConnectionEnd::kClient) end_ = end;
  session_->AnnounceEnd();
  WantFlush();
}

void Http2Connection::CheckDeadline(Nanos now) noexcept {
  try {
    CheckTimes(now);
  } catch (const std::bad_alloc&) {
    FailForLackOfMemory();
  }
}

void Http2Connection::CheckTimes(Nanos now) {
  now_ = now;
  if (has_ended_) return;
  const GatewayOptions& options = gateway_.options_;
  if (now >= age_ends_ns_) BeginEnd(ConnectionEnd::kAge, now);
  if (CheckKeepalive(now)) return;
  if (!drain_is_over_ && now >= drain_deadline_ns_) {
    drain_is_over_ = true;
    session_->GoAway(Http2Error::kNoError);
    for (const auto& stream : streams_) stream->OnDrain();
  }
  // Whoever does not read, or whose windows are shut, is not waited for for ever.
  const bool is_stuck = writing_paused_ || session_->unsent() > 0;
  if (!is_stuck || session_->sent() != std::exchange(sent_, session_->sent())) progress_ns_ = now;
  if (now - progress_ns_ >= options.idle_timeout) {
    has_ended_ = true;
    return host_.AbortHttp2(ConnectionEnd::kWriteStalled);
  }
  if (streams_.empty() && now - idle_since_ns_ >= options.idle_timeout) {
    if (end_ == ConnectionEnd::kClient) end_ = ConnectionEnd::kIdle;
    session_->GoAway(Http2Error::kNoError);
    is_over_ = true;
  }
  CheckStreams(now);
  Flush();
}

bool Http2Connection::CheckKeepalive(Nanos now) {
  const Nanos keepalive = gateway_.options_.keepalive;
  if (keepalive == 0 || streams_.empty() || now - received_ns_ < keepalive) return false;
  if (pinged_ns_ == kNever) {
    session_->Ping();
    pinged_ns_ = now;
  }
  if (now - pinged_ns_ < kKeepaliveTimeout) return false;
  has_ended_ = true;
  host_.AbortHttp2(ConnectionEnd::kKeepalive);
  return true;
}

void Http2Connection::CheckStreams(Nanos now) {
  for (size_t i = 0; i < streams_.size(); ++i) {
    if (now >= streams_[i]->deadline_ns()) streams_[i]->OnTimeout();
  }
}

void Http2Connection::DescribeTo(Nanos now, std::vector<InFlightRequest>* out) const {
  for (const auto& stream : streams_) stream->DescribeTo(now, out);
}

}  // namespace fastserve
