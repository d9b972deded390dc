#include "base/status.h"

#include <array>

namespace fastserve {

std::string_view CodeName(Code code) {
  static constexpr std::array<std::string_view, 17> kNames = {
      "OK",
      "CANCELLED",
      "UNKNOWN",
      "INVALID_ARGUMENT",
      "DEADLINE_EXCEEDED",
      "NOT_FOUND",
      "ALREADY_EXISTS",
      "PERMISSION_DENIED",
      "RESOURCE_EXHAUSTED",
      "FAILED_PRECONDITION",
      "ABORTED",
      "OUT_OF_RANGE",
      "UNIMPLEMENTED",
      "INTERNAL",
      "UNAVAILABLE",
      "DATA_LOSS",
      "UNAUTHENTICATED",
  };
  return kNames[static_cast<size_t>(code)];
}

// Made as the program starts: if there is no memory for that, the program had better not start.
// NOLINTNEXTLINE(bugprone-throwing-static-initialization)
Status::Error Status::out_of_memory_{Code::kResourceExhausted, "the server is out of memory"};

Status::Status(const Status& other) noexcept {
  if (other.error_ == nullptr) return;
  // It is shared rather than copied, and what finds no memory becomes it.
  Error* copy = &out_of_memory_;
  if (other.error_.get() != copy) {
    try {
      copy = new Error(*other.error_);
    } catch (const std::bad_alloc&) {
      copy = &out_of_memory_;
    }
  }
  error_.reset(copy);
}

}  // namespace fastserve
