#include "memory/shm_region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace fastserve {
namespace {

static_assert(sizeof(size_t) == sizeof(uint64_t));

constexpr std::string_view kSemaphores = "sem.";

// Relaxed: for who looks from outside.
std::atomic<size_t> regions_mapped{0};

std::string_view WithoutSlash(std::string_view key) {
  return key.starts_with('/') ? key.substr(1) : key;
}

Status CheckKey(std::string_view key) {
  const std::string_view name = WithoutSlash(key);
  if (name.empty() || name.size() > ShmRegion::kKeyCharactersMax) {
    return InvalidArgument("the key of a shared-memory object has ", name.size(),
                           " characters, expected 1 to ", ShmRegion::kKeyCharactersMax,
                           " after a slash in front");
  }
  const auto wrong =
      std::ranges::find_if(name, [](char c) { return c < ' ' || c > '~' || c == '/'; });
  if (wrong != name.end()) {
    return InvalidArgument("the key of a shared-memory object has the byte ",
                           static_cast<int>(static_cast<unsigned char>(*wrong)), " at position ",
                           wrong - name.begin() + (key.size() - name.size()),
                           ", expected printable ASCII with no slash but one in front");
  }
  if (name == "." || name == ".." || name.starts_with(kSemaphores)) {
    return InvalidArgument("'", key,
                           "' is no key of a shared-memory object, which is not '.' or "
                           "'..' and does not begin with '",
                           kSemaphores, "'");
  }
  return {};
}

// Why opening or mapping failed.
Status SystemError(std::string_view what, std::string_view key, int error) {
  switch (error) {
    case ENOENT:
      return NotFound("there is no shared-memory object '", key,
                      "', expected one in this server's /dev/shm: create it before its region is "
                      "registered, and share /dev/shm between containers");
    case EACCES:
    case EPERM:
    case EROFS:
      return MakeStatus(Code::kPermissionDenied, what, " shared-memory object '", key,
                        "': ", std::strerror(error), "; the server's user (uid ", geteuid(),
                        ") needs permission to read and to write it");
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
      return ResourceExhausted(what, " shared-memory object '", key, "': ", std::strerror(error),
                               "; unregister regions, or raise the server's limit");
    case EISDIR:
    case EINVAL:
    case ELOOP:
    case ENODEV:
    case ENXIO:
      return InvalidArgument("'", key, "' is no shared-memory object (", std::strerror(error),
                             "), expected one made by shm_open");
    default:
      return Internal(what, " shared-memory object '", key, "': ", std::strerror(error));
  }
}

// That an object of `object_bytes` has the bytes.
Status CheckRange(std::string_view key, uint64_t offset, uint64_t byte_size,
                  uint64_t object_bytes) {
  if (offset <= object_bytes && byte_size <= object_bytes - offset) return {};
  const bool has_end = byte_size <= UINT64_MAX - offset;
  const std::string wanted = has_end ? StrCat("bytes [", offset, ", ", offset + byte_size, ")")
                                     : StrCat(byte_size, " bytes from offset ", offset, " on");
  return InvalidArgument("region wants ", wanted, " of shared-memory object '", key,
                         "', which has only ", object_bytes,
                         " bytes: make the object larger, or the region smaller");
}

Result<struct stat> StatOf(std::string_view key, int file) {
  struct stat found{};
  if (fstat(file, &found) != 0) return SystemError("asking the size of", key, errno);
  return found;
}

Status CheckUser(std::string_view key, const struct stat& object, uid_t user) {
  constexpr mode_t kByAll = S_IROTH | S_IWOTH;
  if (user == 0 || user == object.st_uid || (object.st_mode & kByAll) == kByAll) return {};
  return MakeStatus(Code::kPermissionDenied, "opening shared-memory object '", key,
                    "' for the client's user (uid ", user, "): it belongs to uid ", object.st_uid,
                    ", and its mode lets nobody else read and write it");
}

size_t PageBytes() {
  static const auto bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

ShmRegion::Mapping::~Mapping() {
  guard_.reset();
  if (!pages_.empty()) munmap(pages_.data(), pages_.size());
  if (file_ >= 0) close(file_);
}

Status ShmRegion::Mapping::OpenFile(std::string_view key) {
  // What shm_open does, said plainly: ThreadSanitizer does not know that one, and takes its
  // descriptor for the one of that number before. Links and pipes that somebody has put there are
  // not followed, nor waited for.
  const std::string path = StrCat("/dev/shm/", WithoutSlash(key));
  file_ = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file_ < 0) return SystemError("opening", key, errno);
  return {};
}

Status ShmRegion::Mapping::MapPages(std::string_view key, uint64_t offset, size_t byte_size) {
  // The object has these bytes, and fewer than 2^63 in all: nothing overflows.
  const size_t page_bytes = PageBytes();
  const uint64_t begin = offset - offset % page_bytes;
  const uint64_t end = offset + byte_size;
  const size_t bytes = (end - begin + page_bytes - 1) / page_bytes * page_bytes;
  if (bytes > BusErrorGuard::kBytesMax) {
    return ResourceExhausted("region wants ", byte_size, " bytes of shared-memory object '", key,
                             "', expected at most about ", BusErrorGuard::kBytesMax);
  }
  void* const start =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, static_cast<off_t>(begin));
  if (start == MAP_FAILED) return SystemError("mapping", key, errno);
  pages_ = {static_cast<std::byte*>(start), bytes};
  Result<BusErrorGuard> guard = BusErrorGuard::Watch(pages_);
  if (!guard.ok()) return std::move(guard).status();
  guard_.emplace(*std::move(guard));
  return {};
}

