#include "channel/handshake.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "channel/channel_layout.h"

namespace fastserve {
namespace {

constexpr std::array<char, 8> kMagic = {'f', 's', 'c', 'h', 'a', 'n', 'n', 'l'};
constexpr size_t kTextBytesMax = 472;

struct HelloWords {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t zero;
  uint64_t segment_bytes;
};
static_assert(sizeof(HelloWords) == 24, "two builds must agree on the layout");

struct WelcomeWords {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t code;  // Of why not; 0: welcome.
  uint64_t segment_bytes;
  uint64_t text_bytes;
  std::array<char, kTextBytesMax> text;
};
static_assert(sizeof(WelcomeWords) == 504, "two builds must agree on the layout");

constexpr size_t kFdsMax = 2;
union FdSpace {
  cmsghdr header;  // For the alignment.
  std::array<char, CMSG_SPACE(kFdsMax * sizeof(int))> bytes;
};

Status Gone(const char* who, int error) {
  return Unavailable("the ", who, " of the channel is gone: ",
                     error == 0 ? "it closed the socket" : std::strerror(error));
}

// -1 and errno, or how many bytes of one message.
ssize_t Receive(int socket, void* words, size_t bytes, std::array<OwnedFd, kFdsMax>* fds) {
  FdSpace space{};
  iovec part{.iov_base = words, .iov_len = bytes};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = space.bytes.data();
  message.msg_controllen = space.bytes.size();
  ssize_t got = 0;
  // Whoever refuses may be gone already, with what was sent to him unread: that is told first, and
  // only then what he had said.
  bool was_reset = false;
  do {
    got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && (errno == EINTR || (errno == ECONNRESET && !std::exchange(was_reset, true))));
  if (got < 0) return got;
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
    if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (one->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(one) + i * sizeof fd, sizeof fd);
      OwnedFd owned(fd);  // What nobody asked for is closed.
      if (fds != nullptr && i < kFdsMax) (*fds)[i] = std::move(owned);
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return 0;
  return got;
}

Status Send(int socket, const void* words, size_t bytes, std::span<const int> fds,
            const char* whom) {
  FdSpace space{};
  iovec part{.iov_base = const_cast<void*>(words), .iov_len = bytes};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = space.bytes.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent == static_cast<ssize_t>(bytes)) return {};
  return Gone(whom, sent < 0 ? errno : 0);
}

WelcomeWords NewWelcome() {
  WelcomeWords words{};
  words.magic = kMagic;
  words.version = kChannelVersion;
  return words;
}

}  // namespace

Status SendHello(int socket, const Hello& hello) {
  const HelloWords words{
      .magic = kMagic, .version = kChannelVersion, .zero = 0, .segment_bytes = hello.segment_bytes};
  Status sent = Send(socket, &words, sizeof words, {}, "server");
  // One that has refused already listens no more, but what it said is there to be read.
  return sent.code() == Code::kUnavailable ? Status() : std::move(sent);
}

Result<Welcome> ReceiveWelcome(int socket) {
  WelcomeWords words{};
  std::array<OwnedFd, kFdsMax> fds;
  const ssize_t got = Receive(socket, &words, sizeof words, &fds);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return Unavailable("the server did not answer the channel's hand-shake in time");
  }
  if (got <= 0) return Gone("server", got < 0 ? errno : 0);
  if (got != sizeof words || words.magic != kMagic) {
    return Internal("what listens there does not speak fastserve's channel");
  }
  if (words.code != 0) {
    const Code code = words.code <= static_cast<uint32_t>(Code::kUnauthenticated)
                          ? static_cast<Code>(words.code)
                          : Code::kUnknown;
    return Status(code, std::string(words.text.data(), std::min(words.text_bytes, kTextBytesMax)));
  }
  if (words.version != kChannelVersion) {
    return FailedPrecondition("the server speaks version ", words.version,
                              " of the channel, this client version ", kChannelVersion);
  }
  if (!fds[0] || !fds[1]) return Internal("the server sent no memory to share");
  return Welcome{.segment_bytes = words.segment_bytes,
                 .segment = std::move(fds[0]),
                 .event_fd = std::move(fds[1])};
}

Result<Hello> ReceiveHello(int socket) {
  HelloWords words{};
  const ssize_t got = Receive(socket, &words, sizeof words, nullptr);
  if (got < 0) return Gone("client", errno);
  if (got != sizeof words || words.magic != kMagic) {
    return InvalidArgument("the client does not speak fastserve's channel");
  }
  if (words.version != kChannelVersion) {
    return FailedPrecondition("the client speaks version ", words.version,
                              " of the channel, this server version ", kChannelVersion);
  }
  return Hello{.segment_bytes = words.segment_bytes};
}

Status SendWelcome(int socket, uint64_t segment_bytes, int segment_fd, int event_fd) {
  WelcomeWords words = NewWelcome();
  words.segment_bytes = segment_bytes;
  const std::array<int, kFdsMax> fds = {segment_fd, event_fd};
  return Send(socket, &words, sizeof words, fds, "client");
}

void SendRefusal(int socket, const Status& status) {
  WelcomeWords words = NewWelcome();
  words.code = static_cast<uint32_t>(status.code());
  words.text_bytes = std::min(status.message().size(), kTextBytesMax);
  std::copy_n(status.message().data(), words.text_bytes, words.text.data());
  static_cast<void>(Send(socket, &words, sizeof words, {}, "client"));
}

}  // namespace fastserve
