#include "channel/client/channel_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "base/thread.h"
#include "channel/client/client_segment.h"

namespace fastserve {
namespace {

// How soon to try again what the ring had no room for.
constexpr int kFlushAgainMs = 1;

Status CheckServer(const std::string& address, const ChannelPeer& server,
                   const ChannelClientOptions& options) {
  const uid_t own = geteuid();
  if (server.uid == own || server.uid == 0 || server.uid == options.server_user) return {};
  return MakeStatus(Code::kPermissionDenied, "the channel '", address, "' is served by user ",
                    server.uid, ", and this process is user ", own,
                    "'s: whoever serves it sees all requests; if that user is to be trusted, say ",
                    "so with server_user = ", server.uid);
}

Status CheckSizes(const Welcome& welcome, const ClientSegment& segment) {
  if (welcome.segment_bytes == segment.size()) return {};
  return Internal("the server's memory has ", segment.size(), " bytes, but it says ",
                  welcome.segment_bytes);
}

// Whoever serves could hand over a descriptor that blocks.
void DoNotBlock(const OwnedFd& fd) {
  const int flags = fcntl(fd.get(), F_GETFL);
  if (flags >= 0) fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK);
}

}  // namespace

Result<std::shared_ptr<ChannelClient>> ChannelClient::Connect(const std::string& address,
                                                              const ChannelClientOptions& options) {
  if (options.segment_bytes < ChannelLayout::kSegmentBytesMin ||
      options.segment_bytes > ChannelLayout::kSegmentBytesMax) {
    return InvalidArgument("segment_bytes is ", options.segment_bytes, ", expected ",
                           ChannelLayout::kSegmentBytesMin, " to ",
                           ChannelLayout::kSegmentBytesMax);
  }
  Result<OwnedFd> socket = ConnectToChannel(address, options.connect_timeout);
  if (!socket.ok()) return std::move(socket).status();
  const std::optional<ChannelPeer> server = PeerOfChannel(socket->get());
  if (!server) return Internal("the system does not say who serves the channel '", address, "'");
  FS_RETURN_IF_ERROR(CheckServer(address, *server, options));
  FS_RETURN_IF_ERROR(SendHello(socket->get(), {.segment_bytes = options.segment_bytes}));
  Result<Welcome> welcome = ReceiveWelcome(socket->get());
  if (!welcome.ok()) return std::move(welcome).status();
  try {
    Result<std::shared_ptr<ClientSegment>> segment =
        ClientSegment::Adopt(welcome->segment.Release());
    if (!segment.ok()) return std::move(segment).status();
    FS_RETURN_IF_ERROR(CheckSizes(*welcome, **segment));
    DoNotBlock(welcome->event_fd);
    Result<std::shared_ptr<ClientChannel>> channel =
        ClientChannel::Open(*std::move(segment), std::move(welcome->event_fd), options.spin);
    if (!channel.ok()) return std::move(channel).status();
    std::shared_ptr<ChannelClient> client(
        new ChannelClient(*std::move(socket), *server, *std::move(channel)));
    FS_RETURN_IF_ERROR(client->StartWatching());
    return client;
  } catch (const std::bad_alloc&) {
    return Status::OutOfMemory();
  }
}

ChannelClient::~ChannelClient() { Close(); }

Result<std::shared_ptr<ChannelCall>> ChannelClient::NewCall(std::string_view model,
                                                            std::string_view version,
                                                            std::string_view id) {
  return ChannelCall::Create(channel_, model, version, id);
}

Result<ChannelDescription> ChannelClient::Describe(std::string_view model, std::string_view version,
                                                   Nanos deadline) {
  Result<std::shared_ptr<ChannelCall>> call = NewCall(model, version, "");
  if (!call.ok()) return std::move(call).status();
  return (*call)->Describe(deadline);
}

size_t ChannelClient::bytes_in_use() const {
  return channel_->CheckProcess().ok() ? channel_->segment().bytes_in_use() : 0;
}

void ChannelClient::Close() {
  // In a child the thread is the parent's, and so is the socket's other end; what this process has
  // of it is closed by its member.
  if (!channel_->CheckProcess().ok()) return;
  channel_->Close(Unavailable("the channel was closed"));
  const MutexLock lock(closing_);
  if (!std::exchange(has_thread_, false)) return;
  is_closing_.store(true, std::memory_order_relaxed);
  channel_->segment().outbox().flush_due().Signal();
  pthread_join(thread_, nullptr);
  shutdown(socket_.get(), SHUT_RDWR);  // Also if a child of fork() has it still.
  socket_.Close();
}

// ------------------------------------------------------------------------------------------------
// Its thread.

Status ChannelClient::StartWatching() {
  const MutexLock lock(closing_);
  const int error = StartThread(&thread_, &ChannelClient::Main, this);
  if (error != 0) return ResourceExhausted("the channel gets no thread: ", std::strerror(error));
  has_thread_ = true;
  return {};
}

void* ChannelClient::Main(void* self) {
  static_cast<ChannelClient*>(self)->WatchServer();
  return nullptr;
}

void ChannelClient::WatchServer() {
  ClientOutbox& outbox = channel_->segment().outbox();
  std::array<pollfd, 2> watched = {
      pollfd{.fd = socket_.get(), .events = POLLIN | POLLRDHUP, .revents = 0},
      pollfd{.fd = outbox.flush_due().fd(), .events = POLLIN, .revents = 0}};
  bool is_flushed = true;
  while (true) {
    const int found = poll(watched.data(), watched.size(), is_flushed ? -1 : kFlushAgainMs);
    if (found < 0) {
      // Nothing here is worth the program's life: it looks again a little later.
      if (errno != EINTR) poll(nullptr, 0, kFlushAgainMs);
      continue;
    }
    outbox.flush_due().Drain();
    if (is_closing_.load(std::memory_order_relaxed)) return;
    // What the server said made no sense: it has no use for this any more either.
    if (!channel_->is_open()) shutdown(socket_.get(), SHUT_RDWR);
    if (watched[0].revents != 0 && !IsServerThere()) {
      channel_->Close(
          Unavailable("the server is gone: it closed the channel, or it died; ", "connect again"));
      watched[0].fd = -1;  // poll leaves it out: what is left to wait for is Close.
    }
    is_flushed = outbox.Flush();
  }
}

bool ChannelClient::IsServerThere() const {
  // After the hand-shake nothing is sent: what comes is dropped.
  char dropped = 0;
  const ssize_t got = recv(socket_.get(), &dropped, sizeof dropped, MSG_DONTWAIT);
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}

}  // namespace fastserve
