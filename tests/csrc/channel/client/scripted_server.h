// ScriptedServer: the other end of a channel, that says whatever a test tells it to.
//
// It has one thread, which takes clients one after the other and calls the script with each
// descriptor but releases, for which it keeps the books.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "channel/channel_socket.h"
#include "channel/client/served_channel.h"
#include "channel/handshake.h"

namespace fastserve {

// An address that nobody else uses.
inline std::string NewAddress() {
  static const uint64_t mine = std::random_device()();
  static std::atomic<int> made{0};
  return "@fastserve-test-" + std::to_string(mine) + "-" + std::to_string(getpid()) + "-" +
         std::to_string(++made);
}

class ScriptedServer {
 public:
  using Script = std::function<void(ServedChannel&, const Descriptor&)>;
  struct Counts {
    std::atomic<int> clients{0};
    std::atomic<int> requests{0};
    std::atomic<int> cancels{0};
    std::atomic<int> releases{0};
    std::atomic<int> bad_releases{0};  // Of blocks that nobody has.
    std::atomic<size_t> bytes_in_use{0};
  };

  explicit ScriptedServer(Script script, std::string address = NewAddress())
      : address_(std::move(address)), script_(std::move(script)) {
    Result<OwnedFd> listener = ListenOnChannel(address_);
    EXPECT_TRUE(listener.ok()) << listener.status().message();
    listener_ = *std::move(listener);
    thread_ = std::thread([this] { Main(); });
  }
  ~ScriptedServer() {
    is_stopping_.store(true, std::memory_order_relaxed);
    thread_.join();
    EXPECT_EQ(counts_.bad_releases.load(std::memory_order_relaxed), 0);
  }

  const std::string& address() const { return address_; }
  const Counts& counts() const { return counts_; }
  // True as soon as `is_true`; false when it is not after a long while.
  template <typename IsTrue>
  static bool Becomes(IsTrue is_true) {
    const Nanos deadline = NowNanos() + 20 * kSecond;
    while (!is_true()) {
      if (NowNanos() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }
  bool HasReleased(int count) const {
    return Becomes([&] { return counts_.releases.load(std::memory_order_relaxed) == count; });
  }
  bool HasCancels(int count) const {
    return Becomes([&] { return counts_.cancels.load(std::memory_order_relaxed) == count; });
  }

 private:
  static bool IsReadable(int fd, int timeout_ms) {
    pollfd watched{.fd = fd, .events = POLLIN | POLLRDHUP, .revents = 0};
    return poll(&watched, 1, timeout_ms) > 0;
  }
  bool is_stopping() const { return is_stopping_.load(std::memory_order_relaxed); }

  void Main() {
    while (!is_stopping()) {
      if (!IsReadable(listener_.get(), 1)) continue;
      const OwnedFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!IsReadable(socket.get(), 1000)) continue;
      const Result<Hello> hello = ReceiveHello(socket.get());
      if (!hello.ok()) continue;
      Result<SealedSegment> memory = SealedSegment::Create(hello->segment_bytes);
      ServedChannel channel(*std::move(memory), *EventFd::Create());
      const Status sent = SendWelcome(socket.get(), channel.bytes().size(), channel.segment_fd(),
                                      channel.event_fd());
      EXPECT_TRUE(sent.ok()) << sent.message();
      counts_.clients.fetch_add(1, std::memory_order_relaxed);
      Serve(channel, socket.get());
    }
  }

  void Serve(ServedChannel& channel, int socket) {
    while (!is_stopping() && !channel.is_dead()) {
      const uint32_t key = channel.head().server.Prepare();
      Descriptor said;
      bool found = false;
      while (!channel.is_dead() && channel.Hear(&said)) {
        found = true;
        Hear(channel, said);
      }
      if (found) {
        channel.head().server.Withdraw();
      } else if (IsReadable(socket, 0)) {
        return;
      } else {
        channel.head().server.Wait(key, NowNanos() + kMillisecond);
      }
    }
  }

  void Hear(ServedChannel& channel, const Descriptor& said) {
    if (said.kind == DescriptorKind::kRelease) {
      if (!channel.Free(said.offset)) counts_.bad_releases.fetch_add(1, std::memory_order_relaxed);
      counts_.releases.fetch_add(1, std::memory_order_relaxed);
    } else {
      const bool is_cancel = said.kind == DescriptorKind::kCancel;
      (is_cancel ? counts_.cancels : counts_.requests).fetch_add(1, std::memory_order_relaxed);
      script_(channel, said);
    }
    counts_.bytes_in_use.store(channel.bytes_in_use(), std::memory_order_relaxed);
  }

  const std::string address_;
  const Script script_;
  Counts counts_;
  OwnedFd listener_;
  std::atomic<bool> is_stopping_{false};
  std::thread thread_;
};

}  // namespace fastserve
