// SpscRing: a bounded ring of small records from one thread (later: one process) to one other.
//
// The ring is a plain block of memory without pointers, so that it can live in a shared segment:
// fixed lines, explicit widths, records that can be copied as bytes. The two ends are types of
// their own, which cannot be copied: one producer and one consumer is a rule of the compiler.
//
//   auto ring = std::make_unique<SpscRing<Descriptor, 256>>();
//   SpscRing<Descriptor, 256>::Producer producer = ring->TakeProducer();
//   SpscRing<Descriptor, 256>::Consumer consumer = ring->TakeConsumer();
//   if (!producer.TryPush(descriptor)) ...;          // one thread
//   while (consumer.TryPop(&descriptor)) ...;        // the other
//
// Invariants:
//   1. head and tail only grow, and 0 <= tail - head <= kSlots; record i is in slot i % kSlots.
//   2. Only the producer writes tail and the slots in [tail, head + kSlots); only the consumer
//      writes head.
//   3. Each end keeps its own index and its last sight of the other's in private memory. The other
//      line is read only when the cached value says full (or empty): in steady flow an index
//      crosses the cores once a lap, not once a record. And a peer that scribbles over the shared
//      indices can lose or repeat records, but no access leaves the slots: indices are masked.
// Threads: each end is confined to one thread; size_approx and was_empty from any.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace fastserve {

// `kSlots` is a power of two. `Atom` is std::atomic, except in tests that choose the interleaving.
template <typename T, uint32_t kSlots, template <typename> class Atom = std::atomic>
class SpscRing {
 public:
  SpscRing() {
    // The slots stay as they are: no record is read before it was written.
    tail_.store(0, std::memory_order_relaxed);
    head_.store(0, std::memory_order_relaxed);
  }
  SpscRing(const SpscRing&) = delete;
  SpscRing& operator=(const SpscRing&) = delete;

  class Producer;
  class Consumer;
  // Each end can be taken once in the ring's life, by any thread. The ring must outlive its ends.
  Producer TakeProducer();
  Consumer TakeConsumer();
  // The same of a ring that another process has made: nothing when that says the end is taken.
  std::optional<Producer> TryTakeProducer();
  std::optional<Consumer> TryTakeConsumer();

  size_t size_approx() const {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    const uint64_t head = head_.load(std::memory_order_relaxed);
    return tail > head ? static_cast<size_t>(tail - head) : 0;
  }
  bool was_empty() const { return size_approx() == 0; }

 private:
  static_assert(std::is_trivially_copyable_v<T>, "a record crosses as bytes");
  static_assert(kSlots >= 1 && (kSlots & (kSlots - 1)) == 0, "kSlots must be a power of two");
  static_assert(Atom<uint64_t>::is_always_lock_free, "a lock does not work across processes");
  static constexpr size_t kLineBytes = 64;  // Fixed: two builds must agree on the layout.
  static constexpr uint64_t kMask = kSlots - 1;

  alignas(kLineBytes) Atom<uint64_t> tail_;
  alignas(kLineBytes) Atom<uint64_t> head_;
  alignas(kLineBytes) T slots_[kSlots];
  // After the slots, because no end looks at them again.
  std::atomic<bool> producer_taken_{false};
  std::atomic<bool> consumer_taken_{false};

  static constexpr bool LayoutHolds() {
    return offsetof(SpscRing, tail_) == 0 && offsetof(SpscRing, head_) == kLineBytes &&
           offsetof(SpscRing, slots_) == 2 * kLineBytes;
  }
};

// ------------------------------------------------------------------------------------------------
// The two ends.

template <typename T, uint32_t kSlots, template <typename> class Atom>
class SpscRing<T, kSlots, Atom>::Producer {
 public:
  // Moving leaves the other handle without a ring: using it is a null dereference, not a second
  // end.
  Producer(Producer&& other) noexcept
      : ring_(std::exchange(other.ring_, nullptr)),
        tail_(other.tail_),
        head_seen_(other.head_seen_) {}

  // False when the ring is full.
  [[nodiscard]] bool TryPush(const T& record) {
    if (tail_ - head_seen_ == kSlots) {
      // SYNC(record-taken): pairs with TryPop; after this load the slot may be overwritten.
      head_seen_ = ring_->head_.load(std::memory_order_acquire);
      if (tail_ - head_seen_ >= kSlots) {
        head_seen_ = tail_ - kSlots;  // Also if the peer wrote nonsense: look again next time.
        return false;
      }
    }
    ring_->slots_[tail_ & kMask] = record;
    // SYNC(record-put): the record written above becomes visible to TryPop.
    ring_->tail_.store(++tail_, std::memory_order_release);
    return true;
  }

 private:
  friend class SpscRing;
  explicit Producer(SpscRing* ring) : ring_(ring) {}

  SpscRing* ring_;
  uint64_t tail_ = 0;
  uint64_t head_seen_ = 0;
};

template <typename T, uint32_t kSlots, template <typename> class Atom>
class SpscRing<T, kSlots, Atom>::Consumer {
 public:
  // Moving leaves the other handle without a ring: using it is a null dereference, not a second
  // end.
  Consumer(Consumer&& other) noexcept
      : ring_(std::exchange(other.ring_, nullptr)),
        head_(other.head_),
        tail_seen_(other.tail_seen_) {}

  // Copies the oldest record into `*out`; false, and `*out` untouched, when the ring is empty. The
  // copy is the caller's own: a hostile producer cannot change it between check and use.
  [[nodiscard]] bool TryPop(T* out) {
    if (head_ == tail_seen_) {
      // SYNC(record-put): pairs with TryPush; after this load the records below it may be read.
      tail_seen_ = ring_->tail_.load(std::memory_order_acquire);
      if (head_ == tail_seen_) return false;
    }
    *out = ring_->slots_[head_ & kMask];
    // SYNC(record-taken): the copy above is done before the producer may reuse the slot.
    ring_->head_.store(++head_, std::memory_order_release);
    return true;
  }

 private:
  friend class SpscRing;
  explicit Consumer(SpscRing* ring) : ring_(ring) {}

  SpscRing* ring_;
  uint64_t head_ = 0;
  uint64_t tail_seen_ = 0;
};

template <typename T, uint32_t kSlots, template <typename> class Atom>
auto SpscRing<T, kSlots, Atom>::TryTakeProducer() -> std::optional<Producer> {
  static_assert(LayoutHolds());
  if (producer_taken_.exchange(true, std::memory_order_relaxed)) return std::nullopt;
  return Producer(this);
}

template <typename T, uint32_t kSlots, template <typename> class Atom>
auto SpscRing<T, kSlots, Atom>::TryTakeConsumer() -> std::optional<Consumer> {
  if (consumer_taken_.exchange(true, std::memory_order_relaxed)) return std::nullopt;
  return Consumer(this);
}

template <typename T, uint32_t kSlots, template <typename> class Atom>
auto SpscRing<T, kSlots, Atom>::TakeProducer() -> Producer {
  std::optional<Producer> producer = TryTakeProducer();
  FS_CHECK(producer.has_value());
  return *std::move(producer);
}

template <typename T, uint32_t kSlots, template <typename> class Atom>
auto SpscRing<T, kSlots, Atom>::TakeConsumer() -> Consumer {
  std::optional<Consumer> consumer = TryTakeConsumer();
  FS_CHECK(consumer.has_value());
  return *std::move(consumer);
}

}  // namespace fastserve
