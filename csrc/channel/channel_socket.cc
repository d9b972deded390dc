#include "channel/channel_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace fastserve {
namespace {

constexpr int kBacklog = 64;
// Who may write to the socket may use the models; a group is let in with chmod.
constexpr mode_t kMode = 0600;

struct Address {
  sockaddr_un words{};
  socklen_t bytes = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&words); }
};

Result<Address> Parse(std::string_view text) {
  Address address;
  address.words.sun_family = AF_UNIX;
  const bool is_abstract = IsAbstract(text);
  // An abstract name begins with a NUL and ends with its length; a path ends with a NUL.
  if (text.size() < 2 || text.find('\0') != std::string_view::npos ||
      text.size() >= sizeof address.words.sun_path) {
    return InvalidArgument("'", text, "' is no address of a channel: expected a path, or @ and a ",
                           "name, of 2 to ", sizeof address.words.sun_path - 1, " bytes");
  }
  std::memcpy(address.words.sun_path, text.data(), text.size());
  if (is_abstract) address.words.sun_path[0] = '\0';
  address.bytes =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + text.size() + (is_abstract ? 0 : 1));
  return address;
}

Code CodeOf(int error) {
  switch (error) {
    case EADDRINUSE:
      return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::kPermissionDenied;
    case ENOENT:
    case ENOTDIR:
      return Code::kNotFound;
    default:
      return Code::kResourceExhausted;
  }
}

Result<OwnedFd> NewSocket(int flags) {
  OwnedFd made(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
  if (!made) return ResourceExhausted("channel: no socket: ", std::strerror(errno));
  return made;
}

// Of a server that was killed.
bool IsLeftBehind(const Address& address) {
  struct stat found{};
  if (lstat(address.words.sun_path, &found) != 0 || !S_ISSOCK(found.st_mode)) return false;
  const OwnedFd probe(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return probe && connect(probe.get(), address.get(), address.bytes) != 0 && errno == ECONNREFUSED;
}

}  // namespace

bool IsAbstract(std::string_view address) { return address.starts_with('@'); }

Result<OwnedFd> ListenOnChannel(const std::string& text) {
  Result<Address> address = Parse(text);
  if (!address.ok()) return address.status();
  Result<OwnedFd> made = NewSocket(SOCK_NONBLOCK);
  if (!made.ok()) return made;
  int result = bind(made->get(), address->get(), address->bytes);
  if (result != 0 && errno == EADDRINUSE && !IsAbstract(text) && IsLeftBehind(*address)) {
    unlink(address->words.sun_path);
    result = bind(made->get(), address->get(), address->bytes);
  }
  // Before it listens: until then nobody can connect, whatever the umask made of it.
  if (result == 0 && !IsAbstract(text)) result = chmod(address->words.sun_path, kMode);
  if (result != 0 || listen(made->get(), kBacklog) != 0) {
    const int error = errno;
    return MakeStatus(CodeOf(error), "channel: cannot listen on '", text,
                      "': ", std::strerror(error));
  }
  return made;
}

Result<OwnedFd> ConnectToChannel(const std::string& text, Nanos timeout) {
  Result<Address> address = Parse(text);
  if (!address.ok()) return address.status();
  Result<OwnedFd> made = NewSocket(0);
  if (!made.ok()) return made;
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(timeout / kSecond);
  limit.tv_usec = static_cast<suseconds_t>(timeout % kSecond / kMicrosecond);
  if (limit.tv_sec == 0 && limit.tv_usec == 0) limit.tv_usec = 1;  // Zeros would mean for ever.
  setsockopt(made->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(made->get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int result = 0;
  do {
    result = connect(made->get(), address->get(), address->bytes);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return made;
  const int error = errno;
  const bool is_denied = error == EACCES || error == EPERM;
  return MakeStatus(is_denied ? Code::kPermissionDenied : Code::kUnavailable,
                    "no server listens on the channel '", text, "': ", std::strerror(error),
                    is_denied ? "" : "; is it running, with --shm-socket?");
}

std::optional<ChannelPeer> PeerOfChannel(int socket) {
  ucred found{};
  socklen_t bytes = sizeof found;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &found, &bytes) != 0) return std::nullopt;
  return ChannelPeer{.pid = found.pid, .uid = found.uid};
}

}  // namespace fastserve
