#include "channel/channel_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "channel/client/scripted_server.h"

namespace fastserve {
namespace {

class Folder {
 public:
  Folder() {
    std::string name = testing::TempDir() + "channelXXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

TEST(ChannelSocket, ConnectsWhoKnowsTheAddress) {
  const Folder folder;
  for (const std::string& address : {NewAddress(), folder / "socket"}) {
    Result<OwnedFd> listener = ListenOnChannel(address);
    ASSERT_TRUE(listener.ok()) << listener.status().message();
    EXPECT_NE(fcntl(listener->get(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_EQ(accept(listener->get(), nullptr, nullptr), -1);
    const Result<OwnedFd> client = ConnectToChannel(address, kSecond);
    ASSERT_TRUE(client.ok()) << client.status().message();
    const OwnedFd served(accept(listener->get(), nullptr, nullptr));
    ASSERT_TRUE(served);
    for (const int end : {client->get(), served.get()}) {
      const std::optional<ChannelPeer> peer = PeerOfChannel(end);
      ASSERT_TRUE(peer.has_value());
      EXPECT_EQ(peer->pid, getpid());
      EXPECT_EQ(peer->uid, geteuid());
    }
  }
  EXPECT_FALSE(PeerOfChannel(-1).has_value());
}

TEST(ChannelSocket, AFileIsForItsUserAloneWhateverTheUmask) {
  const Folder folder;
  const mode_t before = umask(0);
  const Result<OwnedFd> made = ListenOnChannel(folder / "socket");
  umask(before);
  ASSERT_TRUE(made.ok()) << made.status().message();
  struct stat found{};
  ASSERT_EQ(stat((folder / "socket").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600u);
}

TEST(ChannelSocket, GivesUpReadingInTime) {
  const std::string address = NewAddress();
  const OwnedFd listener = *ListenOnChannel(address);
  for (const Nanos timeout : {Nanos{0}, Nanos{1}, 5 * kMillisecond}) {
    const OwnedFd client = *ConnectToChannel(address, timeout);
    char byte = 0;
    EXPECT_EQ(recv(client.get(), &byte, 1, 0), -1);  // 0 does not mean for ever.
    EXPECT_TRUE(errno == EAGAIN || errno == EWOULDBLOCK);
  }
}

TEST(ChannelSocket, WhatIsNoAddressIsRefused) {
  const std::string with_nul("@a\0b", 4);
  for (const std::string& address :
       {std::string(), std::string("@"), std::string("/"), with_nul, "@" + std::string(107, 'x')}) {
    EXPECT_EQ(ListenOnChannel(address).status().code(), Code::kInvalidArgument) << address;
    EXPECT_EQ(ConnectToChannel(address, kSecond).status().code(), Code::kInvalidArgument);
  }
  const std::string longest = "@" + NewAddress() + std::string(107 - 1 - NewAddress().size(), 'x');
  EXPECT_TRUE(ListenOnChannel(longest).ok());
  EXPECT_TRUE(IsAbstract("@x"));
  EXPECT_FALSE(IsAbstract("/x"));
  EXPECT_FALSE(IsAbstract(""));
}

TEST(ChannelSocket, AnAddressHasOneListener) {
  const Folder folder;
  for (const std::string& address : {NewAddress(), folder / "socket"}) {
    const Result<OwnedFd> first = ListenOnChannel(address);
    ASSERT_TRUE(first.ok());
    const Status second = ListenOnChannel(address).status();
    EXPECT_EQ(second.code(), Code::kAlreadyExists);
    EXPECT_NE(second.message().find(address), std::string::npos);
    EXPECT_TRUE(ConnectToChannel(address, kSecond).ok());
  }
}

TEST(ChannelSocket, AFileThatIsLeftBehindMakesRoom) {
  const Folder folder;
  const std::string address = folder / "socket";
  ListenOnChannel(address)->Close();  // As a server that was killed: the file stays.
  EXPECT_TRUE(std::filesystem::exists(address));
  EXPECT_EQ(ConnectToChannel(address, kSecond).status().code(), Code::kUnavailable);
  EXPECT_TRUE(ListenOnChannel(address).ok());
}

TEST(ChannelSocket, NoOtherFileMakesRoom) {
  const Folder folder;
  const std::string file = folder / "file";
  close(open(file.c_str(), O_CREAT | O_WRONLY, 0600));
  EXPECT_EQ(ListenOnChannel(file).status().code(), Code::kAlreadyExists);
  const std::string link = folder / "link";
  ASSERT_EQ(symlink(file.c_str(), link.c_str()), 0);
  EXPECT_EQ(ListenOnChannel(link).status().code(), Code::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(file));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(ListenOnChannel(folder / "none/socket").status().code(), Code::kNotFound);
}

TEST(ChannelSocket, AnotherKindOfSocketIsNoChannel) {
  const std::string address = NewAddress();
  const OwnedFd stream(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  address.copy(name.sun_path, sizeof name.sun_path);
  name.sun_path[0] = '\0';
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  ASSERT_EQ(bind(stream.get(), reinterpret_cast<sockaddr*>(&name), bytes), 0);
  ASSERT_EQ(listen(stream.get(), 1), 0);
  EXPECT_EQ(ConnectToChannel(address, kSecond).status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace fastserve
