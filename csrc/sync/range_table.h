// RangeTable: which ranges of addresses are ours, for a signal handler to ask.
//
// A handler may take no mutex, and the thread that it interrupted may be anywhere. So each range is
// one word, entered and removed by one instruction each: there is no half-written entry to see.
//
//   static constinit RangeTable<4096> ranges;
//   std::optional<size_t> place = ranges.Enter(start, bytes);      // after the memory is mapped
//   ...
//   ranges.Leave(*place);                                          // before it is unmapped
//
//   if (auto found = ranges.Find(fault_address)) ranges.Mark(found->place);   // in the handler
//
// Invariants:
//   1. A range is in the table only while its memory is mapped, so no two entries overlap.
//   2. Whoever touches memory of a range knows that it was entered, and keeps it from leaving.
// What Find sees, then, for an address that its own thread has touched: that range, entered before
// and not left, since each word is seen in the order in which it changes. And no other: a range
// which had that address earlier left before its memory was unmapped, hence before this one's was
// mapped and entered; the count's read-modify-writes put the two in that order for the handler.
//
// Threads: any. Find and Mark are safe in signal handlers.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace fastserve {

template <size_t Capacity, template <typename> class Atom = std::atomic>
class RangeTable {
 public:
  static constexpr size_t kCapacity = Capacity;
  // Ranges consist of units of 4 KiB, of which every system's pages do. They end below 2^48 (Linux
  // maps higher only for those who ask), and are smaller than 1 TiB.
  static constexpr size_t kUnitBytes = size_t{1} << 12;
  static constexpr uintptr_t kAddressEnd = uintptr_t{1} << 48;
  static constexpr size_t kBytesMax = ((size_t{1} << 28) - 1) * kUnitBytes;

  struct Found {
    size_t place = 0;
    uintptr_t start = 0;
    size_t bytes = 0;
  };

  // Whether Enter may be called with it.
  static constexpr bool CanHold(uintptr_t start, size_t bytes) {
    return start % kUnitBytes == 0 && bytes % kUnitBytes == 0 && bytes > 0 && bytes <= kBytesMax &&
           start < kAddressEnd && bytes <= kAddressEnd - start;
  }

  // The place of the new entry, which is not marked; nullopt when the table is full.
  [[nodiscard]] std::optional<size_t> Enter(uintptr_t start, size_t bytes) {
    // SYNC(range-order): pairs with Leave: what left before is seen to have left by whoever comes
    // to know of this entry.
    if (count_.fetch_add(1, std::memory_order_acq_rel) >= Capacity) {
      // SYNC(range-order): nothing was entered; the order of the others goes on.
      count_.fetch_sub(1, std::memory_order_acq_rel);
      return std::nullopt;
    }
    const uint64_t word = Pack(start, bytes);
    // The count has kept a place free; it may move while this looks.
    for (size_t place = 0;; place = (place + 1) % Capacity) {
      uint64_t expected = kFree;
      if (entries_[place].range.load(std::memory_order_relaxed) != kFree) continue;
      // SYNC(range-left): pairs with Leave, which has removed the mark.
      if (entries_[place].range.compare_exchange_weak(expected, word, std::memory_order_acquire,
                                                      std::memory_order_relaxed)) {
        return place;
      }
    }
  }

  // Nobody touches the memory any more, but it is still mapped.
  void Leave(size_t place) {
    Entry& entry = entries_[place];
    entry.mark.store(0, std::memory_order_relaxed);
    // SYNC(range-left): the next one here finds the mark removed.
    entry.range.store(kFree, std::memory_order_release);
    // SYNC(range-order): pairs with Enter.
    count_.fetch_sub(1, std::memory_order_acq_rel);
  }

  // The entry that has `address`, which the calling thread has touched.
  std::optional<Found> Find(uintptr_t address) const {
    for (size_t place = 0; place < Capacity; ++place) {
      // Relaxed: the word is all there is, and the opening comment says which value it has.
      const uint64_t word = entries_[place].range.load(std::memory_order_relaxed);
      const uintptr_t start = (word >> kCountBits) * kUnitBytes;
      const size_t bytes = (word & kCountMask) * kUnitBytes;
      // A free entry has no bytes.
      if (address - start < bytes) return Found{.place = place, .start = start, .bytes = bytes};
    }
    return std::nullopt;
  }

  // True for the first call since Enter.
  bool Mark(size_t place) {
    // SYNC(range-marked): what the caller does next to the memory is seen only by those who find
    // the mark.
    return entries_[place].mark.fetch_or(1, std::memory_order_acq_rel) == 0;
  }

  // Whether the entry is marked by now. A read-modify-write, since it must not be carried out
  // before the reads of the memory that come first.
  bool IsMarked(size_t place) {
    // SYNC(range-marked): pairs with Mark.
    return entries_[place].mark.fetch_or(0, std::memory_order_acq_rel) != 0;
  }

  // How many entries there are; those that Enter refuses count for a moment.
  size_t size_approx() const { return count_.load(std::memory_order_relaxed); }

 private:
  static constexpr int kCountBits = 28;
  static constexpr uint64_t kCountMask = (uint64_t{1} << kCountBits) - 1;
  static constexpr uint64_t kFree = 0;
  static_assert(kBytesMax / kUnitBytes == kCountMask);
  static_assert(kAddressEnd / kUnitBytes == uint64_t{1} << (64 - kCountBits));
  static_assert(Atom<uint64_t>::is_always_lock_free && Atom<uint32_t>::is_always_lock_free);

  struct Entry {
    Atom<uint64_t> range{};  // See Pack.
    Atom<uint32_t> mark{};
  };

  static uint64_t Pack(uintptr_t start, size_t bytes) {
    return uint64_t{start / kUnitBytes} << kCountBits | bytes / kUnitBytes;
  }

  std::array<Entry, Capacity> entries_{};
  Atom<uint64_t> count_{};
};

}  // namespace fastserve
