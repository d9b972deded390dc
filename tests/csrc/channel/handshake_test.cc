#include "channel/handshake.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "channel/channel_layout.h"
#include "memory/lost_pages.h"
#include "memory/sealed_segment.h"
#include "sync/event_fd.h"

namespace fastserve {
namespace {

// The server's end does not block.
struct Ends {
  Ends() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    client = OwnedFd(fds[0]);
    server = OwnedFd(fds[1]);
    EXPECT_EQ(fcntl(server.get(), F_SETFL, O_NONBLOCK), 0);
  }
  OwnedFd client;
  OwnedFd server;
};

void SendBytes(const OwnedFd& socket, std::span<const std::byte> bytes) {
  ASSERT_EQ(send(socket.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
}

std::vector<std::byte> Receive(const OwnedFd& socket) {
  std::vector<std::byte> bytes(1024);
  const ssize_t got = recv(socket.get(), bytes.data(), bytes.size(), 0);
  EXPECT_GE(got, 0);
  bytes.resize(static_cast<size_t>(got));
  return bytes;
}

TEST(Handshake, GivesTheClientTheMemory) {
  const Ends ends;
  ASSERT_TRUE(SendHello(ends.client.get(), {.segment_bytes = 12345}).ok());
  const Result<Hello> hello = ReceiveHello(ends.server.get());
  ASSERT_TRUE(hello.ok()) << hello.status().message();
  EXPECT_EQ(hello->segment_bytes, 12345u);
  const SealedSegment segment = *SealedSegment::Create(4096);
  const EventFd event_fd = *EventFd::Create();
  ASSERT_TRUE(SendWelcome(ends.server.get(), 4096, segment.fd(), event_fd.fd()).ok());
  Result<Welcome> welcome = ReceiveWelcome(ends.client.get());
  ASSERT_TRUE(welcome.ok()) << welcome.status().message();
  EXPECT_EQ(welcome->segment_bytes, 4096u);
  EXPECT_NE(fcntl(welcome->segment.get(), F_GETFD) & FD_CLOEXEC, 0);
  const Result<SealedSegment> same = SealedSegment::Adopt(welcome->segment.Release(), 4096);
  ASSERT_TRUE(same.ok());
  segment.bytes()[7] = std::byte{9};
  EXPECT_EQ(same->bytes()[7], std::byte{9});
  event_fd.Signal();
  uint64_t signals = 0;
  EXPECT_EQ(read(welcome->event_fd.get(), &signals, sizeof signals), 8);
}

TEST(Handshake, TellsWhyNot) {
  for (const size_t bytes : {size_t{0}, size_t{11}, size_t{472}, size_t{5000}}) {
    const Ends ends;
    const std::string text(bytes, 'w');
    SendRefusal(ends.server.get(), Status(Code::kResourceExhausted, text));
    const Result<Welcome> welcome = ReceiveWelcome(ends.client.get());
    EXPECT_EQ(welcome.status().code(), Code::kResourceExhausted);
    EXPECT_EQ(welcome.status().message(), text.substr(0, 472));
  }
}

TEST(Handshake, WhoIsGoneIsNoticed) {
  Ends ends;
  EXPECT_EQ(ReceiveHello(ends.server.get()).status().code(), Code::kUnavailable);  // Nothing yet.
  ends.client.Close();
  EXPECT_FALSE(ReceiveHello(ends.server.get()).ok());
  EXPECT_EQ(SendWelcome(ends.server.get(), 4096, 0, 0).code(), Code::kUnavailable);
  SendRefusal(ends.server.get(), Unavailable("nobody reads this"));
  Ends other;
  other.server.Close();
  // It may have said why, so that is what tells.
  EXPECT_TRUE(SendHello(other.client.get(), {.segment_bytes = 1}).ok());
  EXPECT_EQ(ReceiveWelcome(other.client.get()).status().code(), Code::kUnavailable);
}

TEST(Handshake, AnotherVersionIsToldApart) {
  const Ends ends;
  ASSERT_TRUE(SendHello(ends.client.get(), {.segment_bytes = 1}).ok());
  std::vector<std::byte> hello = Receive(ends.server);
  hello[8] = static_cast<std::byte>(kChannelVersion + 1);
  SendBytes(ends.client, hello);
  EXPECT_EQ(ReceiveHello(ends.server.get()).status().code(), Code::kFailedPrecondition);
  ASSERT_TRUE(SendWelcome(ends.server.get(), 4096, 0, 0).ok());
  std::vector<std::byte> welcome = Receive(ends.client);
  welcome[8] = static_cast<std::byte>(kChannelVersion + 1);
  SendBytes(ends.server, welcome);
  const Status status = ReceiveWelcome(ends.client.get()).status();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find("version"), std::string::npos);
}

TEST(Handshake, NoDescriptorsAreNoWelcome) {
  const Ends ends;
  ASSERT_TRUE(SendWelcome(ends.server.get(), 4096, 0, 0).ok());
  SendBytes(ends.server, Receive(ends.client));  // Without them.
  EXPECT_EQ(ReceiveWelcome(ends.client.get()).status().code(), Code::kInternal);
}

TEST(Handshake, AnyBytesAreReadOrRefused) {
  const Ends ends;
  ASSERT_TRUE(SendHello(ends.client.get(), {.segment_bytes = 1}).ok());
  const std::vector<std::byte> hello = Receive(ends.server);
  SendRefusal(ends.server.get(), Unavailable("why"));
  const std::vector<std::byte> refusal = Receive(ends.client);
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    for (const bool to_server : {false, true}) {
      std::vector<std::byte> text = to_server ? hello : refusal;
      for (uint32_t flips = random() % 4; flips > 0; --flips) {
        text[random() % std::min<size_t>(text.size(), 48)] = static_cast<std::byte>(random());
      }
      if (random() % 4 == 0) text.resize(1 + random() % (text.size() + 50));
      SendBytes(to_server ? ends.client : ends.server, text);
      if (to_server) {
        static_cast<void>(ReceiveHello(ends.server.get()).ok());
      } else {
        EXPECT_FALSE(ReceiveWelcome(ends.client.get()).ok());
      }
    }
  }
}

TEST(Handshake, DescriptorsThatNobodyAskedForAreClosed) {
  const int before = DescriptorsOf("memfd:fastserve");
  {
    const Ends ends;
    const SealedSegment segment = *SealedSegment::Create(4096);
    for (int i = 0; i < 3; ++i) {
      // The server expects none, the client none with a refusal.
      ASSERT_TRUE(SendWelcome(ends.client.get(), 4096, segment.fd(), segment.fd()).ok());
      EXPECT_EQ(ReceiveHello(ends.server.get()).status().code(), Code::kInvalidArgument);
    }
    EXPECT_EQ(DescriptorsOf("memfd:fastserve"), before + 1);
  }
  EXPECT_EQ(DescriptorsOf("memfd:fastserve"), before);
}

}  // namespace
}  // namespace fastserve
