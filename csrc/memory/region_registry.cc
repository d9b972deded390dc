#include "memory/region_registry.h"

#include <algorithm>
#include <utility>

namespace fastserve {
namespace {

Status CheckName(std::string_view name) {
  if (name.empty() || name.size() > RegionRegistry::kNameBytesMax) {
    return InvalidArgument("the name of a shared-memory region has ", name.size(),
                           " bytes, expected 1 to ", RegionRegistry::kNameBytesMax);
  }
  if (const size_t nul = name.find('\0'); nul != std::string_view::npos) {
    return InvalidArgument("the name of a shared-memory region has a NUL at position ", nul,
                           ", expected none");
  }
  return {};
}

// As `status`, and which region it is about.
Status About(std::string_view name, const Status& status) {
  return MakeStatus(status.code(), "shared-memory region '", name, "': ", status.message());
}

}  // namespace

Status RegionRegistry::CheckRoom(std::string_view name, uint64_t byte_size) const {
  if (entries_.contains(name)) {
    return MakeStatus(Code::kAlreadyExists, "shared-memory region '", name,
                      "' is registered already: unregister it first");
  }
  if (entries_.size() >= options_.regions_max) {
    return ResourceExhausted("shared-memory region '", name, "': ", entries_.size(),
                             " regions are registered, expected at most ", options_.regions_max,
                             ": unregister some");
  }
  if (byte_size > options_.bytes_max - bytes_) {
    return ResourceExhausted("shared-memory region '", name, "' wants ", byte_size,
                             " bytes, and registered regions have ", bytes_, ", expected at most ",
                             options_.bytes_max, " together: unregister some");
  }
  return {};
}

Status RegionRegistry::Register(std::string_view name, std::string_view key, uint64_t offset,
                                uint64_t byte_size, std::optional<uid_t> user) {
  FS_RETURN_IF_ERROR(CheckName(name));
  {
    // Before anything is opened, so that what is refused costs little.
    const MutexLock lock(mutex_);
    FS_RETURN_IF_ERROR(CheckRoom(name, byte_size));
  }
  Result<ShmRegionRef> region = ShmRegion::Open(key, offset, byte_size, user);
  if (!region.ok()) return About(name, region.status());
  // Goes before the region, which is unmapped without the mutex if others were quicker.
  const MutexLock lock(mutex_);
  FS_RETURN_IF_ERROR(CheckRoom(name, byte_size));
  entries_.emplace(name, Entry{.region = *std::move(region)});
  bytes_ += byte_size;
  // SYNC(region-registered): pairs with empty.
  count_.store(entries_.size(), std::memory_order_release);
  return {};
}

Status RegionRegistry::Unregister(std::string_view name) {
  Entries::node_type unregistered;  // Goes after the lock: it may unmap.
  const MutexLock lock(mutex_);
  const auto found = entries_.find(name);
  if (found == entries_.end()) return {};
  bytes_ -= found->second.region->size();
  unregistered = entries_.extract(found);
  // SYNC(region-registered): pairs with empty.
  count_.store(entries_.size(), std::memory_order_release);
  return {};
}

void RegionRegistry::UnregisterAll() {
  Entries unregistered;  // Goes after the lock: it may unmap.
  const MutexLock lock(mutex_);
  unregistered.swap(entries_);
  bytes_ = 0;
  // SYNC(region-registered): pairs with empty.
  count_.store(0, std::memory_order_release);
}

RegionInfo RegionRegistry::InfoOf(std::string_view name, const ShmRegion& region) {
  return {.name = std::string(name),
          .key = region.key(),
          .offset = region.offset(),
          .byte_size = region.size()};
}

std::vector<RegionInfo> RegionRegistry::List() const {
  std::vector<RegionInfo> list;
  const MutexLock lock(mutex_);
  list.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) list.push_back(InfoOf(name, *entry.region));
  return list;
}

Result<RegionInfo> RegionRegistry::Find(std::string_view name) const {
  const Result<ShmRegionRef> region = RegionOf(name);
  if (!region.ok()) return region.status();
  return InfoOf(name, **region);
}

Result<ShmRegionRef> RegionRegistry::RegionOf(std::string_view name) const {
  {
    const MutexLock lock(mutex_);
    const auto found = entries_.find(name);
    if (found != entries_.end()) return found->second.region;
  }
  return NotFound("there is no shared-memory region '", name, "': register it first");
}

Result<RegionRange> RegionRegistry::Resolve(std::string_view name, uint64_t offset,
                                            uint64_t byte_size) const {
  Result<ShmRegionRef> region = RegionOf(name);
  if (!region.ok()) return std::move(region).status();
  const std::span<std::byte> all = (*region)->bytes();
  if (offset > all.size() || byte_size > all.size() - offset) {
    return InvalidArgument("shared-memory region '", name, "' has only ", all.size(),
                           " bytes, and the tensor wants ", byte_size, " from offset ", offset,
                           " on");
  }
  if (const Status status = (*region)->CheckUsable(); !status.ok()) return About(name, status);
  return RegionRange{.region = *std::move(region), .bytes = all.subspan(offset, byte_size)};
}

RegionRegistry::Stats RegionRegistry::stats() const {
  Stats stats{.faults = BusErrorGuard::faults()};
  const MutexLock lock(mutex_);
  stats.regions = entries_.size();
  stats.bytes = bytes_;
  const size_t mapped = ShmRegion::count();  // Changes meanwhile.
  stats.retired = mapped - std::min(mapped, stats.regions);
  return stats;
}

}  // namespace fastserve
