#include "memory/sealed_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace fastserve {
namespace {

constexpr unsigned kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

Status SystemError(const char* what, int error) {
  return MakeStatus(Code::kResourceExhausted, "shared segment: ", what, ": ", std::strerror(error));
}

size_t WholePages(size_t bytes) {
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes > SIZE_MAX - page ? 0 : (bytes + page - 1) / page * page;
}

}  // namespace

SealedSegment::~SealedSegment() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
  if (fd_ >= 0) close(fd_);
}

Result<SealedSegment> SealedSegment::Create(size_t bytes) {
  const size_t size = WholePages(bytes);
  if (bytes == 0 || size == 0 || size > static_cast<size_t>(INT64_MAX)) {
    return InvalidArgument("shared segment of ", bytes, " bytes, expected at least 1, and fewer");
  }
  const int fd = memfd_create("fastserve", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return SystemError("making it", errno);
  SealedSegment segment(fd);
  if (ftruncate(fd, static_cast<off_t>(size)) != 0) return SystemError("giving it bytes", errno);
  // F_SEAL_SEAL: nor can anybody add the seal that forbids writing.
  if (fcntl(fd, F_ADD_SEALS, kSizeSeals | F_SEAL_SEAL) != 0) return SystemError("sealing", errno);
  FS_RETURN_IF_ERROR(segment.Map(size));
  return segment;
}

Result<SealedSegment> SealedSegment::Adopt(int fd, size_t bytes_max) {
  SealedSegment segment(fd);
  const int seals = fcntl(fd, F_GET_SEALS);
  struct stat found{};
  if (seals < 0 || fstat(fd, &found) != 0) {
    return InvalidArgument("descriptor ", fd, " is no memory that can be sealed (",
                           std::strerror(errno), "), expected one of memfd_create");
  }
  if ((static_cast<unsigned>(seals) & kSizeSeals) != kSizeSeals) {
    return InvalidArgument("shared segment has seals ", seals,
                           ", expected F_SEAL_SHRINK and F_SEAL_GROW among them");
  }
  if (found.st_size <= 0 || static_cast<uint64_t>(found.st_size) > bytes_max) {
    return InvalidArgument("shared segment has ", found.st_size, " bytes, expected 1 to ",
                           bytes_max);
  }
  FS_RETURN_IF_ERROR(segment.Map(static_cast<size_t>(found.st_size)));
  return segment;
}

Status SealedSegment::Map(size_t bytes) {
  void* const start = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (start == MAP_FAILED) return SystemError("mapping it", errno);
  bytes_ = {static_cast<std::byte*>(start), bytes};
  return {};
}

}  // namespace fastserve
