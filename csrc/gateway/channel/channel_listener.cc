#include "gateway/channel/channel_listener.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "base/annotations.h"
#include "base/fork.h"
#include "base/thread.h"
#include "channel/channel_layout.h"
#include "channel/channel_socket.h"
#include "channel/handshake.h"
#include "gateway/channel/channel_session.h"

namespace fastserve {
namespace {

constexpr Nanos kHandshakeTimeout = 5 * kSecond;
// When the process has no descriptor left, or no memory, nobody is taken in for so long.
constexpr Nanos kPause = 100 * kMillisecond;
// All inputs that are copied, of all clients.
constexpr size_t kCopiedBytesMax = size_t{1} << 30;

// Readable when the process has ended. None where the kernel does not have it, or the process is of
// another namespace: the socket's end must do then.
OwnedFd WatchProcess(pid_t pid) {
  if (pid <= 0) return {};
  return OwnedFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

}  // namespace

class ChannelListener::Impl {
 public:
  Impl(ChannelListenerOptions options, std::shared_ptr<ChannelShared> shared, OwnedFd socket)
      : options_(std::move(options)), shared_(std::move(shared)), socket_(std::move(socket)) {}

  Status Start();
  void EndLoading() { shared_->is_loading.store(false, std::memory_order_relaxed); }
  void BeginDrain();
  void Stop();
  const ChannelStats& stats() const { return *shared_->stats; }
  bool was_forked() const { return ForkedSince(fork_generation_); }

 private:
  // A client, before and after its hand-shake.
  struct Client {
    OwnedFd socket;
    OwnedFd process;
    Nanos deadline_ns = kNever;               // Of the hand-shake.
    std::shared_ptr<ChannelSession> session;  // Null until it is done.
    bool is_over = false;
  };

  void Run();
  void Look();
  std::vector<pollfd> Polled() const;
  Nanos NextDeadline() const;
  void Accept(Nanos now);
  Status Admit(int socket, OwnedFd* process);
  void Refuse(int socket, const Status& status);
  void Shake(Client& client);
  Status OpenSession(Client& client);
  // Lets a client go; it is dropped when its session has ended.
  static void Dismiss(Client& client);
  void DropTheGone(Nanos now);

  const ChannelListenerOptions options_;
  const std::shared_ptr<ChannelShared> shared_;
  const uint32_t fork_generation_ = ForkGeneration();
  pthread_t thread_{};
  bool is_running_ = false;
  std::atomic<bool> is_stopping_{false};