ShmRegion::ShmRegion(std::string_view key, uint64_t offset, std::span<std::byte> bytes,
                     Mapping mapping)
    : Buffer(bytes.data(), bytes.size(), &ShmRegion::Release),
      key_(key),
      offset_(offset),
      mapping_(std::move(mapping)) {
  regions_mapped.fetch_add(1, std::memory_order_relaxed);
}

ShmRegion::~ShmRegion() { regions_mapped.fetch_sub(1, std::memory_order_relaxed); }

void ShmRegion::Release(Buffer* buffer) { delete static_cast<ShmRegion*>(buffer); }

Result<ShmRegionRef> ShmRegion::Open(std::string_view key, uint64_t offset, uint64_t byte_size,
                                     std::optional<uid_t> user) {
  FS_RETURN_IF_ERROR(CheckKey(key));
  if (byte_size == 0) {
    return InvalidArgument("region wants 0 bytes of shared-memory object '", key,
                           "', expected at least 1");
  }
  Mapping mapping;
  FS_RETURN_IF_ERROR(mapping.OpenFile(key));
  const Result<struct stat> found = StatOf(key, mapping.file());
  if (!found.ok()) return found.status();
  if (!S_ISREG(found->st_mode)) {
    return InvalidArgument("'", key,
                           "' is no shared-memory object but another kind of file, "
                           "expected one made by shm_open");
  }
  // First of all, or others would tell how large it is.
  if (user) FS_RETURN_IF_ERROR(CheckUser(key, *found, *user));
  FS_RETURN_IF_ERROR(CheckRange(key, offset, byte_size, static_cast<uint64_t>(found->st_size)));
  FS_RETURN_IF_ERROR(mapping.MapPages(key, offset, byte_size));
  const std::span<std::byte> bytes = mapping.pages().subspan(offset % PageBytes(), byte_size);
  return ShmRegionRef(BufferRef::Adopt(new ShmRegion(key, offset, bytes, std::move(mapping))));
}

Status ShmRegion::CheckSize() const {
  const Result<struct stat> found = StatOf(key_, mapping_.file());
  if (!found.ok()) return found.status();
  return CheckRange(key_, offset_, size(), static_cast<uint64_t>(found->st_size));
}

Status ShmRegion::CheckUsable() const {
  if (is_poisoned()) {
    return InvalidArgument("shared-memory object '", key_,
                           "' lost pages while its region was in use, since it was truncated or "
                           "/dev/shm is full: unregister the region and register it again");
  }
  return CheckSize();
}

size_t ShmRegion::count() { return regions_mapped.load(std::memory_order_relaxed); }

}  // namespace fastserve
