// BuddyHeap: blocks of a range of bytes that somebody else maps, found and given back in a few
// steps.
//
//   BuddyHeap heap(size_t{64} << 20);
//   std::optional<size_t> block = heap.Allocate(600 << 10);      // an offset into the range
//   ...
//   if (!heap.Free(*block)) return ...;                          // nobody has such a block
//
// Nothing of its books lies in the range, which another process may write to: an offset that comes
// from there is looked up, and is either that of a block in use or refused.
//
// Blocks have sizes of powers of two, from kBlockBytesMin, and begin at multiples of their size. A
// block that is given back joins its neighbour when that is free as well, so a range that was cut
// into small pieces becomes whole again. Half of a block may be lost to rounding.
//
// Invariants:
//   1. Blocks in use do not overlap, and lie within the range.
//   2. No two free blocks are each other's halves.
//   3. No allocation of its own after construction: for each kBlockBytesMin of the range it holds
//      kBookBytes.
// Threads: none; whoever shares it brings a mutex.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace fastserve {

class BuddyHeap {
 public:
  static constexpr size_t kBlockBytesMin = 1 << 10;
  static constexpr size_t kBytesMax = size_t{1} << 40;
  static constexpr size_t kBookBytes = 9;

  // What lies beyond the last whole kBlockBytesMin of the range is never given out, nor what lies
  // beyond kBytesMax.
  explicit BuddyHeap(size_t bytes);

  // The offset of a block of at least so many bytes; nothing when there is none.
  std::optional<size_t> Allocate(size_t bytes);
  // False, and nothing changes, when no block in use begins there.
  [[nodiscard]] bool Free(size_t offset);

  // Of the block in use that begins there; 0 when there is none.
  size_t BytesOf(size_t offset) const;
  // Of all blocks in use.
  size_t bytes_in_use() const { return bytes_in_use_; }

 private:
  static constexpr int kOrders = 31;  // 1 KiB to 1 TiB.
  static constexpr uint32_t kNone = UINT32_MAX;
  // Of the kBlockBytesMin in which a block begins; kInner of all others.
  enum State : uint8_t { kInner = 0, kFree = 0x40, kUsed = 0x80 };  // The order is added.
  struct Links {
    uint32_t next;
    uint32_t previous;
  };

  static int OrderFor(size_t bytes);
  static size_t BytesOfOrder(int order) { return kBlockBytesMin << order; }
  void Insert(uint32_t unit, int order);
  void Remove(uint32_t unit, int order);

  // One entry for each kBlockBytesMin.
  std::vector<uint8_t> states_;
  std::vector<Links> links_;  // Of free blocks of one order.
  std::array<uint32_t, kOrders> first_;
  size_t bytes_in_use_ = 0;
};

}  // namespace fastserve
