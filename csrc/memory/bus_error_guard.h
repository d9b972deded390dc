// BusErrorGuard: pages that may vanish while they are used, without taking the process along.
//
// Memory that is shared through a file belongs to everybody who may open it. When a client
// truncates its file, touching a page behind the new end raises SIGBUS, in whatever thread does so
// and at any moment: no check beforehand helps. While a guard watches a range, such a fault turns
// the whole range into zeros, private to this process, and the access is repeated. Whoever used the
// bytes asks afterwards.
//
//   std::byte* pages = mmap(nullptr, bytes, ..., MAP_SHARED, file, 0);
//   Result<BusErrorGuard> guard = BusErrorGuard::Watch({pages, bytes});
//   ... use the bytes ...
//   if (guard->has_faulted()) return InvalidArgument(...);     // some of them were zeros
//   (guard goes, then munmap)
//
// Invariants:
//   1. A guard goes before its range is unmapped, and when nobody touches the range any more.
//   2. A range that has faulted stays as it is: zeros, and what was written since. All of it is
//      replaced at once, since page by page a client could make mappings without end.
//   3. Faults elsewhere, and SIGBUS sent by kill, go to the handler that was there before, or have
//      the default action.
// The handler is installed with the first range and stays. Each Watch puts it back in case somebody
// has restored the default action, or the handler that was there before; another that was installed
// on top of it is left there.
//
// Threads: Watch and has_faulted from any thread. Faults are taken in any thread that does not
// block SIGBUS (base/thread.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/status.h"

namespace fastserve {

class BusErrorGuard {
 public:
  // Limits of the process: how many ranges are watched at once, and how large one may be (just less
  // than 1 TiB).
  static constexpr size_t kRangesMax = 4096;
  static constexpr size_t kBytesMax = (size_t{1} << 40) - (size_t{1} << 12);

  // `pages` are whole pages, mapped by the caller. Errors: RESOURCE_EXHAUSTED when kRangesMax are
  // watched already; INTERNAL for what is no range of pages, or larger than kBytesMax.
  static Result<BusErrorGuard> Watch(std::span<std::byte> pages);
  BusErrorGuard(BusErrorGuard&& other) noexcept : place_(std::exchange(other.place_, kNone)) {}
  BusErrorGuard& operator=(BusErrorGuard&& other) noexcept {
    std::swap(place_, other.place_);
    return *this;
  }
  ~BusErrorGuard();

  // Whether bytes that were read or written so far may have been zeros instead.
  bool has_faulted() const;

  // Of the process: how many ranges are watched now, and how many have faulted, ever.
  static size_t ranges();
  static uint64_t faults();

 private:
  static constexpr size_t kNone = SIZE_MAX;
  explicit BusErrorGuard(size_t place) : place_(place) {}

  size_t place_;  // In the table of ranges.
};

}  // namespace fastserve
