// A client that says whatever a test wants: it writes descriptors and messages by hand.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "channel/channel_layout.h"
#include "channel/channel_socket.h"
#include "channel/handshake.h"
#include "channel/message.h"
#include "gateway/channel/channel_listener.h"
#include "gateway/fake_backend.h"
#include "memory/sealed_segment.h"

namespace fastserve {

inline std::string NewChannelAddress() {
  static int count = 0;
  return "@fastserve-test-" + std::to_string(getpid()) + "-" + std::to_string(++count);
}

class RawChannel {
 public:
  static constexpr Nanos kPatience = 20 * kSecond;

  explicit RawChannel(const std::string& address, size_t segment_bytes = size_t{1} << 20)
      : status_(Connect(address, segment_bytes)) {}

  const Status& status() const { return status_; }
  int socket() const { return socket_.get(); }
  int segment_fd() const { return segment_->fd(); }
  int event_fd() const { return event_fd_.get(); }
  std::span<std::byte> bytes() const { return segment_->bytes(); }
  ChannelHead& head() const { return *reinterpret_cast<ChannelHead*>(bytes().data()); }
  ChannelLayout layout() const { return ChannelLayout::For(bytes().size()); }
  void Leave() { socket_.Close(); }

  // Each request has a place of its own in the client's heap, for its message and its floats.
  static constexpr size_t kPlaceBytes = 1024;
  static constexpr size_t kFloatsAt = 512;
  uint64_t PlaceOf(uint64_t request) const {
    return layout().client_heap.begin + request % 64 * kPlaceBytes;
  }

  // Puts a message into the request's place, and says so.
  Descriptor Write(const ChannelMessage& message, uint64_t request) {
    Descriptor descriptor{};
    descriptor.kind = DescriptorKind::kInfer;
    descriptor.request = request;
    descriptor.offset = PlaceOf(request);
    descriptor.bytes = MessageBytes(message);
    descriptor.deadline_ns = kNever;
    WriteMessage(message, bytes().subspan(descriptor.offset, descriptor.bytes));
    return descriptor;
  }
  void Push(const Descriptor& descriptor) {
    while (!requests_->TryPush(descriptor)) std::this_thread::yield();
    static_cast<void>(head().server.Ring());
  }
  // The next thing that the server says; nothing if it says none in time.
  std::optional<Descriptor> Pop(Nanos patience = kPatience) {
    const Nanos until = NowNanos() + patience;
    Descriptor descriptor;
    while (true) {
      const uint32_t key = head().client.Prepare();
      if (responses_->TryPop(&descriptor)) {
        head().client.Withdraw();
        return descriptor;
      }
      if (NowNanos() > until) return std::nullopt;
      head().client.Wait(key, until);
    }
  }
  void Release(const Descriptor& response) {
    Descriptor release{};
    release.kind = DescriptorKind::kRelease;
    release.offset = response.offset;
    Push(release);
  }
  std::string TextOf(const Descriptor& end) const {
    return {reinterpret_cast<const char*>(bytes().data()) + end.offset, end.bytes};
  }
  ChannelMessage MessageOf(const Descriptor& response,
                           MessageUse use = MessageUse::kTensors) const {
    ChannelMessage message;
    const Status status =
        ReadMessage(bytes().subspan(response.offset, response.bytes), use, &message);
    EXPECT_TRUE(status.ok()) << status.message();
    return message;
  }

  // A request to "m" whose input "x" is two floats.
  ChannelMessage FloatsMessage(uint64_t request, std::array<float, 2> values = {1, 2}) const {
    const uint64_t at = PlaceOf(request) + kFloatsAt;
    std::memcpy(bytes().data() + at, values.data(), sizeof values);
    ChannelMessage message;
    message.model = "m";
    message.tensors.push_back({.name = "x",
                               .type = DataType::kFp32,
                               .shape = Shape({1, 2}),
                               .offset = at,
                               .bytes = sizeof values});
    return message;
  }
  void Ask(uint64_t request, std::array<float, 2> values = {1, 2},
           DescriptorKind kind = DescriptorKind::kInfer) {
    Descriptor asked = Write(FloatsMessage(request, values), request);
    asked.kind = kind;
    Push(asked);
  }
  void Cancel(uint64_t request) {
    Descriptor cancel{};
    cancel.kind = DescriptorKind::kCancel;
    cancel.request = request;
    Push(cancel);
  }
  std::array<float, 2> FloatsAt(uint64_t offset) const {
    std::array<float, 2> values;
    std::memcpy(values.data(), bytes().data() + offset, sizeof values);
    return values;
  }

 private:
  Status Connect(const std::string& address, size_t segment_bytes) {
    Result<OwnedFd> socket = ConnectToChannel(address, kPatience);
    if (!socket.ok()) return socket.status();
    socket_ = *std::move(socket);
    FS_RETURN_IF_ERROR(SendHello(socket_.get(), {segment_bytes}));
    Result<Welcome> welcome = ReceiveWelcome(socket_.get());
    if (!welcome.ok()) return welcome.status();
    event_fd_ = std::move(welcome->event_fd);
    Result<SealedSegment> segment =
        SealedSegment::Adopt(welcome->segment.Release(), size_t{1} << 40);
    if (!segment.ok()) return segment.status();
    segment_.emplace(*std::move(segment));
    requests_.emplace(head().requests.TakeProducer());
    responses_.emplace(head().responses.TakeConsumer());
    return {};
  }

  OwnedFd socket_;
  OwnedFd event_fd_;
  std::optional<SealedSegment> segment_;
  std::optional<DescriptorRing::Producer> requests_;
  std::optional<DescriptorRing::Consumer> responses_;
  const Status status_;  // Last: connecting sets the others.
};

// A listener that serves "m".
class ChannelTest : public ::testing::Test {
 protected:
  void Publish(std::shared_ptr<Backend> backend, ServableOptions options = Named("m")) {
    serving_map_->Publish(ServeUnawaited(std::move(backend), std::move(options)));
  }
  void Listen(ChannelListenerOptions options = {}) {
    options.address = address_;
    Result<std::unique_ptr<ChannelListener>> listener =
        ChannelListener::Start(serving_map_, options);
    ASSERT_TRUE(listener.ok()) << listener.status().message();
    listener_ = *std::move(listener);
  }
  // Until `is_so`, which then is; or long enough to say that it never is.
  template <typename Condition>
  static bool Await(Condition is_so) {
    const Nanos until = NowNanos() + RawChannel::kPatience;
    while (!is_so()) {
      if (NowNanos() > until) return false;
      std::this_thread::yield();
    }
    return true;
  }
  size_t clients() const { return listener_->stats().clients.load(std::memory_order_relaxed); }
  size_t segment_bytes() const {
    return listener_->stats().segment_bytes.load(std::memory_order_relaxed);
  }

  const std::string address_ = NewChannelAddress();
  std::shared_ptr<ServingMap> serving_map_ = std::make_shared<ServingMap>();
  std::unique_ptr<ChannelListener> listener_;
};

}  // namespace fastserve
