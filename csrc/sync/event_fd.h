// EventFd: a signal that an event loop can poll.
//
// The bridge from the core's threads to a loop that sleeps in epoll: Signal makes fd() readable,
// Drain makes it quiet again. Signals add up: any number before one Drain wake the loop once.
//
// Drain before taking the work that was signalled (sync/inbox.h says why).
// Threads: Signal from any thread; Drain from the loop's. The object must outlive both.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace fastserve {

class EventFd {
 public:
  // Errors: RESOURCE_EXHAUSTED when the process or the system has no descriptor left.
  static Result<EventFd> Create() {
    const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) return ResourceExhausted("eventfd: ", std::strerror(errno));
    return EventFd(fd);
  }
  EventFd(EventFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  EventFd& operator=(EventFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~EventFd() {
    if (fd_ >= 0) close(fd_);
  }

  // For the loop's poller; stays owned here.
  int fd() const { return fd_; }

  // Makes fd() readable. Never blocks: a counter at its limit (2^64 - 2) is readable already.
  void Signal() const {
    const uint64_t one = 1;
    ssize_t written = 0;
    do {
      written = write(fd_, &one, sizeof(one));
    } while (written < 0 && errno == EINTR);
    FS_CHECK(written == sizeof(one) || errno == EAGAIN);
  }

  // Makes fd() quiet and returns how often it was signalled since the last Drain; 0 if not at all.
  uint64_t Drain() const {
    uint64_t signals = 0;
    ssize_t got = 0;
    do {
      got = read(fd_, &signals, sizeof(signals));
    } while (got < 0 && errno == EINTR);
    FS_CHECK(got == sizeof(signals) || errno == EAGAIN);
    return got < 0 ? 0 : signals;
  }

 private:
  explicit EventFd(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace fastserve
