// MpscQueue: a bounded queue from many threads to one, without locks.
//
// The way of a request from the event loops to a scheduler. Bounded, because every queue has a
// limit: a full queue refuses at once and the caller answers RESOURCE_EXHAUSTED.
//
//   MpscQueue<std::unique_ptr<Job>> queue(1024);
//   if (!queue.TryPush(std::move(job))) return Refuse(std::move(job));   // any thread
//   while (auto job = queue.TryPop()) Run(*std::move(job));              // the consumer
//
// Each cell carries a sequence number that says whose turn it is. Invariants, for push number p
// (which uses cell p modulo capacity) and the numbers that the cell shows:
//   1. p            the cell is free for push p.
//   2. p + 1        push p is complete; its value may be popped.
//   3. p + capacity the value was popped: the cell is free for the next lap.
//   4. Producers agree on who makes push p by moving tail_ from p to p + 1; head_ is the
//      consumer's alone.
//
// Order: values of one producer are popped in the order in which it pushed them.
// Threads: TryPush, size_approx and was_empty from any thread; TryPop from one thread at a time
// (the consumer may change if the change itself synchronises, e.g. under a mutex).
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace fastserve {

// `Atom` is std::atomic, except in tests that choose the interleaving.
template <typename T, template <typename> class Atom = std::atomic>
class MpscQueue {
 public:
  // Holds `capacity_min` elements, rounded up to a power of two; at least 2, because with one cell
  // invariants 2 and 3 would be the same number.
  explicit MpscQueue(size_t capacity_min);
  // The elements left are destroyed. No other thread may be using the queue.
  ~MpscQueue();
  MpscQueue(const MpscQueue&) = delete;
  MpscQueue& operator=(const MpscQueue&) = delete;

  // False when the queue is full; `value` is then untouched.
  [[nodiscard]] bool TryPush(T&& value);

  // Nothing when the queue is empty, or when the oldest push has begun but is not complete: its
  // producer has yet to signal, so a consumer that sleeps now will be woken.
  std::optional<T> TryPop();
  // The same into `*out`; false, and `*out` untouched, when there is nothing.
  [[nodiscard]] bool TryPop(T* out);

  size_t capacity() const { return mask_ + 1; }
  // How many pushes have begun and were not popped, a moment ago.
  size_t size_approx() const;
  // After Signal::Prepare this is safe to sleep on: false for every push that was notified before.
  bool was_empty() const { return size_approx() == 0; }

  // ---------------------------------------------------------------------------------------------
  // Implementation below, callers may stop here.

 private:
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>,
                "a throwing move would leave a claimed cell unpublished for ever");
  static constexpr size_t kLineBytes = 64;

  // Cells are not padded to lines: neighbours are written by different producers only when these
  // push in the same instant, and then they meet at tail_ anyway.
  struct Cell {
    Atom<uint64_t> sequence;
    alignas(T) std::byte storage[sizeof(T)];

    T* value() { return std::launder(reinterpret_cast<T*>(storage)); }
  };

  // The cell of the next value if that is complete, else null.
  Cell* Ready(uint64_t head) const;
  void Free(Cell* cell, uint64_t head);

  const uint64_t mask_;
  const std::unique_ptr<Cell[]> cells_;
  // Where the next push goes. Orders only the producers among themselves, hence relaxed.
  alignas(kLineBytes) Atom<uint64_t> tail_;
  // What is popped next. Written by the consumer; others read it for size_approx, hence relaxed.
  alignas(kLineBytes) Atom<uint64_t> head_;
};

template <typename T, template <typename> class Atom>
MpscQueue<T, Atom>::MpscQueue(size_t capacity_min)
    : mask_(std::bit_ceil(capacity_min < 2 ? size_t{2} : capacity_min) - 1),
      cells_(std::make_unique<Cell[]>(mask_ + 1)) {
  for (uint64_t i = 0; i <= mask_; ++i) cells_[i].sequence.store(i, std::memory_order_relaxed);
  tail_.store(0, std::memory_order_relaxed);
  head_.store(0, std::memory_order_relaxed);
}

template <typename T, template <typename> class Atom>
MpscQueue<T, Atom>::~MpscQueue() {
  uint64_t head = head_.load(std::memory_order_relaxed);
  while (Cell* cell = Ready(head)) {
    cell->value()->~T();
    ++head;
  }
  FS_CHECK_OP(head, ==, tail_.load(std::memory_order_relaxed));  // A push was under way.
}

template <typename T, template <typename> class Atom>
bool MpscQueue<T, Atom>::TryPush(T&& value) {
  uint64_t position = tail_.load(std::memory_order_relaxed);
  while (true) {
    Cell& cell = cells_[position & mask_];
    // SYNC(cell-freed): pairs with Free; after this load the popped value is gone from the cell.
    const uint64_t sequence = cell.sequence.load(std::memory_order_acquire);
    const auto lead = static_cast<int64_t>(sequence - position);
    if (lead < 0) return false;  // The value of the lap before is still there: full.
    if (lead > 0) {              // Another producer took this position.
      position = tail_.load(std::memory_order_relaxed);
      continue;
    }
    if (tail_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed,
                                    std::memory_order_relaxed)) {
      ::new (cell.storage) T(std::move(value));
      // SYNC(cell-filled): the value written above becomes visible to TryPop.
      cell.sequence.store(position + 1, std::memory_order_release);
      return true;
    }
  }
}

template <typename T, template <typename> class Atom>
auto MpscQueue<T, Atom>::Ready(uint64_t head) const -> Cell* {
  Cell& cell = cells_[head & mask_];
  // SYNC(cell-filled): pairs with TryPush; after this load the value may be read.
  return cell.sequence.load(std::memory_order_acquire) == head + 1 ? &cell : nullptr;
}

template <typename T, template <typename> class Atom>
void MpscQueue<T, Atom>::Free(Cell* cell, uint64_t head) {
  cell->value()->~T();
  // SYNC(cell-freed): the consumer is done with the storage before a producer may reuse it.
  cell->sequence.store(head + mask_ + 1, std::memory_order_release);
  head_.store(head + 1, std::memory_order_relaxed);
}

template <typename T, template <typename> class Atom>
std::optional<T> MpscQueue<T, Atom>::TryPop() {
  const uint64_t head = head_.load(std::memory_order_relaxed);
  Cell* cell = Ready(head);
  if (cell == nullptr) return std::nullopt;
  std::optional<T> value(std::move(*cell->value()));
  Free(cell, head);
  return value;
}

template <typename T, template <typename> class Atom>
bool MpscQueue<T, Atom>::TryPop(T* out) {
  const uint64_t head = head_.load(std::memory_order_relaxed);
  Cell* cell = Ready(head);
  if (cell == nullptr) return false;
  *out = std::move(*cell->value());
  Free(cell, head);
  return true;
}

template <typename T, template <typename> class Atom>
size_t MpscQueue<T, Atom>::size_approx() const {
  // Two loads, not one moment: between them the consumer may pass the tail that was read.
  const uint64_t tail = tail_.load(std::memory_order_relaxed);
  const uint64_t head = head_.load(std::memory_order_relaxed);
  return tail > head ? static_cast<size_t>(tail - head) : 0;
}

}  // namespace fastserve
