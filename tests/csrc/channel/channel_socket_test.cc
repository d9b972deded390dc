#include "channel/channel_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace fastserve {
namespace {

class ChannelSocketTest : public testing::Test {
 protected:
  ChannelSocketTest() : folder_(testing::TempDir() + "fastserve-channel-XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    path_ = folder_ + "/socket";
  }
  ~ChannelSocketTest() override {
    unlink(path_.c_str());
    rmdir(folder_.c_str());
  }

  // Nothing else has it: the folder was made for this test.
  std::string AbstractName() const { return "@" + folder_.substr(folder_.rfind('/') + 1); }

  std::string folder_;
  std::string path_;
};

TEST_F(ChannelSocketTest, AFileIsForItsUserAloneWhateverTheUmask) {
  const mode_t before = umask(0);
  const Result<OwnedFd> made = ListenOnChannel(path_);
  umask(before);
  ASSERT_TRUE(made.ok()) << made.status().message();
  struct stat found{};
  ASSERT_EQ(stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600u);
}

TEST_F(ChannelSocketTest, WhereSomebodyListensNobodyElseCan) {
  for (const std::string& address : {path_, AbstractName()}) {
    const Result<OwnedFd> first = ListenOnChannel(address);
    ASSERT_TRUE(first.ok()) << first.status().message();
    EXPECT_EQ(ListenOnChannel(address).status().code(), Code::kAlreadyExists);
    const Result<OwnedFd> client = ConnectToChannel(address, kSecond);
    EXPECT_TRUE(client.ok()) << client.status().message();
  }
}

TEST_F(ChannelSocketTest, AFileThatNobodyListensOnMakesRoom) {
  {
    const Result<OwnedFd> killed = ListenOnChannel(path_);
  }
  ASSERT_EQ(access(path_.c_str(), F_OK), 0);
  EXPECT_EQ(ConnectToChannel(path_, kSecond).status().code(), Code::kUnavailable);
  EXPECT_TRUE(ListenOnChannel(path_).ok());
}

TEST_F(ChannelSocketTest, ThePeerIsWhoTheKernelSays) {
  const Result<OwnedFd> listening = ListenOnChannel(path_);
  ASSERT_TRUE(listening.ok()) << listening.status().message();
  const Result<OwnedFd> client = ConnectToChannel(path_, kSecond);
  ASSERT_TRUE(client.ok()) << client.status().message();
  const OwnedFd accepted(accept(listening->get(), nullptr, nullptr));
  ASSERT_TRUE(accepted);
  const std::optional<ChannelPeer> peer = PeerOfChannel(accepted.get());
  ASSERT_TRUE(peer.has_value());
  EXPECT_EQ(peer->uid, geteuid());
  EXPECT_EQ(peer->pid, getpid());
}

TEST_F(ChannelSocketTest, WhatIsNoAddressIsRefused) {
  const std::string nul = "@a" + std::string(1, '\0');
  for (const std::string& address : {std::string(), std::string("@"), std::string(108, 'x'), nul}) {
    EXPECT_EQ(ListenOnChannel(address).status().code(), Code::kInvalidArgument) << address;
    EXPECT_EQ(ConnectToChannel(address, kSecond).status().code(), Code::kInvalidArgument);
  }
  EXPECT_EQ(ListenOnChannel(folder_ + "/none/socket").status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace fastserve
