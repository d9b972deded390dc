#include "serving/admission.h"

#include "base/check.h"

namespace fastserve {

Status Admission::Reserve(size_t bytes) {
  if (bytes > options_.body_bytes_max) {
    return MakeStatus(Code::kOutOfRange, "the request has ", bytes, " bytes, at most ",
                      options_.body_bytes_max, " are accepted");
  }
  // Relaxed: the number orders nothing but itself.
  size_t held = in_flight_bytes_.load(std::memory_order_relaxed);
  do {
    if (held > options_.in_flight_bytes_max || bytes > options_.in_flight_bytes_max - held) {
      return Unavailable("the server holds ", held, " bytes of requests, ", bytes,
                         " more would pass its limit of ", options_.in_flight_bytes_max);
    }
  } while (!in_flight_bytes_.compare_exchange_weak(held, held + bytes, std::memory_order_relaxed,
                                                   std::memory_order_relaxed));
  return {};
}

void Admission::Release(size_t bytes) {
  const size_t held = in_flight_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  FS_CHECK_OP(held, >=, bytes);
}

}  // namespace fastserve