  // The thread's.
  OwnedFd socket_;
  std::vector<Client> clients_;
  Nanos paused_until_ns_ = 0;
};

// ------------------------------------------------------------------------------------------------
// Life.

Status ChannelListener::Impl::Start() {
  const auto main = [](void* self) -> void* {
    static_cast<Impl*>(self)->Run();
    return nullptr;
  };
  if (const int error = StartThread(&thread_, main, this); error != 0) {
    return ResourceExhausted("channel: no thread for the listener: error ", error);
  }
  is_running_ = true;
  return {};
}

void ChannelListener::Impl::BeginDrain() {
  // Relaxed: whoever reads it late only serves a little longer.
  shared_->is_draining.store(true, std::memory_order_relaxed);
  shared_->ended->Signal();
}

void ChannelListener::Impl::Stop() {
  is_stopping_.store(true, std::memory_order_relaxed);
  shared_->ended->Signal();
  if (std::exchange(is_running_, false)) pthread_join(thread_, nullptr);
}

void ChannelListener::Impl::Run() {
  pthread_setname_np(pthread_self(), "fs-shm-listen");
  while (!is_stopping_.load(std::memory_order_relaxed)) {
    try {
      Look();
    } catch (const std::bad_alloc&) {
      poll(nullptr, 0, kPause / kMillisecond);
    }
  }
  // All are told before anybody is waited for.
  for (Client& client : clients_) Dismiss(client);
  for (const Client& client : clients_) {
    if (client.session) client.session->Join();
  }
  DropTheGone(NowNanos());
  socket_.Close();
}

void ChannelListener::Impl::Look() {
  std::vector<pollfd> polled = Polled();
  const Nanos deadline = NextDeadline();
  int timeout_ms = -1;
  if (deadline != kNever) {
    const Nanos left = std::clamp<Nanos>(deadline - NowNanos(), 0, kSecond * 1000);
    timeout_ms = static_cast<int>(left / kMillisecond) + 1;
  }
  if (poll(polled.data(), polled.size(), timeout_ms) < 0) {
    // A process that may have fewer descriptors than it asks about (EINVAL) gets no answer.
    if (errno != EINTR) poll(nullptr, 0, kPause / kMillisecond);
    return;
  }
  const Nanos now = NowNanos();
  if (polled[0].revents != 0) static_cast<void>(shared_->ended->Drain());
  // In the order of Polled: two for each client.
  for (size_t i = 0; i < clients_.size(); ++i) {
    Client& client = clients_[i];
    if (polled[3 + 2 * i].revents != 0) {
      Dismiss(client);
    } else if (polled[2 + 2 * i].revents != 0) {
      // After the hand-shake a client has nothing to say here: it is its end, or nonsense.
      client.session ? Dismiss(client) : Shake(client);
    }
  }
  DropTheGone(now);
  if (shared_->is_draining.load(std::memory_order_relaxed)) socket_.Close();
  if (polled[1].revents != 0 && socket_) Accept(now);
}

std::vector<pollfd> ChannelListener::Impl::Polled() const {
  const auto polled = [](int fd) { return pollfd{.fd = fd, .events = POLLIN, .revents = 0}; };
  std::vector<pollfd> all;
  all.reserve(2 + 2 * clients_.size());
  all.push_back(polled(shared_->ended->fd()));
  // A negative descriptor is passed over.
  all.push_back(polled(NowNanos() < paused_until_ns_ ? -1 : socket_.get()));
  for (const Client& client : clients_) {
    all.push_back(polled(client.socket.get()));
    all.push_back(polled(client.process.get()));
  }
  return all;
}

Nanos ChannelListener::Impl::NextDeadline() const {
  Nanos deadline = paused_until_ns_ > NowNanos() ? paused_until_ns_ : kNever;
  for (const Client& client : clients_) deadline = std::min(deadline, client.deadline_ns);
  return deadline;
}

// ------------------------------------------------------------------------------------------------
// Clients come,

void ChannelListener::Impl::Accept(Nanos now) {
  while (true) {
    OwnedFd socket(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) paused_until_ns_ = now + kPause;
      return;
    }
    Client client;
    if (const Status status = Admit(socket.get(), &client.process); !status.ok()) {
      Refuse(socket.get(), status);
      continue;
    }
    client.socket = std::move(socket);
    client.deadline_ns = now + kHandshakeTimeout;
    clients_.push_back(std::move(client));
  }
}

Status ChannelListener::Impl::Admit(int socket, OwnedFd* process) {
  if (clients_.size() >= options_.clients_max) {
    return ResourceExhausted("the server has ", clients_.size(),
                             " clients over shared memory already; it takes more with a larger "
                             "--max-shm-clients");
  }
  const std::optional<ChannelPeer> peer = PeerOfChannel(socket);
  if (!peer) return MakeStatus(Code::kPermissionDenied, "the client's user is not known");
  // A path has permissions, which the system has looked at.
  if (IsAbstract(options_.address) && peer->uid != geteuid() && peer->uid != 0) {
    return MakeStatus(Code::kPermissionDenied, "the client's user is ", peer->uid,
                      ", expected the server's own, ", geteuid(),
                      "; for others start the server with --shm-socket and a path, whose "
                      "permissions say who may connect");
  }
  *process = WatchProcess(peer->pid);
  return {};
}

void ChannelListener::Impl::Refuse(int socket, const Status& status) {
  SendRefusal(socket, status);
  shared_->stats->clients_refused.Add();
}

void ChannelListener::Impl::Shake(Client& client) {
  client.deadline_ns = kNever;
  const Status status = OpenSession(client);
  if (status.ok()) return;
  Refuse(client.socket.get(), status);
  Dismiss(client);
}

Status ChannelListener::Impl::OpenSession(Client& client) {
  const Result<Hello> hello = ReceiveHello(client.socket.get());
  if (!hello.ok()) return hello.status();
  if (hello->segment_bytes < ChannelLayout::kSegmentBytesMin) {
    return InvalidArgument("the client wants a segment of ", hello->segment_bytes,
                           " bytes, expected at least ", ChannelLayout::kSegmentBytesMin);
  }
  const size_t bytes = std::min<uint64_t>(hello->segment_bytes, options_.segment_bytes_max);
  Result<std::shared_ptr<ChannelSession>> session = ChannelSession::Create(shared_, bytes);
  if (!session.ok()) return session.status();
  FS_RETURN_IF_ERROR((*session)->Start());
  client.session = *std::move(session);
  shared_->stats->clients_opened.Add();
  shared_->stats->clients.fetch_add(1, std::memory_order_relaxed);
  return SendWelcome(client.socket.get(), client.session->segment_bytes(),
                     client.session->segment_fd(), client.session->event_fd());
}

// ------------------------------------------------------------------------------------------------
// and go.

void ChannelListener::Impl::Dismiss(Client& client) {
  if (std::exchange(client.is_over, true)) return;
  if (client.session) client.session->Stop();
  // By which it learns of it, if it is there.
  client.socket.Close();
  client.process.Close();
}

void ChannelListener::Impl::DropTheGone(Nanos now) {
  for (Client& client : clients_) {
    if (!client.is_over && client.deadline_ns <= now) {
      Refuse(client.socket.get(),
             Unavailable("no hand-shake within ", kHandshakeTimeout / kSecond, " s"));
      Dismiss(client);
    }
    if (!client.session || !client.session->has_ended()) continue;
    Dismiss(client);
    client.session->Join();
    client.session.reset();
    shared_->stats->clients_closed.Add();
    shared_->stats->clients.fetch_sub(1, std::memory_order_relaxed);
  }
  // A session that is told to end says when it has (`ended`): nobody waits for it here.
  std::erase_if(clients_, [](const Client& client) { return client.is_over && !client.session; });
}

// ------------------------------------------------------------------------------------------------

Result<std::unique_ptr<ChannelListener>> ChannelListener::Start(
    std::shared_ptr<ServingMap> serving_map, const ChannelListenerOptions& options) {
  if (options.segment_bytes_max < ChannelLayout::kSegmentBytesMin ||
      options.segment_bytes_max > ChannelLayout::kSegmentBytesMax || options.clients_max == 0) {
    return InvalidArgument("channel: segments of up to ", options.segment_bytes_max, " bytes for ",
                           options.clients_max, " clients, expected ",
                           ChannelLayout::kSegmentBytesMin, " to ", ChannelLayout::kSegmentBytesMax,
                           " bytes and at least one client");
  }
  Result<EventFd> ended = EventFd::Create();
  if (!ended.ok()) return ended.status();
  auto shared = std::make_shared<ChannelShared>();
  shared->serving_map = std::move(serving_map);
  shared->stats = std::make_shared<ChannelStats>();
  shared->pool = SlabPool::Create({.bytes_max = kCopiedBytesMax});
  shared->ended = std::make_shared<EventFd>(*std::move(ended));
  shared->spin = options.spin;
  shared->is_loading.store(options.is_loading, std::memory_order_relaxed);
  Result<OwnedFd> socket = ListenOnChannel(options.address);
  if (!socket.ok()) return socket.status();
  auto impl = std::make_unique<Impl>(options, std::move(shared), *std::move(socket));
  FS_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<ChannelListener>(new ChannelListener(std::move(impl)));
}

ChannelListener::ChannelListener(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ChannelListener::~ChannelListener() {
  if (impl_->was_forked()) {
    // Its threads are the parent's, and so is what they were in the middle of.
    [[maybe_unused]] Impl* const leaked = impl_.release();
    return;
  }
  impl_->Stop();
}

void ChannelListener::EndLoading() { impl_->EndLoading(); }
void ChannelListener::BeginDrain() { impl_->BeginDrain(); }
void ChannelListener::Stop() { impl_->Stop(); }
size_t ChannelListener::in_flight() const {
  return impl_->stats().in_flight.load(std::memory_order_relaxed);
}
const ChannelStats& ChannelListener::stats() const { return impl_->stats(); }

}  // namespace fastserve
