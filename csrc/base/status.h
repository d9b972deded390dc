// Status and Result: how every room of the core reports an error.
//
// Errors are values. A Status is one pointer wide, and OK is the null pointer, so that success
// costs one test. Codes are gRPC's canonical set: one table maps them to HTTP
// (HttpStatusOf in protocol/http1_response.h) and they travel over gRPC unchanged. No exception
// crosses a room; a library that throws is wrapped in the room that uses it.
//
//   Status Check(int64_t rows) {
//     if (rows < 0) return InvalidArgument("rows is ", rows, ", expected at least 0");
//     return {};
//   }
//   Result<Shape> shape = ParseShape(text);
//   if (!shape.ok()) return shape.status();
//
// Threads: a Status is a value; distinct objects may be used from distinct threads.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace fastserve {

// gRPC's canonical codes, numbers included.
enum class Code : uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// The code's canonical spelling, e.g. "INVALID_ARGUMENT".
std::string_view CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  // `code` must not be kOk.
  Status(Code code, std::string message) : error_(new Error{code, std::move(message)}) {
    FS_CHECK(code != Code::kOk);
  }

  // RESOURCE_EXHAUSTED, made of memory that is always there.
  static Status OutOfMemory() noexcept {
    Status status;
    status.error_.reset(&out_of_memory_);
    return status;
  }

  Status(Status&&) noexcept = default;
  Status& operator=(Status&&) noexcept = default;
  // Copies allocate when there is an error, or else become OutOfMemory; success copies nothing.
  Status(const Status& other) noexcept;
  Status& operator=(const Status& other) noexcept {
    if (this != &other) *this = Status(other);
    return *this;
  }

  bool ok() const { return error_ == nullptr; }
  Code code() const { return error_ ? error_->code : Code::kOk; }
  // What happened, for the person who sent the request: names the thing, what was expected and what
  // came. Empty when ok.
  const std::string& message() const {
    static const std::string kNone;
    return error_ ? error_->message : kNone;
  }

 private:
  struct Error {
    Code code;
    std::string message;
  };
  struct Free {
    void operator()(Error* error) const {
      if (error != &out_of_memory_) delete error;
    }
  };
  static Error out_of_memory_;

  std::unique_ptr<Error, Free> error_;
};
static_assert(sizeof(Status) == sizeof(void*));

// Joins its arguments as text; only ever called on a failing path.
template <typename... Parts>
std::string StrCat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// A Status with such a message. Without memory for it OutOfMemory, so that whoever reports an error
// need not fear another.
template <typename... Parts>
Status MakeStatus(Code code, const Parts&... parts) noexcept {
  try {
    return Status(code, StrCat(parts...));
  } catch (const std::bad_alloc&) {
    return Status::OutOfMemory();
  }
}

template <typename... Parts>
Status InvalidArgument(const Parts&... parts) {
  return MakeStatus(Code::kInvalidArgument, parts...);
}
template <typename... Parts>
Status NotFound(const Parts&... parts) {
  return MakeStatus(Code::kNotFound, parts...);
}
template <typename... Parts>
Status Internal(const Parts&... parts) {
  return MakeStatus(Code::kInternal, parts...);
}
template <typename... Parts>
Status ResourceExhausted(const Parts&... parts) {
  return MakeStatus(Code::kResourceExhausted, parts...);
}
template <typename... Parts>
Status Unavailable(const Parts&... parts) {
  return MakeStatus(Code::kUnavailable, parts...);
}
template <typename... Parts>
Status FailedPrecondition(const Parts&... parts) {
  return MakeStatus(Code::kFailedPrecondition, parts...);
}
template <typename... Parts>
Status Unimplemented(const Parts&... parts) {
  return MakeStatus(Code::kUnimplemented, parts...);
}

// A value or the reason why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  // `status` must not be ok: there would be neither a value nor a reason.
  Result(Status status) : status_(std::move(status)) { FS_CHECK(!status_.ok()); }

  bool ok() const { return value_.has_value(); }
  const Status& status() const& { return status_; }
  Status status() && { return std::move(status_); }

  // Only when ok().
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace fastserve

// Returns the Status of `expr` from the calling function when it is an error.
#define FS_RETURN_IF_ERROR(expr)                              \
  do {                                                        \
    if (::fastserve::Status _s = (expr); !_s.ok()) return _s; \
  } while (false)
