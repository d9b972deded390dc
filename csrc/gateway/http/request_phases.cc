#include "gateway/http/request_phases.h"

#include <algorithm>
#include <charconv>

namespace fastserve {

RequestPhases PhasesOf(const Exchange& exchange, Nanos now) {
  RequestPhases phases;
  if (exchange.received_ns == 0) return phases;
  phases.receive = exchange.received_ns - exchange.first_byte_ns;
  const InferenceRequest& request = exchange.request;
  if (exchange.is_submitted || request.computed_ns == 0) return phases;
  phases.queue = request.started_ns - request.submitted_ns;
  phases.stage = request.staged_ns - request.started_ns;
  phases.run = request.computed_ns - request.staged_ns;
  const Nanos ended = exchange.ended_ns == 0 ? request.computed_ns : exchange.ended_ns;
  phases.finish = ended - request.computed_ns;
  phases.send = now - ended;
  return phases;
}

std::string_view FormatServerTiming(const RequestPhases& phases, ServerTimingStorage& storage) {
  char* at = storage.data();
  char* const end = at + storage.size();
  const auto put = [&](std::string_view text) { at = std::ranges::copy(text, at).out; };
  const auto append = [&](std::string_view name, Nanos duration) {
    if (duration < 0) return;
    if (at != storage.data()) put(", ");
    put(name);
    put(";dur=");
    // A day, in microseconds, has eleven digits; six such phases fit.
    const Nanos us = std::min(duration, 86'400 * kSecond) / kMicrosecond;
    at = std::to_chars(at, end, us / 1000).ptr;
    *at++ = '.';
    for (const Nanos digit : {us / 100, us / 10, us}) *at++ = static_cast<char>('0' + digit % 10);
  };
  append("receive", phases.receive);
  append("queue", phases.queue);
  append("stage", phases.stage);
  append("run", phases.run);
  append("finish", phases.finish);
  append("send", phases.send);
  return {storage.data(), static_cast<size_t>(at - storage.data())};
}

}  // namespace fastserve
