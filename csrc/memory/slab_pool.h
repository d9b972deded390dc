// SlabPool: where the bytes of requests and responses live.
//
// A body of 600 KB costs more to allocate afresh (page faults) than to copy. The pool keeps slabs
// that were given back and hands out the one used last, whose pages are mapped and warm.
//
//   std::unique_ptr<SlabPool> pool = SlabPool::Create({.bytes_max = size_t{1} << 30});
//   BufferRef body = pool->Acquire(content_length);
//   if (!body) return ResourceExhausted(...);        // never blocks, never throws
//
// Invariants:
//   1. The capacities of all slabs in use add up to at most bytes_max, those of slabs kept for
//      reuse to at most cached_bytes_max. (Each slab takes kOverheadBytes more from the system.)
//   2. data() is aligned to 64 bytes, and kSpareBytes after data() + size() may be read: a JSON
//      parser reads whole vectors. What is there, and in a fresh slab, is not initialised.
//   3. One slab is one allocation: the Buffer stands in the line before its data.
//   4. What the slabs need of the pool lives until the last of them is released, so a response may
//      outlive the model, and the pool, that it came from.
// Threads: Acquire, Trim and stats from any thread; the last BufferRef may go on any thread. One
// mutex over a few instructions; the system's allocator is called outside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "tensor/buffer.h"

namespace fastserve {

class SlabPool {
 public:
  // Returns memory for std::free, aligned to `alignment`, or null.
  using Allocate = void* (*)(size_t alignment, size_t bytes);

  struct Options {
    // Limit of the capacities in use. A capacity is up to twice what was asked for (see
    // CapacityFor).
    size_t bytes_max = size_t{1} << 30;
    // Limit of what is kept for reuse. Beyond it slabs of other sizes make room.
    size_t cached_bytes_max = size_t{256} << 20;
    // Replaced by tests that fail the i-th allocation.
    Allocate allocate = std::aligned_alloc;
  };

  struct Stats {
    size_t in_use_bytes = 0;
    size_t cached_bytes = 0;
    size_t slabs = 0;       // In use or kept for reuse.
    uint64_t acquired = 0;  // Successful calls of Acquire,
    uint64_t reused = 0;    // and how many of them were served from the cache.
    uint64_t refused = 0;   // Calls that came back empty.
  };

  static constexpr size_t kAlignment = 64;
  static constexpr size_t kSpareBytes = 64;
  static constexpr size_t kOverheadBytes = kAlignment + kSpareBytes;
  // No slab is larger, whatever bytes_max says: 1 TiB.
  static constexpr size_t kCapacityMax = size_t{1} << 40;

  static std::unique_ptr<SlabPool> Create(const Options& options);
  // Frees what is cached; slabs in use stay good and are freed when they are released.
  ~SlabPool();
  SlabPool(const SlabPool&) = delete;
  SlabPool& operator=(const SlabPool&) = delete;

  // A buffer of CapacityFor(bytes) bytes, all of them the caller's. Empty when a limit would be
  // passed or the system has no memory.
  BufferRef Acquire(size_t bytes);

  // Gives all that is cached back to the system; returns how many bytes of capacity that was.
  size_t Trim();

  // A moment's view, consistent in itself.
  Stats stats() const;

  // What a request for `bytes` takes of the limit: the next power of two from 4 KiB, above 1 MiB
  // the next quarter of one (large slabs would waste too much: at most 25 % there). 0 when `bytes`
  // is above kCapacityMax.
  static size_t CapacityFor(size_t bytes);

 private:
  class State;
  explicit SlabPool(State* state) : state_(state) {}

  State* const state_;
};

}  // namespace fastserve
