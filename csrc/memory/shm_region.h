// ShmRegion: a part of a client's POSIX shared-memory object, mapped into this process.
//
// A client makes an object (shm_open, ftruncate, mmap), says its key, and from then on puts tensors
// there instead of sending them. A region is a Buffer: the mapping lives until the last reference
// goes, whatever becomes of the name it was registered under.
//
//   Result<ShmRegionRef> region = ShmRegion::Open("/inputs", 0, 4096);
//   FS_RETURN_IF_ERROR((*region)->CheckUsable());     // before each use
//   BufferRef owner = region->buffer();               // for a tensor: shares the count
//   ... use (*region)->bytes() ...
//   if ((*region)->is_poisoned()) return ...;         // after each use
//
// The client may change the bytes, and the object's size, at any moment:
//   - CheckUsable finds what has been truncated already;
//   - what is truncated while it is used reads as zeros, and is_poisoned says so for ever after
//     (bus_error_guard.h). So do pages that /dev/shm has no room for any more;
//   - whoever decides by a byte of it reads that byte once.
//
// Invariants:
//   1. Nothing but a regular file directly in /dev/shm is ever opened, and nothing is made there.
//   2. data() is at `offset` of the object, which need be aligned to nothing; size() is what was
//      asked for. The rest of the first and the last page is mapped with it, and belongs to nobody.
// Threads: any. CheckSize and CheckUsable cost one system call, is_poisoned none.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "memory/bus_error_guard.h"
#include "tensor/buffer.h"

namespace fastserve {

class ShmRegionRef;

class ShmRegion final : public Buffer {
 public:
  // Without the slash in front. More than the C library takes does not help.
  static constexpr size_t kKeyCharactersMax = 254;

  // `key` is the object's name, with or without a slash in front: printable ASCII, no further
  // slash, not "." or "..", not beginning with "sem." (semaphores are files beside it).
  //
  // Errors: INVALID_ARGUMENT for another key, for what is no shared-memory object, for no bytes, or
  // for bytes that the object does not have. NOT_FOUND when there is no such object.
  // PERMISSION_DENIED when this process may not read and write it. RESOURCE_EXHAUSTED when a limit
  // of descriptors, mappings or memory is reached.
  //
  // `user`: who it is opened for, when that is not this process itself. This process may open more
  // than its clients, and must not do it for them: it is PERMISSION_DENIED as well unless that user
  // can read and write the object: as its owner, by what its mode lets everybody do, or as root.
  // (Groups do not count: nobody here knows a client's.)
  static Result<ShmRegionRef> Open(std::string_view key, uint64_t offset, uint64_t byte_size,
                                   std::optional<uid_t> user = std::nullopt);

  // INVALID_ARGUMENT when the object has become smaller than the region needs.
  Status CheckSize() const;
  // INVALID_ARGUMENT when it is poisoned as well.
  Status CheckUsable() const;
  // True once a page was missing when it was touched: bytes that were read may have been zeros, and
  // bytes that were written may have gone nowhere.
  bool is_poisoned() const { return mapping_.has_faulted(); }

  // As it was given.
  const std::string& key() const { return key_; }
  uint64_t offset() const { return offset_; }

  // How many regions this process has mapped.
  static size_t count();

 private:
  // The descriptor and the pages, and the guard, which goes before them.
  class Mapping {
   public:
    Mapping() = default;
    Mapping(Mapping&& other) noexcept
        : file_(std::exchange(other.file_, -1)),
          pages_(std::exchange(other.pages_, {})),
          guard_(std::exchange(other.guard_, std::nullopt)) {}
    Mapping& operator=(Mapping&&) = delete;
    ~Mapping();

    Status OpenFile(std::string_view key);
    Status MapPages(std::string_view key, uint64_t offset, size_t byte_size);
    int file() const { return file_; }
    std::span<std::byte> pages() const { return pages_; }
    bool has_faulted() const { return guard_->has_faulted(); }

   private:
    int file_ = -1;
    std::span<std::byte> pages_;
    std::optional<BusErrorGuard> guard_;
  };

  ShmRegion(std::string_view key, uint64_t offset, std::span<std::byte> bytes, Mapping mapping);
  ~ShmRegion();
  static void Release(Buffer* buffer);

  const std::string key_;
  const uint64_t offset_;
  const Mapping mapping_;
};

// A BufferRef that knows what it refers to.
class ShmRegionRef {
 public:
  ShmRegionRef() = default;

  explicit operator bool() const { return static_cast<bool>(buffer_); }
  const ShmRegion& operator*() const { return static_cast<const ShmRegion&>(*buffer_); }
  const ShmRegion* operator->() const { return &**this; }
  // Shares the count.
  const BufferRef& buffer() const { return buffer_; }

 private:
  friend class ShmRegion;
  explicit ShmRegionRef(BufferRef buffer) : buffer_(std::move(buffer)) {}

  BufferRef buffer_;
};

}  // namespace fastserve
