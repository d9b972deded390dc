// RegionRegistry: the regions of memory that clients have registered, by name.
//
// KServe's system shared-memory extension: a client registers a region once, and its requests then
// say (name, offset, byte size) where they would carry the bytes of a tensor.
//
//   RegionRegistry registry({});
//   Status status = registry.Register("inputs", "/my_object", 0, 1 << 20);      // control plane
//   if (!registry.empty()) ...                                                  // each request
//   Result<RegionRange> range = registry.Resolve("inputs", 0, 600 << 10);
//   ... use range->bytes, keeping range->region ...
//   if (range->region->is_poisoned()) return ...;                               // after use
//
// Unregistering a region makes its name free at once. Requests that use it keep the memory until
// they end: it is retired, and counted so.
//
// Names are one space, whatever kind of memory they stand for.
//
// Threads: any. One mutex, held for a look-up and a copied reference; system calls are made outside
// it. `empty` takes none.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/annotations.h"
#include "base/status.h"
#include "memory/shm_region.h"

namespace fastserve {

// What was registered, in the words of whoever did.
struct RegionInfo {
  std::string name;
  std::string key;
  uint64_t offset = 0;
  uint64_t byte_size = 0;
};

// Bytes of a region, and the reference that keeps them.
struct RegionRange {
  ShmRegionRef region;
  std::span<std::byte> bytes;
};

class RegionRegistry {
 public:
  static constexpr size_t kNameBytesMax = 1024;

  struct Options {
    // Each region takes a descriptor and a mapping. The process has room for
    // BusErrorGuard::kRangesMax of them, retired ones included.
    size_t regions_max = 1024;
    // Limit of the byte sizes together. Parts that overlap count as often as they are registered.
    uint64_t bytes_max = uint64_t{64} << 30;
  };

  struct Stats {
    size_t regions = 0;
    uint64_t bytes = 0;
    // Of the process, which has one registry: regions that are mapped without being registered,
    size_t retired = 0;
    uint64_t faults = 0;  // and regions that have lost pages while they were used, ever.
  };

  explicit RegionRegistry(const Options& options) : options_(options) {}
  RegionRegistry(const RegionRegistry&) = delete;
  RegionRegistry& operator=(const RegionRegistry&) = delete;

  // Errors: ALREADY_EXISTS when the name is taken, be it by the very same region. INVALID_ARGUMENT
  // for a name that is empty, longer than kNameBytesMax or has a NUL in it. RESOURCE_EXHAUSTED
  // when a limit would be passed. And those of ShmRegion::Open, for a client of that user.
  Status Register(std::string_view name, std::string_view key, uint64_t offset, uint64_t byte_size,
                  std::optional<uid_t> user = std::nullopt) FS_EXCLUDES(mutex_);

  // OK as well when no region has that name, as with Triton: what a client wants is that there is
  // none.
  Status Unregister(std::string_view name) FS_EXCLUDES(mutex_);
  void UnregisterAll() FS_EXCLUDES(mutex_);

  // By name. Errors of Find: NOT_FOUND.
  std::vector<RegionInfo> List() const FS_EXCLUDES(mutex_);
  Result<RegionInfo> Find(std::string_view name) const FS_EXCLUDES(mutex_);

  // The bytes from `offset` of the region on; none is a range as well. Errors: NOT_FOUND when no
  // region has that name; INVALID_ARGUMENT for a range that is not inside it, or when the region is
  // not usable any more (ShmRegion::CheckUsable).
  Result<RegionRange> Resolve(std::string_view name, uint64_t offset, uint64_t byte_size) const
      FS_EXCLUDES(mutex_);

  // Whether requests can name any region. Who was told that a region is registered finds it so.
  bool empty() const {
    // SYNC(region-registered): pairs with Register and Unregister.
    return count_.load(std::memory_order_acquire) == 0;
  }

  Stats stats() const FS_EXCLUDES(mutex_);

 private:
  // What a name stands for.
  struct Entry {
    ShmRegionRef region;
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  // Whether another region of that name and size may be registered.
  Status CheckRoom(std::string_view name, uint64_t byte_size) const FS_REQUIRES(mutex_);
  // The region of that name. NOT_FOUND.
  Result<ShmRegionRef> RegionOf(std::string_view name) const FS_EXCLUDES(mutex_);
  static RegionInfo InfoOf(std::string_view name, const ShmRegion& region);

  const Options options_;
  mutable Mutex mutex_;
  Entries entries_ FS_GUARDED_BY(mutex_);
  uint64_t bytes_ FS_GUARDED_BY(mutex_) = 0;
  std::atomic<size_t> count_{0};  // Of entries_; changed with the mutex.
};

}  // namespace fastserve
