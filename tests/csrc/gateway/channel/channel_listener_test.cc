#include "gateway/channel/channel_listener.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gateway/channel/raw_channel.h"

namespace fastserve {
namespace {

class ChannelListenerTest : public ChannelTest {};

size_t OpenDescriptors() {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    static_cast<void>(entry);
    ++count;
  }
  return count;
}

TEST_F(ChannelListenerTest, GivesBackAllThatAClientHad) {
  Publish(EchoBackend());
  Listen();
  const size_t before = OpenDescriptors();
  for (int i = 0; i < 20; ++i) {
    RawChannel client(address_);
    ASSERT_TRUE(client.status().ok()) << client.status().message();
    client.Ask(0);
    ASSERT_TRUE(client.Pop());
    EXPECT_EQ(clients(), 1u);
    EXPECT_GE(segment_bytes(), size_t{1} << 20);
    client.Leave();
    ASSERT_TRUE(Await([&] { return clients() == 0 && segment_bytes() == 0; }));
  }
  EXPECT_TRUE(Await([&] { return OpenDescriptors() == before; }));
  EXPECT_EQ(listener_->stats().clients_opened.value(), 20u);
  EXPECT_EQ(listener_->stats().clients_closed.value(), 20u);
}

TEST_F(ChannelListenerTest, ARequestOutlivesItsClientWithoutHarm) {
  const auto gate = std::make_shared<Gate>();
  Publish(GatedBackend(gate));
  Listen();
  {
    RawChannel client(address_);
    client.Ask(0);
    client.Ask(1);
    gate->AwaitWaiting(1);
  }
  EXPECT_TRUE(Await([&] { return clients() == 0 && listener_->in_flight() == 0; }));
  EXPECT_GT(segment_bytes(), 0u);  // The engine reads from it.
  gate->Open();
  EXPECT_TRUE(Await([&] { return segment_bytes() == 0; }));
}

TEST_F(ChannelListenerTest, AKilledClientIsNoticedAlsoWhereAChildOfItsKeepsTheSocket) {
  Publish(EchoBackend());
  Listen();
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t client = fork();
  if (client == 0) {
    RawChannel channel(address_);
    if (!channel.status().ok()) _exit(1);
    channel.Ask(0);
    if (!channel.Pop()) _exit(2);
    const pid_t child = fork();
    if (child == 0) pause();
    static_cast<void>(!write(ready[1], &child, sizeof child));
    pause();
  }
  pid_t child = -1;
  ASSERT_EQ(read(ready[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  EXPECT_EQ(clients(), 1u);
  kill(client, SIGKILL);
  EXPECT_TRUE(Await([&] { return clients() == 0 && segment_bytes() == 0; }));
  kill(child, SIGKILL);
  int status = 0;
  waitpid(client, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  close(ready[0]);
  close(ready[1]);
}

TEST_F(ChannelListenerTest, RefusesWithTheReason) {
  ChannelListenerOptions options;
  options.clients_max = 1;
  options.segment_bytes_max = size_t{1} << 20;
  Listen(options);
  {
    const RawChannel small(address_, 4096);
    EXPECT_EQ(small.status().code(), Code::kInvalidArgument);
    EXPECT_NE(small.status().message().find("4096 bytes"), std::string::npos);
  }
  ASSERT_TRUE(Await([&] { return listener_->stats().clients_refused.value() == 1; }));
  const RawChannel large(address_, size_t{1} << 30);
  ASSERT_TRUE(large.status().ok()) << large.status().message();
  EXPECT_EQ(large.bytes().size(), size_t{1} << 20);
  const RawChannel second(address_);
  EXPECT_EQ(second.status().code(), Code::kResourceExhausted) << second.status().message();
  EXPECT_NE(second.status().message().find("--max-shm-clients"), std::string::npos);
}

TEST_F(ChannelListenerTest, RefusesWhatIsNoHello) {
  Listen();
  for (const std::string& said : {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(24, 'x'),
                                  std::string(4096, '\0'), std::string("fschannl\2\0\0\0", 12)}) {
    Result<OwnedFd> socket = ConnectToChannel(address_, RawChannel::kPatience);
    ASSERT_TRUE(socket.ok()) << socket.status().message();
    ASSERT_EQ(send(socket->get(), said.data(), said.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(said.size()));
    const Result<Welcome> welcome = ReceiveWelcome(socket->get());
    ASSERT_FALSE(welcome.ok());
    EXPECT_EQ(welcome.status().code(), Code::kInvalidArgument) << welcome.status().message();
  }
  Result<OwnedFd> socket = ConnectToChannel(address_, RawChannel::kPatience);
  ASSERT_TRUE(socket.ok());
  std::string other("fschannl\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 24);
  ASSERT_EQ(send(socket->get(), other.data(), other.size(), MSG_NOSIGNAL), 24);
  const Result<Welcome> welcome = ReceiveWelcome(socket->get());
  EXPECT_EQ(welcome.status().code(), Code::kFailedPrecondition) << welcome.status().message();
}

TEST_F(ChannelListenerTest, DrainsWhatIsUnderWay) {
  const auto gate = std::make_shared<Gate>();
  Publish(GatedBackend(gate));
  Listen();
  RawChannel client(address_);
  client.Ask(0);
  gate->AwaitWaiting(1);
  listener_->BeginDrain();
  client.Ask(1);
  std::optional<Descriptor> end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->request, 1u);
  EXPECT_EQ(end->code, static_cast<uint32_t>(Code::kUnavailable));
  EXPECT_TRUE(Await([&] { return !RawChannel(address_).status().ok(); }));
  EXPECT_EQ(listener_->in_flight(), 1u);
  gate->Open();
  end = client.Pop();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->kind, DescriptorKind::kLast);
  EXPECT_TRUE(Await([&] { return listener_->in_flight() == 0; }));
  listener_->Stop();
  char byte;
  EXPECT_EQ(read(client.socket(), &byte, 1), 0);
}

TEST_F(ChannelListenerTest, AnotherCannotListenWhereOneDoes) {
  Listen();
  const auto second = ChannelListener::Start(serving_map_, {.address = address_});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), Code::kAlreadyExists) << second.status().message();
}

TEST_F(ChannelListenerTest, StopsWithClientsInTheMiddle) {
  const auto gate = std::make_shared<Gate>();
  Publish(GatedBackend(gate));
  Listen();
  std::vector<std::unique_ptr<RawChannel>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(std::make_unique<RawChannel>(address_));
    clients.back()->Ask(0);
  }
  gate->AwaitWaiting(1);
  listener_->Stop();
  EXPECT_EQ(listener_->in_flight(), 0u);
  for (const auto& client : clients) {
    char byte;
    EXPECT_EQ(read(client->socket(), &byte, 1), 0);
  }
  gate->Open();
  EXPECT_TRUE(Await([&] { return segment_bytes() == 0; }));
}

}  // namespace
}  // namespace fastserve
