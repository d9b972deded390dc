#include "gateway/http/access_log.h"

#include <time.h>

#include <algorithm>

#include "gateway/exchange.h"
#include "gateway/http/request_phases.h"

namespace fastserve {

AccessRecord RecordOf(const Exchange* exchange, std::string peer, int status, uint64_t bytes_out) {
  AccessRecord record;
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  record.time_ns = time.tv_sec * kSecond + time.tv_nsec;
  record.peer = std::move(peer);
  record.status = status;
  record.bytes_out = bytes_out;
  if (exchange == nullptr) return record;
  record.method = exchange->method;
  record.path = exchange->path;
  record.bytes_in =
      exchange->head_bytes + std::max(exchange->body_bytes, exchange->body.bytes().size());
  const Nanos sent = NowNanos();
  const RequestPhases phases = PhasesOf(*exchange, sent);
  record.receive = std::max<Nanos>(phases.receive, 0);
  record.total = sent - exchange->first_byte_ns;
  if (exchange->servable) {
    record.model = exchange->servable->name();
    record.version = exchange->servable->version_text();
    record.id = exchange->id;
  }
  if (phases.run >= 0) {
    record.batch_rows = exchange->request.batch_rows;
    record.queue = phases.queue;
    record.stage = phases.stage;
    record.run = phases.run;
    record.finish = phases.finish;
    record.send = phases.send;
  }
  return record;
}

}  // namespace fastserve
